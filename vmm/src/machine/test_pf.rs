// SPDX-License-Identifier: Apache-2.0
//! For tests: a PF that can go deaf. It takes commands and answers none, as hardware does that hangs, until it
//! hears again.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Weak};

use devices::bus::Width;
use devices::function::{DmaRegion, KickLink, PciFunction, Region, Result};
use vmm_sys_util::eventfd::EventFd;

/// A write to a doorbell: BAR, offset, width, value.
type Ring = (u8, u64, Width, u64);

/// Whether the PF hears its doorbells.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    deaf: Mutex<Option<Vec<Ring>>>,
    /// Not kept alive by this: a machine that is gone is gone.
    pf: Mutex<Option<Weak<dyn PciFunction>>>,
}

impl Ears {
    pub(crate) fn go_deaf(&self) {
        self.deaf.lock().unwrap().get_or_insert_default();
    }

    /// It notices what it missed.
    pub(crate) fn hear_again(&self) {
        let missed = self.deaf.lock().unwrap().take().unwrap_or_default();
        for (bar, offset, width, value) in missed {
            self.pf().region_write(bar, offset, width, value).unwrap();
        }
    }

    /// Whether there were doorbells that it did not hear.
    pub(crate) fn has_missed(&self) -> bool {
        self.deaf.lock().unwrap().as_ref().is_some_and(|missed| !missed.is_empty())
    }

    /// The PF as of the latest boot.
    pub(crate) fn pf(&self) -> Arc<dyn PciFunction> {
        self.pf.lock().unwrap().as_ref().and_then(Weak::upgrade).expect("there is a machine")
    }
}

thread_local! {
    static WRAP: RefCell<Option<Arc<Ears>>> = const { RefCell::new(None) };
}

/// PFs that are started on this thread from now on have these ears.
pub(crate) fn give(ears: Arc<Ears>) {
    WRAP.set(Some(ears));
}

/// What the machine's PF is to be.
pub(super) fn wrap(pf: Arc<dyn PciFunction>) -> Arc<dyn PciFunction> {
    match WRAP.with_borrow(Clone::clone) {
        Some(ears) => {
            *ears.pf.lock().unwrap() = Some(Arc::downgrade(&pf));
            Arc::new(DeafPf { pf, ears })
        }
        None => pf,
    }
}

#[derive(Debug)]
struct DeafPf {
    pf: Arc<dyn PciFunction>,
    ears: Arc<Ears>,
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
        if let Some(missed) = self.ears.deaf.lock().unwrap().as_mut() {
            missed.push((bar, offset, width, value));
            return Ok(());
        }
        self.pf.region_write(bar, offset, width, value)
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
