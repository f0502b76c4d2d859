// SPDX-License-Identifier: Apache-2.0
//! Where the next capability goes. Pure.

use crate::spec::pci::{CAPABILITIES_POINTER, CONFIG_SPACE_SIZE, HEADER_END};

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
        Self { next: HEADER_END, end: LIST_END, link: Some(CAPABILITIES_POINTER), link_in_header: 1 }
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
