// SPDX-License-Identifier: Apache-2.0
//! The memory a function may reach by DMA: what an IOMMU is to hardware. Nothing else of this module
//! tree touches memory that the driver named.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::function::DmaRegion;

/// All mapped regions at one moment. Addresses are IOVAs.
pub(super) type Memory = GuestMemoryMmap<()>;

/// The mappings of one function. Readers take a snapshot and hold no lock.
#[derive(Default)]
pub(super) struct DmaSpace {
    mapped: ArcSwap<Memory>,
    /// Held while the snapshot is replaced.
    changing: Mutex<()>,
}

impl DmaSpace {
    /// The mappings now.
    pub(super) fn load(&self) -> Guard<Arc<Memory>> {
        self.mapped.load()
    }

    /// Adds a region; `false` if it overlaps one that is mapped.
    pub(super) fn map(&self, region: &DmaRegion) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.mapped.load().insert_region(region.clone()) {
            Ok(memory) => {
                self.mapped.store(Arc::new(memory));
                true
            }
            Err(_) => false,
        }
    }

    /// Removes the region that starts at `iova`; `false` if there is none. A reader may still hold
    /// an older snapshot: the caller waits for it.
    pub(super) fn unmap(&self, iova: u64) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = self.mapped.load();
        let Some((start, len)) = memory.iter().map(|r| (r.start_addr(), r.len())).find(|(start, _)| start.0 == iova)
        else {
            return false;
        };
        match memory.remove_region(start, len) {
            Ok((rest, _)) => {
                self.mapped.store(Arc::new(rest));
                true
            }
            Err(_) => false,
        }
    }
}
