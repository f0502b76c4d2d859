// SPDX-License-Identifier: Apache-2.0
//! The memory a function may reach by DMA: what an IOMMU is to hardware. Nothing else of this module
//! tree touches memory that the driver named.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use vm_memory::{GuestMemoryMmap, GuestMemoryRegion};

use crate::function::DmaRegion;

/// All mapped regions at one moment. Addresses are IOVAs.
pub(super) type Memory = GuestMemoryMmap<()>;

/// The mappings of one function. Readers take a snapshot. It is made when somebody needs it after a change: behind
/// an IOMMU mappings come and go by the thousand, page by page, and a snapshot is as much work as there are pages.
#[derive(Default)]
pub(super) struct DmaSpace {
    /// By address; they do not overlap.
    regions: Mutex<BTreeMap<u64, DmaRegion>>,
    /// What is mapped now, or `None` after a change. Changed with `regions` locked.
    snapshot: ArcSwapOption<Memory>,
}

impl DmaSpace {
    fn regions(&self) -> MutexGuard<'_, BTreeMap<u64, DmaRegion>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mappings now.
    pub(super) fn load(&self) -> Arc<Memory> {
        if let Some(memory) = self.snapshot.load_full() {
            return memory;
        }
        let regions = self.regions();
        // They are in order and do not overlap, so this fails for an empty list and nothing else.
        let memory = Memory::from_arc_regions(regions.values().cloned().collect()).unwrap_or_default();
        let memory = Arc::new(memory);
        self.snapshot.store(Some(memory.clone()));
        memory
    }

    /// Adds a region; `false` if it overlaps one that is mapped.
    pub(super) fn map(&self, region: &DmaRegion) -> bool {
        let mut regions = self.regions();
        let (start, last) = (region.start_addr().0, region.last_addr().0);
        let below = regions.range(..=last).next_back();
        if below.is_some_and(|(_, below)| below.last_addr().0 >= start) {
            return false;
        }
        regions.insert(start, region.clone());
        self.snapshot.store(None);
        true
    }

    /// Removes the region that starts at `iova`; `false` if there is none. A reader may still hold
    /// an older snapshot: the caller waits for it.
    pub(super) fn unmap(&self, iova: u64) -> bool {
        let mut regions = self.regions();
        let removed = regions.remove(&iova).is_some();
        if removed {
            self.snapshot.store(None);
        }
        removed
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
