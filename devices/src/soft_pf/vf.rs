// SPDX-License-Identifier: Apache-2.0
//! A virtual function. Its modern interface is in its BAR, its legacy interface is what the PF's
//! administration commands do to it. Queues are processed by its own thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::SoftPfError;
use super::device::Served;
use super::function::Function;
use super::layout::{self, REGISTER_BAR, is_doorbell};
use super::legacy::NoSuchField;
use super::model::Model;
use super::quirks::SharedQuirks;
use super::worker::{Endpoint, Link};
use crate::bus::Width;
use crate::function::{DmaRegion, FunctionError, KickLink, PciFunction, Region, Result};

/// A virtual function.
pub(super) struct Vf {
    pub function: Function,
    /// One for each queue; a kick writes it and the VF's thread reads it.
    pub kicks: Vec<EventFd>,
    /// DRIVER_OK, readable without the lock.
    live: AtomicBool,
    quirks: SharedQuirks,
    endpoint: Endpoint,
}

impl Vf {
    /// A VF that does not exist yet: its PF has not enabled it.
    pub(super) fn new(
        name: String,
        model: Box<dyn Model>,
        quirks: SharedQuirks,
        endpoint: Endpoint,
    ) -> std::result::Result<Self, SoftPfError> {
        let event = |_: &u16| EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(SoftPfError::Event);
        let kicks = model.queue_sizes().iter().map(event).collect::<std::result::Result<_, _>>()?;
        let function = Function::new(name, model)?;
        Ok(Self { function, kicks, live: AtomicBool::new(false), quirks, endpoint })
    }

    /// Makes the VF appear or disappear; either way it is as after power-on.
    pub(super) fn set_present(&self, present: bool) {
        if present {
            self.reset_function();
        }
        self.function.present.store(present, Ordering::Release);
        if !present {
            self.reset_function();
        }
    }

    /// VF Memory Space Enable.
    pub(super) fn set_decoded(&self, decoded: bool) {
        self.function.decoded.store(decoded, Ordering::Release);
    }

    fn reset_function(&self) {
        self.function.reset();
        self.live.store(false, Ordering::Release);
    }

    /// The driver kicked a queue: cheap, and safe on any thread.
    pub(super) fn kick(&self, queue: u16) {
        let Some(event) = self.kicks.get(usize::from(queue)) else { return };
        if self.live.load(Ordering::Acquire) || self.quirks.load().early_kicks {
            self.wake(event);
        }
    }

    fn wake(&self, event: &EventFd) {
        // Fails only when the counter is full, and then the thread is awake already.
        if let Err(error) = event.write(1) {
            tracing::debug!(vf = self.function.name, %error, "kick not counted");
        }
    }

    /// Bus mastering came back: what was kicked meanwhile is found now.
    fn kick_all(&self) {
        if self.live.load(Ordering::Acquire) {
            self.kicks.iter().for_each(|event| self.wake(event));
        }
    }

    /// Processes a queue, and those that have work because of it, for one turn each.
    pub(super) fn serve(&self, queue: usize) {
        let early = self.quirks.load().early_kicks;
        let mut next = Some(queue);
        while let Some(queue) = next {
            let Served { again, also } = {
                let mut device = self.function.device();
                let memory = self.function.dma.load();
                let served = device.service(queue, &memory, early);
                self.live.store(device.is_live(), Ordering::Release);
                served
            };
            if again && let Some(event) = self.kicks.get(queue) {
                // Through the event loop, so that other queues and resets get their turn.
                self.wake(event);
            }
            next = also;
        }
    }

    /// Whether the model's source is to be watched.
    pub(super) fn wants_source(&self) -> bool {
        self.function.device().wants_source()
    }

    /// LEGACY_COMMON_CFG_READ.
    pub(super) fn legacy_read(&self, offset: u8, out: &mut [u8]) -> std::result::Result<(), NoSuchField> {
        self.function.device().legacy_read(offset, out)
    }

    /// LEGACY_COMMON_CFG_WRITE. A reset is complete, and no DMA is made any more, when it returns.
    pub(super) fn legacy_write(&self, offset: u8, bytes: &[u8]) -> std::result::Result<(), NoSuchField> {
        let pfn_zero_resets = self.quirks.load().pfn_zero_resets;
        let write = {
            let mut device = self.function.device();
            let write = device.legacy_write(offset, bytes, pfn_zero_resets)?;
            self.live.store(device.is_live(), Ordering::Release);
            write
        };
        write.kick.into_iter().for_each(|queue| self.kick(queue));
        Ok(())
    }

    /// LEGACY_DEV_CFG_READ.
    pub(super) fn legacy_config_read(&self, offset: u8, out: &mut [u8]) -> std::result::Result<(), NoSuchField> {
        self.function.device().legacy_config_read(offset, out)
    }

    /// LEGACY_DEV_CFG_WRITE.
    pub(super) fn legacy_config_write(&self, offset: u8, bytes: &[u8]) -> std::result::Result<(), NoSuchField> {
        self.function.device().legacy_config_write(offset, bytes)
    }
}

impl fmt::Debug for Vf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vf").field("name", &self.function.name).finish_non_exhaustive()
    }
}

/// What the outside has of a VF.
#[derive(Debug)]
pub(super) struct VfHandle(pub Arc<Vf>);

impl PciFunction for VfHandle {
    fn name(&self) -> &str {
        &self.0.function.name
    }

    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.0.function.config_read(offset, width)
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let write = self.0.function.config_write(offset, width, value)?;
        if write.function_reset {
            self.0.reset_function();
        } else if write.bus_master_on {
            self.0.kick_all();
        }
        Ok(())
    }

    fn region(&self, bar: u8) -> Option<Region> {
        layout::region(bar)
    }

    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.0.function.region_read(bar, offset, width)
    }

    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        if self.0.function.region_write(bar, offset, width, value)? {
            if is_doorbell(offset) {
                self.0.kick(value as u16);
            }
        } else if offset < layout::ISR {
            let live = self.0.function.device().is_live();
            self.0.live.store(live, Ordering::Release);
        }
        Ok(())
    }

    fn msix_vectors(&self) -> u16 {
        self.0.function.msix_vectors()
    }

    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.0.function.set_msix(events)
    }

    fn disable_msix(&self) -> Result<()> {
        self.0.function.disable_msix()
    }

    // An IOMMU does not ask whether the VF is there: a client maps its memory once, before VF Enable.
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.0.function.dma_map(region)
    }

    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.0.function.dma_unmap(iova)
    }

    fn reset(&self) -> Result<()> {
        self.0.function.check_present()?;
        self.0.reset_function();
        Ok(())
    }

    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Box<dyn KickLink>> {
        let vf = &self.0;
        vf.function.check_present()?;
        if bar != REGISTER_BAR || !is_doorbell(offset) {
            return Err(vf.function.unsupported("an ioeventfd at an address that is no doorbell"));
        }
        let io = |source| FunctionError::Io { name: vf.function.name.clone(), what: "link an ioeventfd", source };
        let event = event.try_clone().map_err(io)?;
        let link = Link::new(&vf.endpoint, vf.clone(), value, event).map_err(io)?;
        Ok(Box::new(link))
    }
}
