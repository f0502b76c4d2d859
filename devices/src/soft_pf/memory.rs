// SPDX-License-Identifier: Apache-2.0
//! The memory a function may reach by DMA: what an IOMMU is to hardware. Nothing else of this module
//! tree touches memory that the driver named.
//!
//! A driver behind an IOMMU maps pages one by one, tens of thousands of them. So regions are kept sorted
//! in chunks: a change copies one chunk and the list of chunks, not everything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap, VolatileSlice};

use crate::function::DmaRegion;

/// A chunk that would get longer is split.
const CHUNK: usize = 256;
/// So many regions are looked at one by one: a guest's memory, or an admin queue's.
const FEW: usize = 4;

fn next_generation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// All mapped regions at one moment. Addresses are IOVAs.
#[derive(Clone, Default)]
pub(super) struct Memory {
    /// Sorted, none empty, each sorted.
    chunks: Vec<Arc<Vec<Mapped>>>,
    /// No two that differ have the same.
    generation: u64,
}

/// A region, and where it is: a search need not look into regions.
#[derive(Clone)]
struct Mapped {
    first: u64,
    last: u64,
    region: DmaRegion,
}

impl Mapped {
    fn new(region: &DmaRegion) -> Self {
        Self { first: region.start_addr().0, last: region.last_addr().0, region: region.clone() }
    }
}

impl Memory {
    /// One region.
    #[cfg(test)]
    pub(super) fn of(region: &DmaRegion) -> Self {
        Self { chunks: vec![Arc::new(vec![Mapped::new(region)])], generation: next_generation() }
    }

    /// Which mappings these are: what was found in them holds for as long as this is the same.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The chunk that has, or would have, the region in which `address` is.
    fn chunk_of(&self, address: u64) -> usize {
        let starts_before = |chunk: &Arc<Vec<Mapped>>| chunk.first().is_some_and(|mapped| mapped.first <= address);
        self.chunks.partition_point(starts_before).saturating_sub(1)
    }

    /// The region with the highest start that is not above `address`.
    #[inline]
    fn at_or_below(&self, address: u64) -> Option<&Mapped> {
        let chunk = match self.chunks.as_slice() {
            [only] => only,
            chunks => chunks.get(self.chunk_of(address))?,
        };
        if chunk.len() <= FEW {
            return chunk.iter().rev().find(|mapped| mapped.first <= address);
        }
        let index = chunk.partition_point(|mapped| mapped.first <= address).checked_sub(1)?;
        chunk.get(index)
    }

    /// Adds the memory of `len` bytes from `address` to `slices`, in as many pieces as it takes; `false` if not all of
    /// it is mapped.
    pub(super) fn slices<'a>(&'a self, address: GuestAddress, len: usize, slices: &mut Vec<VolatileSlice<'a>>) -> bool {
        let (mut at, mut left) = (address, len);
        while left > 0 {
            let Some(region) = self.find_region(at) else { return false };
            let Some(offset) = region.to_region_addr(at) else { return false };
            // Both below 2^64, and the region has `offset`.
            let there = left.min(usize::try_from(region.len() - offset.0).unwrap_or(usize::MAX));
            let Ok(slice) = region.get_slice(offset, there) else { return false };
            slices.push(slice);
            left -= there;
            let Some(next) = at.checked_add(there as u64) else { return left == 0 };
            at = next;
        }
        true
    }

    /// With `region`; `None` if it overlaps another.
    fn with(&self, region: &DmaRegion) -> Option<Self> {
        let (first, last) = (region.start_addr().0, region.last_addr().0);
        // The highest region that begins in or before the new one is the one that could overlap.
        if self.at_or_below(last).is_some_and(|below| below.last >= first) {
            return None;
        }
        let mut all = self.changing();
        let index = self.chunk_of(first);
        let Some(chunk) = all.chunks.get_mut(index) else {
            all.chunks.push(Arc::new(vec![Mapped::new(region)]));
            return Some(all);
        };
        let changed = Arc::make_mut(chunk);
        changed.insert(changed.partition_point(|mapped| mapped.first < first), Mapped::new(region));
        if changed.len() > CHUNK {
            // Maps mostly come in ascending order: leave chunks behind full rather than half full.
            let at = if index + 1 == self.chunks.len() { CHUNK } else { CHUNK / 2 };
            let tail = changed.split_off(at);
            all.chunks.insert(index + 1, Arc::new(tail));
        }
        Some(all)
    }

    /// A copy that is to be changed.
    fn changing(&self) -> Self {
        Self { chunks: self.chunks.clone(), generation: next_generation() }
    }

    /// Without the region that starts at `iova`; `None` if there is none.
    fn without(&self, iova: u64) -> Option<Self> {
        let mut all = self.changing();
        let index = self.chunk_of(iova);
        let chunk = Arc::make_mut(all.chunks.get_mut(index)?);
        let at = chunk.binary_search_by_key(&iova, |mapped| mapped.first).ok()?;
        chunk.remove(at);
        if chunk.is_empty() {
            all.chunks.remove(index);
        }
        Some(all)
    }
}

impl GuestMemoryBackend for Memory {
    type R = GuestRegionMmap<()>;

    fn num_regions(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    fn find_region(&self, addr: GuestAddress) -> Option<&Self::R> {
        self.at_or_below(addr.0).filter(|mapped| mapped.last >= addr.0).map(|mapped| mapped.region.as_ref())
    }

    fn iter(&self) -> impl Iterator<Item = &Self::R> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|mapped| mapped.region.as_ref())
    }
}

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

    /// As [`Self::load`], for longer.
    pub(super) fn load_full(&self) -> Arc<Memory> {
        self.mapped.load_full()
    }

    /// Adds a region; `false` if it overlaps one that is mapped.
    pub(super) fn map(&self, region: &DmaRegion) -> bool {
        self.change(|memory| memory.with(region))
    }

    /// Removes the region that starts at `iova`, and returns its last address; `None` if there is none. A reader may
    /// still hold an older snapshot: the caller waits for it.
    pub(super) fn unmap(&self, iova: u64) -> Option<u64> {
        let mut last = None;
        let found = self.change(|memory| {
            last = memory.find_region(GuestAddress(iova)).map(|region| region.last_addr().0);
            memory.without(iova)
        });
        last.filter(|_| found)
    }

    fn change(&self, change: impl FnOnce(&Memory) -> Option<Memory>) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&self.mapped.load());
        let done = changed.is_some();
        if let Some(memory) = changed {
            self.mapped.store(Arc::new(memory));
        }
        done
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
