// SPDX-License-Identifier: Apache-2.0
//! State of each slot of the admin virtqueue, shared by the threads that wait for completions.
//!
//! A slot goes free, in flight, done, free; or free, in flight, quarantined, free. Only the holder of the ring lock
//! moves a slot to in flight, to quarantined, or on from these two. The thread that waits
//! for a command frees its done slot without the lock.

use std::sync::atomic::{AtomicU64, Ordering};

const FREE: u64 = 0;
const IN_FLIGHT: u64 = 1;
const QUARANTINED: u64 = 2;
/// The used length is in the upper half.
const DONE: u64 = 3;
const KIND: u64 = 0xffff_ffff;

/// The slots of one queue. Slot numbers outside of the table change nothing.
#[derive(Debug)]
pub(super) struct SlotTable {
    states: Box<[AtomicU64]>,
    quarantined: AtomicU64,
}

impl SlotTable {
    /// `count` free slots.
    pub(super) fn new(count: u16) -> Self {
        let states = (0..count).map(|_| AtomicU64::new(FREE)).collect();
        Self { states, quarantined: AtomicU64::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// Slots given up that the device still holds.
    pub(super) fn quarantined(&self) -> u64 {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// A free slot, if there is one.
    pub(super) fn find_free(&self) -> Option<u16> {
        // Acquire: who freed it has read its buffers before.
        (0u16..).zip(&self.states).find(|(_, state)| state.load(Ordering::Acquire) == FREE).map(|(slot, _)| slot)
    }

    fn set(&self, slot: u16, state: u64) {
        if let Some(place) = self.states.get(usize::from(slot)) {
            place.store(state, Ordering::Release);
        }
    }

    /// The slot goes to the device.
    pub(super) fn start(&self, slot: u16) {
        self.set(slot, IN_FLIGHT);
    }

    /// The used length, once the device has returned the slot.
    pub(super) fn done(&self, slot: u16) -> Option<u32> {
        let state = self.states.get(usize::from(slot))?.load(Ordering::Acquire);
        (state & KIND == DONE).then_some((state >> 32) as u32)
    }

    /// The slot's reply has been taken.
    pub(super) fn free(&self, slot: u16) {
        self.set(slot, FREE);
    }

    /// Nobody waits for the slot any more, and the device holds it.
    pub(super) fn quarantine(&self, slot: u16) {
        self.set(slot, QUARANTINED);
        self.quarantined.fetch_add(1, Ordering::Relaxed);
    }

    /// The device returned the slot. True if it was quarantined and is free now.
    pub(super) fn returned(&self, slot: u16, used: u32) -> bool {
        let Some(place) = self.states.get(usize::from(slot)) else { return false };
        let quarantined = place.load(Ordering::Relaxed) == QUARANTINED;
        if quarantined {
            place.store(FREE, Ordering::Release);
            self.quarantined.fetch_sub(1, Ordering::Relaxed);
        } else {
            place.store(DONE | u64::from(used) << 32, Ordering::Release);
        }
        quarantined
    }
}
