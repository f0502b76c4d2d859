// SPDX-License-Identifier: Apache-2.0
//! What a write to a register means for interrupts, kicks and DMA: one short list for each.

use super::{Core, TransitionalDevice};
use crate::transitional::interrupts::InterruptState;
use crate::transitional::registers::Consequences;
use crate::transitional::registers::cache::{RegisterCache, STATUS_DRIVER, STATUS_DRIVER_OK};
use crate::transitional::service::DmaState;
use crate::transitional::telemetry::stats::DeviceCounter;

/// All owners but the registers.
pub(super) struct Others<'a> {
    device: &'a TransitionalDevice,
    interrupts: &'a mut InterruptState,
    dma: &'a mut DmaState,
}

impl<'a> Others<'a> {
    /// What is in `core`: the registers, and the others.
    pub(super) fn of(device: &'a TransitionalDevice, core: &'a mut Core) -> (&'a mut RegisterCache, Self) {
        (&mut core.registers, Self { device, interrupts: &mut core.interrupts, dma: &mut core.dma })
    }
}

impl Consequences for Others<'_> {
    fn queue_address_comes(&mut self, queue: u16) {
        self.device.service.expect_dma(self.dma);
        self.device.interrupts.arm_queue(self.interrupts, queue);
    }

    fn queue_ready(&mut self, queue: u16) {
        self.device.kicks.queue_ready(queue);
    }

    fn queue_address_goes(&mut self, queue: u16, started_early: bool) {
        self.device.kicks.queue_gone(queue);
        self.device.interrupts.config_vector_in_doubt(self.interrupts);
        if started_early {
            self.device.kicks.start_may_be_lost();
        }
    }

    fn features_written(&mut self) {
        self.device.kicks.features_written();
    }

    fn status_comes(&mut self, status: u8) {
        if status & STATUS_DRIVER != 0 {
            self.device.service.expect_dma(self.dma);
        }
        if status & STATUS_DRIVER_OK != 0 {
            self.device.interrupts.arm_config(self.interrupts);
        }
    }

    fn is_started(&self) -> bool {
        self.device.kicks.is_started()
    }

    fn status_reached_device(&mut self, status: u8) {
        self.device.status_reached_device(status);
    }
}

impl TransitionalDevice {
    /// The device acted on `status`: rings for the queues that were kicked before DRIVER_OK if that is in it.
    pub(super) fn status_reached_device(&self, status: u8) {
        for queue in self.kicks.set_started(status & STATUS_DRIVER_OK != 0) {
            self.back_end.stats().add(DeviceCounter::KicksReplayed);
            self.ring(queue);
        }
    }
}
