// SPDX-License-Identifier: Apache-2.0
//! The VF's own BARs: what a guest's modern driver uses, and how often that happened. Whatever the legacy
//! interface knows of the device may be wrong after each use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::contract::Width;
use crate::function::{MappableArea, PciFunction};
use crate::transitional::below::fault::Faults;

/// The modern interface of one function.
pub(crate) struct ModernInterface {
    vf: Arc<dyn PciFunction>,
    faults: Arc<Faults>,
    uses: AtomicU64,
    /// Whether the VF's BARs are mapped into the guest, see [`Self::mappable`].
    direct: AtomicBool,
}

impl ModernInterface {
    /// Not used yet.
    pub(crate) fn new(vf: &Arc<dyn PciFunction>, faults: &Arc<Faults>) -> Self {
        Self { vf: Arc::clone(vf), faults: Arc::clone(faults), uses: AtomicU64::new(0), direct: AtomicBool::new(false) }
    }

    /// Accesses so far; to be asked before each access to the legacy interface. A mapped BAR is used without
    /// our seeing it, so each access may come after such a use.
    pub(crate) fn uses(&self) -> u64 {
        match self.direct.load(Ordering::Acquire) {
            true => self.uses.fetch_add(1, Ordering::AcqRel).wrapping_add(1),
            false => self.uses.load(Ordering::Acquire),
        }
    }

    /// A guest's read.
    pub(crate) fn read(&self, bar: u8, offset: u64, width: Width) -> u64 {
        let value = self.vf.region_read(bar, offset, width).unwrap_or_else(|error| {
            self.faults.function(&error);
            width.all_ones()
        });
        self.uses.fetch_add(1, Ordering::AcqRel);
        value
    }

    /// A guest's write. Says whether it is the first one: the BARs are [mappable](Self::mappable) from here on.
    pub(crate) fn write(&self, bar: u8, offset: u64, width: Width, value: u64) -> bool {
        if let Err(error) = self.vf.region_write(bar, offset, width, value) {
            self.faults.function(&error);
        }
        self.uses.fetch_add(1, Ordering::AcqRel);
        // Before the mapping, so that no access in between is taken for one that nothing can hide.
        !self.direct.swap(true, Ordering::AcqRel)
    }

    /// The VF's memory BARs, from the guest's first write to the modern interface on: accesses to a
    /// mapped BAR are not seen, so nothing of the device can be known without asking after that. A
    /// guest with a legacy driver never makes that write and keeps its register cache; one with a modern
    /// driver makes it when the driver starts, and runs without exits from there. What is mapped is
    /// the VF's own; a doorbell in the PF's BAR is never the guest's to touch.
    pub(crate) fn mappable(&self, bar: u8) -> Vec<MappableArea> {
        if bar == 0 || !self.is_direct() {
            return Vec::new();
        }
        self.vf.mappable(bar).unwrap_or_else(|error| {
            self.faults.function(&error);
            Vec::new()
        })
    }

    /// Whether the guest wrote to the modern interface. All that there is to save.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Acquire)
    }

    /// Goes on from what was saved. The caller remaps.
    pub(crate) fn set_direct(&self, direct: bool) {
        self.direct.store(direct, Ordering::Release);
    }
}
