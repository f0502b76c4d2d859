// SPDX-License-Identifier: Apache-2.0
//! Memory that a PF reaches by DMA for its admin virtqueue: one region with the three parts of a
//! split virtqueue and the buffers of every slot. It knows where things are, and no protocol.
//!
//! The PF can write all of it at any time. Nothing read from it is trusted, and no reference into it
//! exists: accesses are volatile or atomic copies.

use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};

use super::wire::{HEADER_LEN, MAX_DATA, MAX_RESULT, REPLY_LEN};
use crate::function::DmaRegion;
use crate::function::shared::shared_region;

/// Commands that can be in flight at once.
pub(super) const MAX_SLOTS: u16 = 64;
/// Descriptors in use: a readable and a writable one for each slot.
pub(super) const MAX_RING: u16 = 2 * MAX_SLOTS;

/// Where the region starts in the PF's DMA address space: above 32-bit addresses, so that it meets
/// neither the MSI window nor firmware-reserved ranges, and low enough for a 39-bit IOMMU.
const IOVA: u64 = 1 << 32;
const PAGE: u64 = 4096;

pub(super) const DESCRIPTORS: u64 = 0;
pub(super) const AVAIL: u64 = DESCRIPTORS + 16 * MAX_RING as u64;
// The used ring and the slots start pages of their own: the driver writes before, the device after.
pub(super) const USED: u64 = PAGE;
const SLOTS: u64 = 2 * PAGE;
const READABLE: u64 = 128;
const SLOT: u64 = READABLE + 256;
const LEN: u64 = (SLOTS + SLOT * MAX_SLOTS as u64).next_multiple_of(PAGE);

const _: () = assert!(AVAIL + 6 + 2 * MAX_RING as u64 <= USED);
const _: () = assert!(USED + 6 + 8 * MAX_RING as u64 <= SLOTS);
const _: () = assert!(HEADER_LEN + MAX_DATA <= READABLE as usize);
const _: () = assert!(REPLY_LEN + MAX_RESULT <= (SLOT - READABLE) as usize);

/// The region's memory refused an access: an offset outside of it, a defect of this driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutsideRegion;

impl From<vm_memory::GuestMemoryError> for OutsideRegion {
    fn from(_: vm_memory::GuestMemoryError) -> Self {
        Self
    }
}

/// The DMA region of one admin virtqueue.
#[derive(Clone, Debug)]
pub(super) struct AdminMemory {
    region: DmaRegion,
}

impl AdminMemory {
    /// Fresh zeroed memory. It is shared: the PF may be served by another process.
    pub(super) fn allocate() -> Result<Self, vm_memory::mmap::FromRangesError> {
        Ok(Self { region: shared_region(IOVA, LEN as usize)? })
    }

    /// The region to map for the function.
    pub(super) fn region(&self) -> &DmaRegion {
        &self.region
    }

    /// DMA address of `offset`.
    pub(super) fn iova(&self, offset: u64) -> u64 {
        self.region.start_addr().0.wrapping_add(offset)
    }

    /// Offset of the device-readable buffer of `slot`.
    pub(super) fn readable(slot: u16) -> u64 {
        SLOTS + SLOT * u64::from(slot)
    }

    /// Offset of the device-writable buffer of `slot`.
    pub(super) fn writable(slot: u16) -> u64 {
        Self::readable(slot) + READABLE
    }

    /// Copies `bytes` in.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), OutsideRegion> {
        Ok(self.region.write_slice(bytes, MemoryRegionAddress(offset))?)
    }

    /// Copies `bytes.len()` bytes out.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), OutsideRegion> {
        Ok(self.region.read_slice(bytes, MemoryRegionAddress(offset))?)
    }

    /// Loads a 32-bit little-endian word.
    pub(super) fn load(&self, offset: u64) -> Result<u32, OutsideRegion> {
        let order = std::sync::atomic::Ordering::Relaxed;
        Ok(u32::from_le(self.region.load(MemoryRegionAddress(offset), order)?))
    }

    /// Stores a 16-bit little-endian word after everything stored before.
    pub(super) fn store_release(&self, offset: u64, value: u16) -> Result<(), OutsideRegion> {
        let order = std::sync::atomic::Ordering::Release;
        Ok(self.region.store(value.to_le(), MemoryRegionAddress(offset), order)?)
    }

    /// Loads a 16-bit little-endian word before everything loaded after.
    pub(super) fn load_acquire(&self, offset: u64) -> Result<u16, OutsideRegion> {
        let order = std::sync::atomic::Ordering::Acquire;
        Ok(u16::from_le(self.region.load(MemoryRegionAddress(offset), order)?))
    }
}
