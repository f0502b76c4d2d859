// SPDX-License-Identifier: Apache-2.0
//! The driver's side of one split virtqueue (virtio 1.4, "Split Virtqueues") whose buffers are all
//! alike: slot `n` is descriptor `2n`, device-readable, chained to `2n + 1`, device-writable.
//!
//! Two descriptors are the shortest chain an admin command can have, so this works from a queue size
//! of 2 on. Everything the device writes here is untrusted; the driver keeps its own copy of what it
//! offered and reads back nothing but the used ring, each entry once.

use super::dma::{AVAIL, AdminMemory, DESCRIPTORS, MAX_RING, OutsideRegion, USED};

const DESC_F_NEXT: u16 = 1;
const DESC_F_WRITE: u16 = 2;
const AVAIL_F_NO_INTERRUPT: u16 = 1;

/// How the device broke the rules of the virtqueue. The queue cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RingFault {
    /// used.idx moved further than there are buffers outstanding.
    UsedIndex,
    /// A used element names a descriptor that never is the head of a chain.
    UsedId,
    /// A used element names a chain that is not outstanding.
    NotOutstanding,
    /// The driver itself left its memory.
    Memory,
}

impl RingFault {
    /// What to tell an operator.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::UsedIndex => "the device returned more buffers than it was given; reset the PF",
            Self::UsedId => "the device returned a descriptor that is not the head of a chain; reset the PF",
            Self::NotOutstanding => "the device returned a buffer that it does not hold; reset the PF",
            Self::Memory => "the driver left its DMA memory; report this as a defect",
        }
    }
}

impl From<OutsideRegion> for RingFault {
    fn from(_: OutsideRegion) -> Self {
        Self::Memory
    }
}

/// Driver state of the virtqueue.
#[derive(Debug)]
pub(super) struct SplitRing {
    memory: AdminMemory,
    size: u16,
    next_avail: u16,
    next_used: u16,
    /// Bit `n`: the device holds slot `n`.
    outstanding: u64,
    /// Lengths of the buffers of each slot, as its descriptors say now: the rest of them never changes.
    described: Box<[Option<(usize, usize)>]>,
}

impl SplitRing {
    /// A ring of `size` descriptors over zeroed memory; `None` unless `size` is a power of two in
    /// 2..=[`MAX_RING`]. Completions are polled for, so the device is told not to interrupt.
    pub(super) fn new(memory: AdminMemory, size: u16) -> Option<Self> {
        if !size.is_power_of_two() || !(2..=MAX_RING).contains(&size) {
            return None;
        }
        memory.store_release(AVAIL, AVAIL_F_NO_INTERRUPT).ok()?;
        let described = (0..size / 2).map(|_| None).collect();
        Some(Self { memory, size, next_avail: 0, next_used: 0, outstanding: 0, described })
    }

    /// Number of slots: half the descriptors.
    pub(super) fn slots(&self) -> u16 {
        self.size / 2
    }

    /// Whether the device holds any slot.
    pub(super) fn is_idle(&self) -> bool {
        self.outstanding == 0
    }

    /// Gives `slot` to the device. Its buffers are written already; `readable` and `writable` are
    /// their lengths in bytes. The caller rings the doorbell.
    pub(super) fn publish(&mut self, slot: u16, readable: usize, writable: usize) -> Result<(), RingFault> {
        if slot >= self.slots() || self.outstanding >> slot & 1 == 1 {
            return Err(RingFault::Memory);
        }
        let head = 2 * slot;
        let described = self.described.get(usize::from(slot)).ok_or(RingFault::Memory)?;
        if *described != Some((readable, writable)) {
            self.describe(head, AdminMemory::readable(slot), readable, DESC_F_NEXT)?;
            self.describe(head + 1, AdminMemory::writable(slot), writable, DESC_F_WRITE)?;
            self.described[usize::from(slot)] = Some((readable, writable));
        }
        let entry = AVAIL + 4 + 2 * u64::from(self.next_avail % self.size);
        self.memory.store_release(entry, head)?;
        self.next_avail = self.next_avail.wrapping_add(1);
        self.outstanding |= 1 << slot;
        // The device may read the chain as soon as it sees this index.
        self.memory.store_release(AVAIL + 2, self.next_avail)?;
        Ok(())
    }

    fn describe(&self, index: u16, buffer: u64, len: usize, flags: u16) -> Result<(), RingFault> {
        let len = u32::try_from(len).map_err(|_| RingFault::Memory)?;
        let next = if flags & DESC_F_NEXT != 0 { index + 1 } else { 0 };
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&self.memory.iova(buffer).to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..16].copy_from_slice(&next.to_le_bytes());
        Ok(self.memory.write(DESCRIPTORS + 16 * u64::from(index), &bytes)?)
    }

    /// Takes back what the device returned: calls `returned(slot, used length)` for each, at most as
    /// often as slots are outstanding.
    pub(super) fn reap(&mut self, mut returned: impl FnMut(u16, u32)) -> Result<(), RingFault> {
        let index = self.memory.load_acquire(USED + 2)?;
        let count = index.wrapping_sub(self.next_used);
        if u32::from(count) > self.outstanding.count_ones() {
            return Err(RingFault::UsedIndex);
        }
        for _ in 0..count {
            let at = USED + 4 + 8 * u64::from(self.next_used % self.size);
            let (id, len) = (self.memory.load(at)?, self.memory.load(at + 4)?);
            self.next_used = self.next_used.wrapping_add(1);
            let slot = self.take_back(id)?;
            returned(slot, len);
        }
        Ok(())
    }

    fn take_back(&mut self, head: u32) -> Result<u16, RingFault> {
        let head = u16::try_from(head).map_err(|_| RingFault::UsedId)?;
        if head % 2 != 0 || head >= self.size {
            return Err(RingFault::UsedId);
        }
        let slot = head / 2;
        if self.outstanding >> slot & 1 == 0 {
            return Err(RingFault::NotOutstanding);
        }
        self.outstanding &= !(1 << slot);
        Ok(slot)
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
