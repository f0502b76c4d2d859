// SPDX-License-Identifier: Apache-2.0
//! What PF and VF have in common as PCI functions: configuration space, register BAR, MSI-X, DMA
//! mappings, function level reset. Locks are taken in the order configuration, device.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::EventFd;

use super::SoftPfError;
use super::device::VirtioDevice;
use super::figures::Figures;
use super::in_flight::InFlight;
use super::layout::{
    COMMON, Config, DEVICE, ISR, MSIX_BAR, MSIX_BAR_SIZE, NOTIFY, REGISTER_BAR, REGISTER_BAR_SIZE, Traits,
};
use super::memory::DmaSpace;
use super::model::Model;
use crate::bus::Width;
use crate::function::{Dma, DmaRegion, FunctionError, Interrupts, Named, Result};
use crate::pci::{CONFIG_SPACE_SIZE, Changed, Command};
use crate::spec::pci::express;

/// How long a reset, an unmapping or the end of bus mastering waits for what the host has under way.
pub(super) const QUIET_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks whether the device is free.
const NAP: Duration = Duration::from_micros(20);

/// A configuration write that its function has to act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigWrite {
    /// "Initiate function level reset" was written.
    pub function_reset: bool,
    /// COMMAND.BUS_MASTER went from 0 to 1.
    pub bus_master_on: bool,
}

/// One function.
pub(super) struct Function {
    config: Mutex<Config>,
    device: Mutex<VirtioDevice>,
    pub dma: DmaSpace,
    /// Virtio device type: 1 net, 2 block.
    device_type: u16,
    pub figures: Arc<Figures>,
    pub in_flight: Arc<InFlight>,
    vectors: u16,
    /// The function exists. A VF does while its PF has VF Enable.
    pub present: AtomicBool,
    /// The BARs are decoded: COMMAND.MEMORY of a PF, VF Memory Space Enable for a VF.
    pub decoded: AtomicBool,
}

impl Function {
    /// Its name in logs and reports.
    pub(super) fn name(&self) -> &str {
        self.figures.name()
    }

    /// Virtio device type: 1 net, 2 block.
    pub(super) fn device_type(&self) -> u16 {
        self.device_type
    }

    /// A function with one MSI-X vector for each queue and one for the configuration.
    pub(super) fn new(model: Box<dyn Model>, figures: Arc<Figures>) -> std::result::Result<Self, SoftPfError> {
        let in_flight = Arc::<InFlight>::default();
        let queues = model.queue_sizes().len() as u16;
        let vectors = queues + 1;
        let traits = Traits { device_type: model.device_type(), queues, config_len: model.config().len(), vectors };
        Ok(Self {
            config: Mutex::new(Config::new(&traits)?),
            device: Mutex::new(VirtioDevice::new(model, vectors, figures.clone(), in_flight.clone())?),
            figures,
            in_flight,
            device_type: traits.device_type,
            dma: DmaSpace::default(),
            vectors,
            present: AtomicBool::new(false),
            decoded: AtomicBool::new(false),
        })
    }

    /// The device, locked. The PF's lock is taken before a VF's, never the other way round.
    pub(super) fn device(&self) -> MutexGuard<'_, VirtioDevice> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Self::device`], for somebody who has others to serve: `None` if it is not free within `patience`.
    pub(super) fn device_within(&self, patience: Duration) -> Option<MutexGuard<'_, VirtioDevice>> {
        let mut end = None;
        loop {
            match self.device.try_lock() {
                Ok(device) => return Some(device),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            if Instant::now() > *end.get_or_insert_with(|| Instant::now() + patience) {
                return None;
            }
            std::thread::sleep(NAP);
        }
    }

    /// Waits until the host is done with all requests that are under way; if it takes too long the device says that
    /// it needs a reset, and does nothing until it gets one. Says whether they are over.
    pub(super) fn await_quiet(&self, deadline: Instant) -> bool {
        self.in_flight.wait(deadline) || self.late()
    }

    fn late(&self) -> bool {
        self.in_flight.give_up();
        self.device().needs_reset();
        tracing::warn!(
            function = self.name(),
            "the host's storage does not answer: the device needs a reset, and its pending requests keep their memory"
        );
        false
    }

    /// The configuration space, locked.
    pub(super) fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses to work for a function that is not there.
    pub(super) fn check_present(&self) -> Result<()> {
        if self.present.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(FunctionError::Gone { name: self.name().to_owned() })
        }
    }

    fn out_of_range(&self, what: String, offset: u64, width: Width) -> FunctionError {
        FunctionError::OutOfRange { name: self.name().to_owned(), what, offset, width: width.bytes() }
    }

    /// An operation this function does not have.
    pub(super) fn unsupported(&self, what: &'static str) -> FunctionError {
        FunctionError::Unsupported { name: self.name().to_owned(), what }
    }

    fn check_config(&self, offset: u16, width: Width) -> Result<()> {
        if width <= Width::B4 && usize::from(offset) + width.bytes() <= CONFIG_SPACE_SIZE {
            Ok(())
        } else {
            Err(self.out_of_range("configuration space".to_owned(), offset.into(), width))
        }
    }

    /// Reads configuration space, whether or not the function is present: the caller decides.
    pub(super) fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.check_config(offset, width)?;
        Ok(self.config().space.read(offset, width))
    }

    /// Writes configuration space, present or not. When bus mastering went off, no DMA is made any more when this
    /// returns, or the device needs a reset; a reset is the caller's.
    pub(super) fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<ConfigWrite> {
        self.check_config(offset, width)?;
        let mut config = self.config();
        let control = usize::from(config.express + express::DEVICE_CONTROL + 1);
        let initiate = control
            .checked_sub(offset.into())
            .filter(|byte| *byte < width.bytes())
            .is_some_and(|byte| value.to_le_bytes()[byte] & (express::INITIATE_FLR >> 8) as u8 != 0);
        let before = config.space.command();
        let changed = config.space.write(offset, width, value);
        let command = config.space.command();
        if changed.contains(Changed::COMMAND) {
            // Under the device lock, so rings are not touched after bus mastering is off.
            self.device().set_bus_master(command.contains(Command::BUS_MASTER));
        }
        drop(config);
        if (before - command).contains(Command::BUS_MASTER) {
            self.await_quiet(Instant::now() + QUIET_LIMIT);
        }
        Ok(ConfigWrite { function_reset: initiate, bus_master_on: (command - before).contains(Command::BUS_MASTER) })
    }

    /// COMMAND.MEMORY.
    pub(super) fn memory_enabled(&self) -> bool {
        self.config().space.command().contains(Command::MEMORY)
    }

    /// Function level reset. DMA mappings stay. What is under way is still to be waited for.
    pub(super) fn reset(&self) {
        let mut config = self.config();
        config.space.reset();
        config.show_msix(false);
        self.device().function_reset();
    }

    fn check_region(&self, bar: u8, offset: u64, width: Width) -> Result<()> {
        self.check_present()?;
        let size = match bar {
            REGISTER_BAR => REGISTER_BAR_SIZE,
            MSIX_BAR => MSIX_BAR_SIZE,
            _ => 0,
        };
        match offset.checked_add(width.bytes() as u64) {
            Some(end) if end <= size => Ok(()),
            _ => Err(self.out_of_range(format!("BAR {bar}"), offset, width)),
        }
    }

    /// Reads a BAR; all ones while it is not decoded. The MSI-X table reads as 0: what it would
    /// hold was given by [`Self::set_msix`].
    pub(super) fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.check_region(bar, offset, width)?;
        if !self.decoded.load(Ordering::Acquire) {
            return Ok(width.all_ones());
        }
        Ok(match (bar, offset) {
            (REGISTER_BAR, COMMON..ISR) => self.device().common_read(offset - COMMON, width),
            (REGISTER_BAR, ISR) => self.device().take_isr().into(),
            (REGISTER_BAR, DEVICE..NOTIFY) => self.device().config_read(offset - DEVICE, width),
            _ => 0,
        })
    }

    /// Writes a BAR; returns whether the write was decoded and is not a register's, so that it may
    /// be a doorbell's.
    pub(super) fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<bool> {
        self.check_region(bar, offset, width)?;
        if !self.decoded.load(Ordering::Acquire) || bar != REGISTER_BAR {
            return Ok(false);
        }
        if (COMMON..ISR).contains(&offset) {
            self.device().common_write(offset - COMMON, width, value);
        }
        Ok(offset >= NOTIFY && width == Width::B2)
    }

    /// Enables MSI-X.
    pub(super) fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.check_present()?;
        if events.len() > usize::from(self.vectors) {
            return Err(self.unsupported("more MSI-X vectors than it has"));
        }
        let io =
            |source| FunctionError::Io { name: self.name().to_owned(), what: "take an interrupt's eventfd", source };
        let events = events.iter().map(|event| event.map(EventFd::try_clone).transpose().map_err(io));
        let events = events.collect::<Result<Vec<_>>>()?;
        let mut config = self.config();
        config.show_msix(true);
        self.device().set_msix(Some(events));
        Ok(())
    }

    /// Disables MSI-X. No eventfd is signalled after this returns.
    pub(super) fn disable_msix(&self) -> Result<()> {
        self.check_present()?;
        let mut config = self.config();
        config.show_msix(false);
        self.device().set_msix(None);
        Ok(())
    }

    /// Maps memory for DMA.
    pub(super) fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        if self.dma.map(region) {
            return Ok(());
        }
        let source = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "the range overlaps one that is mapped");
        Err(FunctionError::Io { name: self.name().to_owned(), what: "map memory for DMA", source })
    }

    /// Ends a mapping. When this fails because the host's storage still uses the memory, the memory lives until that
    /// ends, and the device needs a reset.
    pub(super) fn dma_unmap(&self, iova: u64) -> Result<()> {
        let failed = |kind, text| {
            let source = std::io::Error::new(kind, text);
            Err(FunctionError::Io { name: self.name().to_owned(), what: "unmap memory for DMA", source })
        };
        let Some(last) = self.dma.unmap(iova) else {
            return failed(std::io::ErrorKind::NotFound, "no mapping starts at this address");
        };
        // Whoever uses an older snapshot holds the device lock, or is under way.
        drop(self.device());
        if self.in_flight.wait_for_range(iova, last, Instant::now() + QUIET_LIMIT) || self.late() {
            return Ok(());
        }
        failed(std::io::ErrorKind::TimedOut, "the host's storage still uses it")
    }
}

/// PF and VF, which are what the function in them is.
pub(super) trait HasFunction: fmt::Debug + Send + Sync {
    /// The function.
    fn function(&self) -> &Function;
}

impl<T: HasFunction> Named for T {
    fn name(&self) -> &str {
        self.function().name()
    }
}

impl<T: HasFunction> Interrupts for T {
    fn msix_vectors(&self) -> u16 {
        self.function().vectors
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.function().set_msix(events)
    }
    fn disable_msix(&self) -> Result<()> {
        self.function().disable_msix()
    }
}

// An IOMMU does not ask whether a VF is there: a client maps its memory once, before VF Enable.
impl<T: HasFunction> Dma for T {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.function().dma_map(region)
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.function().dma_unmap(iova)
    }
}
