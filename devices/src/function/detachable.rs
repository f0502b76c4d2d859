// SPDX-License-Identifier: Apache-2.0
//! A function that can be released while many hold it. What the system wants back has to be closed soon, whoever uses
//! the function at that moment: every user gets this handle, and when it is
//! detached, operations fail with [`FunctionError::Gone`] and the function itself is dropped as soon
//! as those under way have ended.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use vmm_sys_util::eventfd::EventFd;

use super::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, IntxEvents, KickLink, Lifetime, MappableArea,
    Named, PciFunction, Region, Result,
};
use crate::bus::Width;

/// `ArcSwap` wants something sized.
#[derive(Debug)]
struct Held(Arc<dyn PciFunction>);

/// A handle to a function, see the module. It answers what a function is (name, BARs, vectors) also
/// when it is detached.
#[derive(Debug)]
pub struct Detachable {
    inner: ArcSwapOption<Held>,
    name: String,
    regions: [Option<Region>; 6],
    msix: u16,
    msi: u16,
    intx: bool,
    removal: Option<EventFd>,
    error: Option<EventFd>,
}

impl Detachable {
    /// A handle that should be what holds `function`.
    ///
    /// # Errors
    /// When its eventfds cannot be duplicated.
    pub fn new(function: Arc<dyn PciFunction>) -> io::Result<Arc<Self>> {
        let mut bar = 0;
        let regions = [(); 6].map(|()| {
            let region = function.region(bar);
            bar += 1;
            region
        });
        Ok(Arc::new(Self {
            name: function.name().to_owned(),
            regions,
            msix: function.msix_vectors(),
            msi: function.msi_vectors(),
            intx: function.has_intx(),
            removal: function.removal_event().map(EventFd::try_clone).transpose()?,
            error: function.error_event().map(EventFd::try_clone).transpose()?,
            inner: ArcSwapOption::from_pointee(Held(function)),
        }))
    }

    /// Lets go of the function. Whoever needs it quiet has made it so before.
    pub fn detach(&self) {
        self.inner.store(None);
    }

    /// Whether [`Self::detach`] was called.
    pub fn is_detached(&self) -> bool {
        self.inner.load().is_none()
    }

    fn with<T>(&self, act: impl FnOnce(&dyn PciFunction) -> Result<T>) -> Result<T> {
        let guard: Guard<Option<Arc<Held>>> = self.inner.load();
        match guard.as_deref() {
            Some(held) => act(held.0.as_ref()),
            None => Err(FunctionError::Gone { name: self.name.clone() }),
        }
    }
}

impl Named for Detachable {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Configuration for Detachable {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.with(|function| function.config_read(offset, width))
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        self.with(|function| function.config_write(offset, width, value))
    }
}

impl Bars for Detachable {
    fn region(&self, bar: u8) -> Option<Region> {
        self.regions.get(usize::from(bar)).copied().flatten()
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.with(|function| function.region_read(bar, offset, width))
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        self.with(|function| function.region_write(bar, offset, width, value))
    }
    fn mappable(&self, bar: u8) -> Result<Vec<MappableArea>> {
        self.with(|function| function.mappable(bar))
    }
    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Box<dyn KickLink>> {
        self.with(|function| function.link_ioeventfd(bar, offset, value, event))
    }
}

impl Interrupts for Detachable {
    fn msix_vectors(&self) -> u16 {
        self.msix
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.with(|function| function.set_msix(events))
    }
    fn disable_msix(&self) -> Result<()> {
        self.with(|function| function.disable_msix())
    }
    fn msi_vectors(&self) -> u16 {
        self.msi
    }
    fn set_msi(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.with(|function| function.set_msi(events))
    }
    fn has_intx(&self) -> bool {
        self.intx
    }
    fn set_intx(&self, events: Option<IntxEvents<'_>>) -> Result<()> {
        self.with(|function| function.set_intx(events))
    }
}

impl Dma for Detachable {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.with(|function| function.dma_map(region))
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.with(|function| function.dma_unmap(iova))
    }
}

impl Lifetime for Detachable {
    fn removal_event(&self) -> Option<&EventFd> {
        self.removal.as_ref()
    }
    fn error_event(&self) -> Option<&EventFd> {
        self.error.as_ref()
    }
    fn reset(&self) -> Result<()> {
        self.with(|function| function.reset())
    }
    fn give_up(&self) {
        // One that is detached has nobody waiting.
        let _ = self.with(|function| {
            function.give_up();
            Ok(())
        });
    }
}

#[cfg(test)]
#[path = "detachable_tests.rs"]
mod tests;
