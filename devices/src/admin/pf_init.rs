// SPDX-License-Identifier: Apache-2.0
//! Brings a PF up for its admin virtqueue and nothing else (virtio 1.4, "Device Initialization" and
//! "Administration Virtqueues"), again after it was reset, and takes it down. It works only through [`PciFunction`] and
//! never learns what the function is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::dma::{AVAIL, AdminMemory, DESCRIPTORS, MAX_RING, USED};
use super::pf_caps::{self, Structure, VirtioStructures};
use super::pf_common::CommonConfig;
use super::pf_error::{AtStep, PfCause, PfError};
use super::queue::{PfQueue, QueueRegisters};
use super::ring::{RingFault, SplitRing};
use crate::bus::Width;
use crate::contract::Wait;
use crate::function::{Configuration, FunctionError, PciFunction};
use crate::spec::pci::{COMMAND, Command};
use crate::spec::virtio::status::{ACKNOWLEDGE, DRIVER, DRIVER_OK, FAILED, FEATURES_OK, NEEDS_RESET};
use crate::spec::virtio::{NO_VECTOR, common as at, feature};

/// Features that the driver cannot do without.
const NEEDED: [(u64, &str); 3] =
    [(feature::VERSION_1, "VERSION_1"), (feature::SR_IOV, "SR_IOV"), (feature::ADMIN_VQ, "ADMIN_VQ")];
/// Features that are taken where offered: ACCESS_PLATFORM and ORDER_PLATFORM tell that DMA goes
/// through an IOMMU and obeys the platform's ordering, as it does here.
const WELCOME: u64 = feature::ACCESS_PLATFORM | feature::ORDER_PLATFORM;

/// How long a stopping driver waits for the device's reset.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// For waits that nothing but their deadline ends.
static NEVER: AtomicBool = AtomicBool::new(false);

/// A PF that this driver holds. Resets the device when dropped.
#[derive(Debug)]
pub(super) struct PfDevice {
    function: Arc<dyn PciFunction>,
    common: CommonConfig,
    /// Mapped for the function; freed when the device is known not to use it.
    memory: Option<AdminMemory>,
    stopped: bool,
}

/// Brings `function` up to DRIVER_OK with a running admin virtqueue.
pub(super) fn start(function: Arc<dyn PciFunction>, deadline: Instant) -> Result<(PfDevice, Arc<PfQueue>), PfError> {
    let name = function.name().to_owned();
    enable_bus_master(&*function).at(&name, "switching memory decode and bus mastering on")?;
    let structures = pf_caps::find(&*function).at(&name, "looking for the virtio structures")?;
    let common =
        CommonConfig::new(Arc::clone(&function), structures.common).at(&name, "looking for the admin queue fields")?;
    let mut device = PfDevice { function, common, memory: None, stopped: false };
    let queue = device.bring_up(&structures, &Wait { deadline, cancelled: &NEVER })?;
    Ok((device, queue))
}

fn enable_bus_master(function: &dyn Configuration) -> Result<(), PfCause> {
    let wanted = u32::from((Command::MEMORY | Command::BUS_MASTER).bits());
    let command = function.config_read(COMMAND, Width::B2)? | wanted;
    function.config_write(COMMAND, Width::B2, command)?;
    let seen = function.config_read(COMMAND, Width::B2)?;
    // All ones is a function that is not there.
    if seen & wanted != wanted || seen == 0xffff {
        return Err(PfCause::NotKept { register: "COMMAND", written: command.into(), seen: seen.into() });
    }
    Ok(())
}

impl PfDevice {
    /// Brings the device up again, whatever became of it: nothing that was found out about it is
    /// taken for granted, as new firmware may have come with the reset. Commands on the earlier queue
    /// are lost. A device that cannot be reset keeps its memory, and may be tried again.
    pub(super) fn restart(&mut self, wait: &Wait<'_>) -> Result<Arc<PfQueue>, PfError> {
        let name = self.function.name().to_owned();
        enable_bus_master(&*self.function).at(&name, "switching memory decode and bus mastering on")?;
        let structures = pf_caps::find(&*self.function).at(&name, "looking for the virtio structures")?;
        self.common = CommonConfig::new(Arc::clone(&self.function), structures.common)
            .at(&name, "looking for the admin queue fields")?;
        self.bring_up(&structures, wait)
    }

    /// From any state to DRIVER_OK with a running admin virtqueue in fresh memory.
    fn bring_up(&mut self, structures: &VirtioStructures, wait: &Wait<'_>) -> Result<Arc<PfQueue>, PfError> {
        let name = self.function.name().to_owned();
        self.common.reset(wait).at(&name, "resetting the device")?;
        self.release_memory().at(&name, "unmapping DMA memory")?;
        self.negotiate_features().at(&name, "choosing features")?;
        let queue_index = self.find_admin_queue().at(&name, "looking for the admin virtqueue")?;
        let memory = self.map_memory().at(&name, "mapping DMA memory")?;
        let (ring, registers) =
            self.set_up_queue(&memory, structures, queue_index).at(&name, "setting up the admin virtqueue")?;
        self.go().at(&name, "starting the device")?;
        let queue = PfQueue::new(Arc::clone(&self.function), registers, memory, ring);
        tracing::info!(function = name, queue_index, slots = queue.slots(), "PF admin virtqueue runs");
        Ok(Arc::new(queue))
    }

    /// The device was reset, so it does not write to its memory any more.
    fn release_memory(&mut self) -> Result<(), PfCause> {
        let Some(memory) = self.memory.take() else { return Ok(()) };
        if let Err(error) = self.function.dma_unmap(memory.iova(0)) {
            self.memory = Some(memory);
            return Err(error.into());
        }
        Ok(())
    }

    fn negotiate_features(&self) -> Result<(), PfCause> {
        self.common.set_status(ACKNOWLEDGE)?;
        self.common.set_status(ACKNOWLEDGE | DRIVER)?;
        let offered = self.common.device_features()?;
        let mut features = offered & WELCOME;
        for (bit, name) in NEEDED {
            if offered & bit == 0 {
                return Err(PfCause::MissingFeature { bit: bit.trailing_zeros(), name, offered });
            }
            features |= bit;
        }
        self.common.set_driver_features(features)?;
        self.common.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)?;
        let status = self.common.status()?;
        if status & FEATURES_OK == 0 || status & (FAILED | NEEDS_RESET) != 0 {
            return Err(PfCause::FeaturesRefused { features, status });
        }
        Ok(())
    }

    /// Index of the earliest admin virtqueue. The fields mean something from FEATURES_OK on.
    fn find_admin_queue(&self) -> Result<u16, PfCause> {
        let queues = self.common.read16(at::NUM_QUEUES)?;
        let index = self.common.read16(at::ADMIN_QUEUE_INDEX)?;
        let count = self.common.read16(at::ADMIN_QUEUE_NUM)?;
        if count == 0 || index < queues || u32::from(index) + u32::from(count) > 0x1_0000 {
            return Err(PfCause::NoAdminQueue { index, count, queues });
        }
        Ok(index)
    }

    fn map_memory(&mut self) -> Result<AdminMemory, PfCause> {
        let memory = AdminMemory::allocate()?;
        self.function.dma_map(memory.region())?;
        self.memory = Some(memory.clone());
        Ok(memory)
    }

    fn set_up_queue(
        &self,
        memory: &AdminMemory,
        structures: &VirtioStructures,
        queue_index: u16,
    ) -> Result<(SplitRing, QueueRegisters), PfCause> {
        let config = &self.common;
        config.write16(at::CONFIG_MSIX_VECTOR, NO_VECTOR)?;
        config.write16(at::QUEUE_SELECT, queue_index)?;
        let most = config.read16(at::QUEUE_SIZE)?;
        let size = most.min(MAX_RING).checked_ilog2().map_or(0, |power| 1 << power);
        if size < 2 {
            return Err(PfCause::QueueTooSmall { size: most });
        }
        if size != most {
            self.write_kept("queue_size", at::QUEUE_SIZE, size)?;
        }
        config.write16(at::QUEUE_MSIX_VECTOR, NO_VECTOR)?;
        let ring = SplitRing::new(memory.clone(), size).ok_or(super::AdminError::Dead(RingFault::Memory.reason()))?;
        config.write64(at::QUEUE_DESC, memory.iova(DESCRIPTORS))?;
        config.write64(at::QUEUE_DRIVER, memory.iova(AVAIL))?;
        config.write64(at::QUEUE_DEVICE, memory.iova(USED))?;
        let notify_off = config.read16(at::QUEUE_NOTIFY_OFF)?;
        let doorbell_offset = doorbell(structures.notify, notify_off, structures.notify_off_multiplier)?;
        self.write_kept("queue_enable", at::QUEUE_ENABLE, 1)?;
        let (status_bar, status_offset) = config.locate(at::DEVICE_STATUS);
        let doorbell_bar = structures.notify.bar;
        Ok((ring, QueueRegisters { doorbell_bar, doorbell_offset, queue_index, status_bar, status_offset }))
    }

    fn write_kept(&self, register: &'static str, at: u64, value: u16) -> Result<(), PfCause> {
        self.common.write16(at, value)?;
        let seen = self.common.read16(at)?;
        if seen == value {
            return Ok(());
        }
        Err(PfCause::NotKept { register, written: value.into(), seen: seen.into() })
    }

    /// From here on the device may use buffers.
    fn go(&self) -> Result<(), PfCause> {
        self.common.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)?;
        let status = self.common.status()?;
        if status & DRIVER_OK == 0 || status & (FAILED | NEEDS_RESET) != 0 {
            return Err(PfCause::NotStarted { status });
        }
        Ok(())
    }

    /// Resets the device and gives its memory back. Memory that the device may still write is never
    /// freed: without a confirmed reset it stays mapped until the process ends, unless the device is gone.
    pub(super) fn stop(&mut self) -> Result<(), PfCause> {
        if std::mem::replace(&mut self.stopped, true) {
            return Ok(());
        }
        let wait = Wait { deadline: Instant::now() + STOP_TIMEOUT, cancelled: &NEVER };
        match self.common.reset(&wait).and_then(|()| self.release_memory()) {
            Ok(()) => self.disable_bus_master(),
            // What is not there any more writes nothing.
            Err(error @ PfCause::Function(FunctionError::Gone { .. })) => Err(error),
            Err(error) => {
                std::mem::forget(self.memory.take());
                Err(error)
            }
        }
    }

    fn disable_bus_master(&self) -> Result<(), PfCause> {
        let command = self.function.config_read(COMMAND, Width::B2)?;
        Ok(self.function.config_write(COMMAND, Width::B2, command & !u32::from(Command::BUS_MASTER.bits()))?)
    }
}

impl Drop for PfDevice {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(function = self.function.name(), %error, "PF did not stop; its DMA memory is kept");
        }
    }
}

/// Offset in the BAR of a queue's 16-bit doorbell, which lies inside the notification structure.
fn doorbell(notify: Structure, notify_off: u16, multiplier: u32) -> Result<u64, PfCause> {
    // At most 2^48: no overflow.
    let within = u64::from(notify_off) * u64::from(multiplier);
    let offset = u64::from(notify.offset) + within;
    if within + 2 > u64::from(notify.length) || offset % 2 != 0 {
        return Err(PfCause::Doorbell { offset: notify.offset, notify_off, multiplier });
    }
    Ok(offset)
}
