// SPDX-License-Identifier: Apache-2.0
//! Kicks before DRIVER_OK (hazard H12). Drivers of Linux before 3.19 wait for completions in their probe, and
//! DRIVER_OK comes after that: `virtio_blk` reads the partition table. A transitional device has to serve them (virtio
//! 1.3, "Legacy Interface: Device Initialization"), a VF made for the modern interface may ignore them. So the VF is
//! given DRIVER_OK at the first kick, and the guest sees the status that it wrote itself.
//!
//! It writes the status register of its function and nothing else.

use serde::Serialize;

use super::notifier::Kick;
use crate::transitional::device::{Core, TransitionalDevice};
use crate::transitional::layout::decode::Register;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::registers::cache::STATUS_DRIVER_OK;
use crate::transitional::registers::events::Event;

/// What becomes of kicks before DRIVER_OK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EarlyKicks {
    /// The first one starts the device. A network card is not started before its driver wrote the features: they
    /// decide how long the header of a frame is, and a device may look at them when it starts.
    #[default]
    Auto,
    /// They are passed on, and repeated at DRIVER_OK.
    Pass,
    /// The first one starts the device, whatever it is.
    Start,
}

impl EarlyKicks {
    /// Its name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pass => "pass",
            Self::Start => "start",
        }
    }
}

/// When a kick before DRIVER_OK starts the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// Never.
    Never,
    /// Once the driver has written its features.
    Features,
    /// Always.
    Once,
}

impl StartAt {
    /// What `early` means for a `device`.
    pub fn new(early: EarlyKicks, device: DeviceType) -> Self {
        match (early, device) {
            (EarlyKicks::Pass, _) => Self::Never,
            (EarlyKicks::Auto, DeviceType::Net) => Self::Features,
            (EarlyKicks::Auto | EarlyKicks::Start, _) => Self::Once,
        }
    }
}

impl Core {
    /// The status that the guest gets to see when the device's is `status`.
    pub(in crate::transitional) fn status_for_guest(&self, status: u8) -> u8 {
        if self.started_early { status & !STATUS_DRIVER_OK } else { status }
    }
}

impl TransitionalDevice {
    /// A kick for `queue` that the device has to be started for. Another vCPU may have done so, or have reset the
    /// device, since that was found.
    pub(in crate::transitional) fn start_and_ring(&self, queue: u16) {
        let mut core = self.lock_for_access();
        if !self.notifier.is_configured(queue) {
            return;
        }
        if !self.notifier.is_started() && !self.start_device(&mut core) {
            // The guest's own DRIVER_OK may do better.
            self.notifier.remember(queue);
        }
        if self.notifier.ring(queue) == Kick::Command {
            self.kick_by_command(queue);
        }
    }

    /// Gives the device DRIVER_OK in its driver's place, and rings for what was kicked before.
    fn start_device(&self, core: &mut Core) -> bool {
        self.arm_config(core);
        let status = core.cache.status() | STATUS_DRIVER_OK;
        if !self.back_end.write(Register::Status, status.into()) {
            core.cache.apply(Event::AccessFailed);
            return false;
        }
        core.started_early = true;
        self.stats.early_starts.add();
        self.status_reached_device(status);
        true
    }

    /// The device acted on `status`: rings for the queues that were kicked before DRIVER_OK if that is in it.
    pub(in crate::transitional) fn status_reached_device(&self, status: u8) {
        for queue in self.notifier.set_started(status & STATUS_DRIVER_OK != 0) {
            self.stats.kicks_replayed.add();
            if self.notifier.ring(queue) == Kick::Command {
                self.kick_by_command(queue);
            }
        }
    }

    /// Whether the device is to keep a DRIVER_OK that its driver did not write yet.
    pub(in crate::transitional) fn keeps_early_start(&self, core: &Core) -> bool {
        core.started_early && self.notifier.is_started()
    }

    /// The device may have lost a DRIVER_OK that its driver did not write: the next kick starts it again.
    pub(in crate::transitional) fn early_start_may_be_lost(&self, core: &Core) {
        if core.started_early {
            // It is not started by this, so nothing is to be rung.
            let _ = self.notifier.set_started(false);
        }
    }
}

#[cfg(test)]
#[path = "early_tests.rs"]
mod tests;
