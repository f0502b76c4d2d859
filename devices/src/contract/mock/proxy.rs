// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::super::Width;
use super::super::function::{
    Bars, Configuration, Dma, DmaRegion, Interrupts, KickLink, Lifetime, Named, PciFunction, Region, Result,
};

/// What stands between a driver and a function, and what it does to that driver's accesses. A method that is not
/// written passes them on.
pub trait Between: fmt::Debug + Send + Sync {
    /// The function.
    fn function(&self) -> &dyn PciFunction;

    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.function().region_read(bar, offset, width)
    }

    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        self.function().region_write(bar, offset, width, value)
    }

    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.function().dma_map(region)
    }
}

/// The function with something in front.
#[derive(Debug)]
pub struct Proxy<T>(T);

impl<T: Between> Proxy<T> {
    pub fn new(between: T) -> Arc<Self> {
        Arc::new(Self(between))
    }
}

impl<T> Deref for Proxy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Between> Named for Proxy<T> {
    fn name(&self) -> &str {
        self.function().name()
    }
}

impl<T: Between> Configuration for Proxy<T> {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.function().config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        self.function().config_write(offset, width, value)
    }
}

impl<T: Between> Bars for Proxy<T> {
    fn region(&self, bar: u8) -> Option<Region> {
        self.function().region(bar)
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.0.region_read(bar, offset, width)
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        self.0.region_write(bar, offset, width, value)
    }
    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Box<dyn KickLink>> {
        self.function().link_ioeventfd(bar, offset, value, event)
    }
}

impl<T: Between> Interrupts for Proxy<T> {
    fn msix_vectors(&self) -> u16 {
        self.function().msix_vectors()
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.function().set_msix(events)
    }
    fn disable_msix(&self) -> Result<()> {
        self.function().disable_msix()
    }
}

impl<T: Between> Dma for Proxy<T> {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.0.dma_map(region)
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.function().dma_unmap(iova)
    }
}

impl<T: Between> Lifetime for Proxy<T> {
    fn reset(&self) -> Result<()> {
        self.function().reset()
    }
}
