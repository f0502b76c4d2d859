// SPDX-License-Identifier: Apache-2.0
//! Set-up of one split virtqueue, by three addresses (modern) or by page number (legacy).

use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::memory::Memory;

pub(super) use crate::spec::virtio::NO_VECTOR;

/// Page size and ring alignment of the legacy interface (virtio 1.3, 2.7.2).
const LEGACY_PAGE_SHIFT: u32 = 12;
const LEGACY_ALIGN: u64 = 4096;

/// Who set a queue up; each interface's rules for starting apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// Not set up.
    Disabled,
    /// By `queue_enable`.
    Modern,
    /// By a page number.
    Legacy,
}

/// Addresses of the three parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub desc: u64,
    pub driver: u64,
    pub device: u64,
}

/// One queue.
pub(super) struct VirtQueue {
    max_size: u16,
    /// Size the driver chose (modern), or the maximum.
    pub size: u16,
    /// Modern ring addresses as written.
    pub addresses: Addresses,
    /// MSI-X vector, or [`NO_VECTOR`].
    pub vector: u16,
    setup: Setup,
    pfn: u32,
    /// The driver broke the ring; nothing more is done with it until it is set up again.
    pub broken: bool,
    /// The ring, with its positions.
    pub ring: Queue,
    /// The mappings in which all three parts were found, by their generation; 0 is in none.
    mapped_in: u64,
}

impl VirtQueue {
    /// A queue of at most `max_size` entries, a power of two.
    pub(super) fn new(max_size: u16) -> Result<Self, virtio_queue::Error> {
        Ok(Self {
            max_size,
            size: max_size,
            addresses: Addresses::default(),
            vector: NO_VECTOR,
            setup: Setup::Disabled,
            pfn: 0,
            broken: false,
            ring: Queue::new(max_size)?,
            mapped_in: 0,
        })
    }

    /// As after power-on.
    pub(super) fn reset(&mut self) {
        self.disable();
        self.size = self.max_size;
        self.addresses = Addresses::default();
        self.vector = NO_VECTOR;
    }

    fn disable(&mut self) {
        self.setup = Setup::Disabled;
        self.pfn = 0;
        self.broken = false;
        self.ring.reset();
    }

    /// Most entries, and the size of the legacy interface.
    pub(super) fn max_size(&self) -> u16 {
        self.max_size
    }

    /// Who set it up.
    pub(super) fn setup(&self) -> Setup {
        self.setup
    }

    /// Page number as written, 0 if not set up that way.
    pub(super) fn pfn(&self) -> u32 {
        self.pfn
    }

    /// `queue_size`: smaller powers of two are taken, anything else is not.
    pub(super) fn set_size(&mut self, size: u16) {
        if self.setup == Setup::Disabled && size.is_power_of_two() && size <= self.max_size {
            self.size = size;
        }
    }

    /// `queue_enable`.
    pub(super) fn enable(&mut self) {
        if self.setup == Setup::Disabled {
            self.start(Setup::Modern, self.size, self.addresses);
        }
    }

    /// Legacy queue address: 0 disables, anything else sets the ring up there, from its beginning.
    pub(super) fn set_pfn(&mut self, pfn: u32) {
        self.disable();
        if pfn == 0 {
            return;
        }
        self.start(Setup::Legacy, self.max_size, legacy_layout(pfn, self.max_size));
        self.pfn = pfn;
    }

    fn start(&mut self, setup: Setup, size: u16, at: Addresses) {
        self.ring.reset();
        self.mapped_in = 0;
        let set = self
            .ring
            .try_set_size(size)
            .and_then(|()| self.ring.try_set_desc_table_address(GuestAddress(at.desc)))
            .and_then(|()| self.ring.try_set_avail_ring_address(GuestAddress(at.driver)))
            .and_then(|()| self.ring.try_set_used_ring_address(GuestAddress(at.device)));
        self.ring.set_ready(true);
        self.broken = set.is_err();
        self.setup = setup;
    }

    /// Whether all three parts lie in `memory`.
    pub(super) fn is_mapped(&mut self, memory: &Memory) -> bool {
        if self.mapped_in == memory.generation() && self.mapped_in != 0 {
            return true;
        }
        let mapped = self.parts_are_in(memory);
        self.mapped_in = if mapped { memory.generation() } else { 0 };
        mapped
    }

    fn parts_are_in(&self, memory: &Memory) -> bool {
        let size = usize::from(self.ring.size());
        let inside = |address: u64, len: usize| GuestMemoryBackend::check_range(memory, GuestAddress(address), len);
        inside(self.ring.desc_table(), 16 * size)
            && inside(self.ring.avail_ring(), 6 + 2 * size)
            && inside(self.ring.used_ring(), 6 + 8 * size)
    }
}

/// Where the three parts are in the legacy layout (virtio 1.3, 2.7.2). Cannot overflow: a page number
/// has 32 bits, so addresses stay below 2^44 and a few pages.
pub(super) fn legacy_layout(pfn: u32, size: u16) -> Addresses {
    let (desc, size) = (u64::from(pfn) << LEGACY_PAGE_SHIFT, u64::from(size));
    let driver = desc + 16 * size;
    let device = (driver + 6 + 2 * size).next_multiple_of(LEGACY_ALIGN);
    Addresses { desc, driver, device }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
