// SPDX-License-Identifier: Apache-2.0
//! For tests: a PF that can go deaf. It takes commands and answers none, as hardware does that hangs.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use devices::bus::Width;
use devices::function::{DmaRegion, KickLink, PciFunction, Region, Result};
use vmm_sys_util::eventfd::EventFd;

thread_local! {
    static WRAP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// PFs that are started on this thread from now on are deaf while the result is set.
pub(crate) fn may_go_deaf() -> Arc<AtomicBool> {
    let deaf = Arc::new(AtomicBool::new(false));
    WRAP.set(Some(Arc::clone(&deaf)));
    deaf
}

/// What the machine's PF is to be.
pub(super) fn wrap(pf: Arc<dyn PciFunction>) -> Arc<dyn PciFunction> {
    match WRAP.with_borrow(Clone::clone) {
        Some(deaf) => Arc::new(DeafPf { pf, deaf }),
        None => pf,
    }
}

#[derive(Debug)]
struct DeafPf {
    pf: Arc<dyn PciFunction>,
    deaf: Arc<AtomicBool>,
}

impl PciFunction for DeafPf {
    fn name(&self) -> &str {
        self.pf.name()
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.pf.config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        self.pf.config_write(offset, width, value)
    }
    fn region(&self, bar: u8) -> Option<Region> {
        self.pf.region(bar)
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.pf.region_read(bar, offset, width)
    }
    /// Once the PF is up the only writes are doorbells.
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        if self.deaf.load(Ordering::SeqCst) { Ok(()) } else { self.pf.region_write(bar, offset, width, value) }
    }
    fn msix_vectors(&self) -> u16 {
        self.pf.msix_vectors()
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.pf.set_msix(events)
    }
    fn disable_msix(&self) -> Result<()> {
        self.pf.disable_msix()
    }
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.pf.dma_map(region)
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.pf.dma_unmap(iova)
    }
    fn reset(&self) -> Result<()> {
        self.pf.reset()
    }
    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Box<dyn KickLink>> {
        self.pf.link_ioeventfd(bar, offset, value, event)
    }
}
