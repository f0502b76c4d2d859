// SPDX-License-Identifier: Apache-2.0
//! What the guest wrote into the legacy registers since the last reset, as far as the VMM has to
//! know it: to filter kicks, to restore interrupt vectors, and to answer for a dead device; and with
//! it, what of the device's registers is [known](Known). Pure.

use super::identity::DeviceType;
use super::known::Known;
use super::queue_set::MAX_QUEUES;

/// Status bit: a driver is there.
pub const STATUS_DRIVER: u8 = 0x02;
/// Status bit: the driver is ready.
pub const STATUS_DRIVER_OK: u8 = 0x04;
/// FEATURES_OK and DEVICE_NEEDS_RESET: not part of legacy, never forwarded. Hardware built for the
/// modern interface might act on them.
pub const STATUS_MODERN: u8 = 0x08 | 0x40;
/// "No vector" in a vector register.
pub const NO_VECTOR: u16 = 0xffff;

/// One queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Page number the guest wrote; 0 is "not set up".
    pub pfn: u32,
    /// Entries, once read; constant for a device, so a reset keeps it. 0 is "no such queue".
    pub size: Option<u16>,
    /// Whether the VMM gave the queue a vector of its own choice.
    pub has_hidden_vector: bool,
}

/// The shadow of one function.
#[derive(Debug)]
pub struct Shadow {
    /// Last status written, without the bits that are never forwarded.
    pub status: u8,
    /// Last queue index written.
    pub queue_select: u16,
    /// Whether the device surely has that queue selected. A reset does not say which one it selects,
    /// and queue address 0 and the modern interface may reset.
    pub select_is_sure: bool,
    /// Driver features, merged from writes of any width.
    pub driver_features: u32,
    /// Features the device offers minus hidden ones, once read. Constant: a reset keeps them.
    pub offered: Option<u32>,
    /// Halves of a queue address that came as two 2-byte writes, until both are there.
    pub pfn_halves: [Option<u16>; 2],
    /// Registers that a read of the guest needs no command for.
    pub known: Known,
    /// The device was reset and no driver wrote its status since, by either interface: it is 0.
    pub status_is_zero: bool,
    /// The device said that the reset which [`Self::reset`] is about has ended.
    reset_confirmed: bool,
    queues: Box<[Queue]>,
}

impl Shadow {
    /// The state after a reset of a `device`. With `answers` off, reads of the guest always go to it.
    pub fn new(answers: bool, device: DeviceType) -> Self {
        Self {
            status: 0,
            queue_select: 0,
            select_is_sure: false,
            driver_features: 0,
            offered: None,
            pfn_halves: [None; 2],
            known: Known::new(answers, device),
            status_is_zero: false,
            reset_confirmed: false,
            queues: vec![Queue::default(); usize::from(MAX_QUEUES)].into_boxed_slice(),
        }
    }

    /// To be called before each access: forgets what may have become wrong since the last one.
    /// `modern_uses` counts accesses to the modern interface.
    pub fn begin_access(&mut self, faulted: bool, modern_uses: u64) {
        if self.known.begin_access(faulted, modern_uses) {
            self.select_is_sure = false;
            self.status_is_zero &= faulted;
        }
    }

    /// The device said how many entries the selected queue has.
    pub fn size_read(&mut self, size: u16) {
        if self.select_is_sure
            && let Some(queue) = self.selected()
        {
            queue.size = Some(size);
        }
    }

    /// The queue that is selected; `None` if the guest selected one past [`MAX_QUEUES`].
    pub fn selected(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(usize::from(self.queue_select))
    }

    /// Indices and states of all queues.
    pub fn queues(&self) -> impl Iterator<Item = (u16, &Queue)> {
        (0..MAX_QUEUES).zip(self.queues.iter())
    }

    /// The device's status read as 0 after a 0 was written: [`Self::reset`] follows.
    pub fn confirm_reset(&mut self) {
        self.reset_confirmed = true;
    }

    /// Forgets all that a device reset forgets.
    pub fn reset(&mut self) {
        let confirmed = std::mem::take(&mut self.reset_confirmed);
        self.known.reset(confirmed);
        self.status = 0;
        self.status_is_zero = true;
        self.queue_select = 0;
        self.select_is_sure = false;
        self.driver_features = 0;
        self.pfn_halves = [None; 2];
        for queue in &mut self.queues {
            *queue = Queue { size: queue.size, ..Queue::default() };
        }
    }

    /// Takes `value`, a part of `bytes` bytes of the driver features from byte `skip` on, and returns
    /// the whole. Bytes past the register's end are dropped.
    pub fn merge_driver_features(&mut self, skip: u8, bytes: usize, value: u32) -> u32 {
        let ones = if bytes >= 4 { u32::MAX } else { (1 << (8 * bytes)) - 1 };
        let shift = 8 * u32::from(skip.min(3));
        self.driver_features = self.driver_features & !(ones << shift) | (value & ones) << shift;
        self.driver_features
    }

    /// Takes half a queue address, 0 the low one; returns the whole when both halves are there.
    pub fn merge_pfn_half(&mut self, half: usize, value: u16) -> Option<u32> {
        *self.pfn_halves.get_mut(half)? = Some(value);
        let [Some(low), Some(high)] = self.pfn_halves else { return None };
        self.pfn_halves = [None; 2];
        Some(u32::from(high) << 16 | u32::from(low))
    }
}

#[cfg(test)]
#[path = "shadow_tests.rs"]
mod tests;
