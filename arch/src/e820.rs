// SPDX-License-Identifier: Apache-2.0
//! The memory map as the firmware call INT 15h, E820h would give it. Pure.

use std::ops::Range;

use crate::layout;

/// Usable RAM.
pub const RAM: u32 = 1;
/// Not to be used by the kernel.
pub const RESERVED: u32 = 2;

/// One entry; end = `start + size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// [`RAM`] or [`RESERVED`].
    pub kind: u32,
}

/// The map of a machine with this RAM, ascending from 0. 0xA0000-0xDFFFF
/// is in no entry, as on a PC: it is neither usable nor firmware's.
pub fn map(ram: &[Range<u64>]) -> Vec<E820Entry> {
    let entry = |start: u64, end: u64, kind| E820Entry { start, size: end.saturating_sub(start), kind };
    let mut map = vec![
        entry(0, layout::EBDA.0, RAM),
        entry(layout::EBDA.0, layout::BASE_MEMORY_END, RESERVED),
        entry(layout::ACPI_TABLES.0, layout::HIGH_MEMORY, RESERVED),
    ];
    let (low, high): (Vec<_>, Vec<_>) = ram.iter().partition(|r| r.start < layout::HIGH_RAM);
    map.extend(low.iter().map(|r| entry(r.start.max(layout::HIGH_MEMORY), r.end, RAM)));
    // The pages that KVM uses inside guest-physical space, and the firmware above them.
    map.push(entry(layout::KVM_IDENTITY_MAP, layout::HIGH_RAM, RESERVED));
    map.extend(high.iter().map(|r| entry(r.start, r.end, RAM)));
    map.retain(|e| e.size > 0);
    map
}

/// What firmware is told: RAM as whole ranges, and the pages that KVM uses. It reserves what it uses itself, its flash
/// chip among it, and leaves the ISA hole out.
pub fn for_firmware(ram: &[Range<u64>]) -> Vec<E820Entry> {
    let kvm = E820Entry { start: layout::KVM_IDENTITY_MAP, size: 4 * layout::PAGE_SIZE, kind: RESERVED };
    let ram = ram.iter().map(|r| E820Entry { start: r.start, size: r.end.saturating_sub(r.start), kind: RAM });
    ram.chain([kvm]).collect()
}

impl E820Entry {
    /// As INT 15h, E820h gives it, and as firmware is given it: address, size and kind, 20 bytes.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.start.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..].copy_from_slice(&self.kind.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
#[path = "e820_tests.rs"]
mod tests;
