// SPDX-License-Identifier: Apache-2.0
//! Where a function's MSI-X table and pending bit array lie, and its MSI-X capability. Pure.

use thiserror::Error;

use crate::bus::Width;

/// Most vectors a function can have (PCI 3.0, 6.8.2.3).
pub const MSIX_MAX_VECTORS: u16 = 2048;
/// Bytes of one table entry: address low and high, data, vector control.
pub(super) const MSIX_ENTRY_SIZE: u64 = 16;
/// Smallest BAR made for a table, so that a guest can map it as a page of its own.
const LEAST_BAR: u64 = 4096;

/// Why a layout cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MsixLayoutError {
    /// Number of vectors out of range.
    #[error("a function cannot have {0} MSI-X vectors; use 1 to 2048")]
    Vectors(u16),
    /// BAR number or offset that the capability cannot express.
    #[error(
        "MSI-X table or PBA at BAR {bar} offset {offset:#x}: needs a BAR of 0 to 5 and a multiple of 8 below 4 GiB"
    )]
    Place {
        /// BAR number.
        bar: u8,
        /// Bytes into the BAR.
        offset: u64,
    },
}

/// Which structure an access is for, with the offset into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MsixPart {
    Table(u64),
    Pending(u64),
}

/// BAR numbers and offsets of table and pending bit array (PBA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixLayout {
    vectors: u16,
    table: (u8, u32),
    pba: (u8, u32),
}

impl MsixLayout {
    /// `vectors` (1..=2048) with table and PBA at given BARs (0..=5) and offsets (multiples of 8).
    pub fn new(vectors: u16, table: (u8, u64), pba: (u8, u64)) -> Result<Self, MsixLayoutError> {
        if vectors == 0 || vectors > MSIX_MAX_VECTORS {
            return Err(MsixLayoutError::Vectors(vectors));
        }
        let place = |(bar, offset): (u8, u64)| match u32::try_from(offset) {
            Ok(low) if bar < 6 && low.is_multiple_of(8) => Ok((bar, low)),
            _ => Err(MsixLayoutError::Place { bar, offset }),
        };
        Ok(Self { vectors, table: place(table)?, pba: place(pba)? })
    }

    /// Table and PBA in a BAR of their own: the table at 0, the PBA in the upper half. Give the BAR
    /// [`Self::bar_size`] bytes.
    pub fn in_own_bar(vectors: u16, bar: u8) -> Result<Self, MsixLayoutError> {
        Self::new(vectors, (bar, 0), (bar, Self::own_bar_size(vectors) / 2))
    }

    fn own_bar_size(vectors: u16) -> u64 {
        (u64::from(vectors) * MSIX_ENTRY_SIZE * 2).next_power_of_two().max(LEAST_BAR)
    }

    /// Least size of BAR `bar` in bytes, a power of two and at least 4096; `None` if neither
    /// structure is in it.
    pub fn bar_size(&self, bar: u8) -> Option<u64> {
        let table = (self.table.0 == bar).then(|| u64::from(self.table.1) + self.table_bytes());
        let pba = (self.pba.0 == bar).then(|| u64::from(self.pba.1) + self.pba_bytes());
        Some(table.max(pba)?.next_power_of_two().max(LEAST_BAR))
    }

    /// Number of vectors.
    pub const fn vectors(&self) -> u16 {
        self.vectors
    }

    /// Body and write mask of the capability, for
    /// [`ConfigSpace::add_capability`](super::ConfigSpace::add_capability): message control with
    /// enable and function mask writable, table place, PBA place.
    pub fn capability(&self) -> ([u8; 10], [u8; 2]) {
        let mut body = [0; 10];
        body[0..2].copy_from_slice(&(self.vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&(self.table.1 | u32::from(self.table.0)).to_le_bytes());
        body[6..10].copy_from_slice(&(self.pba.1 | u32::from(self.pba.0)).to_le_bytes());
        (body, [0, 0xc0])
    }

    fn table_bytes(&self) -> u64 {
        u64::from(self.vectors) * MSIX_ENTRY_SIZE
    }

    fn pba_bytes(&self) -> u64 {
        u64::from(self.vectors.div_ceil(64)) * 8
    }

    /// What an access to `bar` that starts at `offset` is for, if for one of the two at all.
    pub(super) fn part(&self, bar: u8, offset: u64, width: Width) -> Option<MsixPart> {
        let inside = |place: (u8, u32), bytes: u64| {
            let offset = offset.checked_sub(u64::from(place.1))?;
            let end = offset.checked_add(width.bytes() as u64)?;
            (place.0 == bar && end <= bytes).then_some(offset)
        };
        inside(self.table, self.table_bytes())
            .map(MsixPart::Table)
            .or_else(|| inside(self.pba, self.pba_bytes()).map(MsixPart::Pending))
    }
}
