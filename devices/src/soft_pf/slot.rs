// SPDX-License-Identifier: Apache-2.0
//! A VF as a client sees it that connected before the VF exists: a vfio-user client takes a function once, when it
//! starts, and keeps it while VF Enable comes and goes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vmm_sys_util::eventfd::EventFd;

use super::vf::Vf;
use crate::bus::Width;
use crate::function::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, KickLink, Lifetime, Named, Region, Result,
};

/// What the client of a VF finds while the VF does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HiddenConfig {
    /// What the VF will have. A client that examines a function when it connects, as QEMU does, has to find one. Its
    /// registers read as 0: to a kernel that finds the function when it boots, and knows nothing of SR-IOV there, it is
    /// a virtio device that offers no feature, which its driver refuses at once. All ones would be a reset that never
    /// ends.
    #[default]
    Readable,
    /// All ones, as on a bus.
    AllOnes,
}

/// A VF that is connected whether it exists or not. While it does not, no register is behind its BARs, it takes no
/// interrupts' eventfds and makes no DMA; what is mapped for DMA, or unmapped, is remembered.
pub(super) struct VfSlot {
    pub vf: Arc<Vf>,
    pub hidden: HiddenConfig,
}

impl VfSlot {
    fn present(&self) -> bool {
        self.vf.threaded.function.present.load(Ordering::Acquire)
    }

    fn shows_config(&self) -> bool {
        self.hidden == HiddenConfig::Readable || self.present()
    }

    /// The answer of a VF that is there; `absent` if it is not. Asked of the VF and not before: it may go, and come
    /// back, at any moment.
    fn or<T>(&self, absent: T, answer: impl FnOnce(&Vf) -> Result<T>) -> Result<T> {
        match answer(&self.vf) {
            Err(FunctionError::Gone { .. }) => Ok(absent),
            answer => answer,
        }
    }
}

impl fmt::Debug for VfSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VfSlot").field("vf", &self.vf).field("hidden", &self.hidden).finish()
    }
}

impl Named for VfSlot {
    fn name(&self) -> &str {
        self.vf.name()
    }
}

impl Configuration for VfSlot {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        if self.shows_config() { self.vf.read_config(offset, width) } else { Ok(width.all_ones() as u32) }
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        if self.shows_config() { self.vf.write_config(offset, width, value) } else { Ok(()) }
    }
}

impl Bars for VfSlot {
    fn region(&self, bar: u8) -> Option<Region> {
        self.vf.region(bar)
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        let absent = if self.hidden == HiddenConfig::Readable { 0 } else { width.all_ones() };
        self.or(absent, |vf| vf.region_read(bar, offset, width))
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        self.or((), |vf| vf.region_write(bar, offset, width, value))
    }
    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Box<dyn KickLink>> {
        self.vf.link_ioeventfd(bar, offset, value, event)
    }
}

impl Interrupts for VfSlot {
    fn msix_vectors(&self) -> u16 {
        self.vf.msix_vectors()
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.or((), |vf| vf.set_msix(events))
    }
    fn disable_msix(&self) -> Result<()> {
        self.or((), Interrupts::disable_msix)
    }
}

impl Dma for VfSlot {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.vf.threaded.function.dma_map(region)
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.vf.dma_unmap(iova)
    }
}

impl Lifetime for VfSlot {
    fn reset(&self) -> Result<()> {
        self.or((), Lifetime::reset)
    }
}

#[cfg(test)]
#[path = "slot_tests.rs"]
mod tests;
