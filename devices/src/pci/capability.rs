// SPDX-License-Identifier: Apache-2.0
//! Where the next capability goes, and the ids the machine uses. Pure.

use super::register_file::CONFIG_SPACE_SIZE;

/// Capability ids (PCI Code and ID Assignment Specification).
pub mod id {
    /// Power management.
    pub const POWER_MANAGEMENT: u8 = 0x01;
    /// Vital product data.
    pub const VITAL_PRODUCT_DATA: u8 = 0x03;
    /// Slot identification, of bridges.
    pub const SLOT: u8 = 0x04;
    /// MSI.
    pub const MSI: u8 = 0x05;
    /// CompactPCI hot swap.
    pub const HOT_SWAP: u8 = 0x06;
    /// Hot plug, of bridges.
    pub const HOT_PLUG: u8 = 0x0c;
    /// Advanced features: a reset for functions without PCI Express.
    pub const ADVANCED_FEATURES: u8 = 0x13;
    /// Enhanced allocation: BARs at fixed addresses.
    pub const ENHANCED_ALLOCATION: u8 = 0x14;
    /// Vendor-specific; virtio uses it.
    pub const VENDOR: u8 = 0x09;
    /// PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
    /// Extended capability: SR-IOV.
    pub const EXTENDED_SRIOV: u16 = 0x0010;
}

/// Offset of the capabilities pointer, the link before the list.
const POINTER: u16 = 0x34;
const LIST_START: u16 = 0x40;
const LIST_END: u16 = 0x100;

/// Where an item goes, and which link must point at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset of the item's header.
    pub offset: u16,
    /// Offset of the byte (or, in extended space, of the header) that has to point at it. `None`
    /// for an extended capability at 0x100, which is found without a link.
    pub link: Option<u16>,
}

/// Fills one of the two capability areas from its start. Items are 4-byte aligned.
#[derive(Clone, Debug)]
pub(super) struct Allocator {
    next: u16,
    end: u16,
    link: Option<u16>,
    link_in_header: u16,
}

impl Allocator {
    /// The list at 0x40..0x100, linked by single bytes.
    pub(super) const fn standard() -> Self {
        Self { next: LIST_START, end: LIST_END, link: Some(POINTER), link_in_header: 1 }
    }

    /// The list at 0x100..0x1000, linked by the upper 12 bits of each header.
    pub(super) const fn extended() -> Self {
        Self { next: LIST_END, end: CONFIG_SPACE_SIZE as u16, link: None, link_in_header: 0 }
    }

    /// Takes `bytes` bytes, header included; `None` if they do not fit.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Place> {
        let end = u16::try_from(bytes).ok()?.checked_add(self.next)?.checked_next_multiple_of(4)?;
        if end > self.end {
            return None;
        }
        let place = Place { offset: self.next, link: self.link };
        self.link = Some(place.offset + self.link_in_header);
        self.next = end;
        Some(place)
    }

    /// Bytes left.
    pub(super) const fn left(&self) -> u16 {
        self.end - self.next
    }
}
