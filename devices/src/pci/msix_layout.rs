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
    #[error("MSI-X table or PBA at BAR {bar} offset {offset:#x}: needs a BAR of 0 to 5 and a multiple of 8")]
    Place {
        /// BAR number.
        bar: u8,
        /// Bytes into the BAR.
        offset: u32,
    },
}

/// Which structure an access is for, with the offset into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MsixPart {
    Table(u64),
    Pending(u64),
}

/// Where one of the two structures lies, as a register of the capability says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixPlace {
    /// BAR number.
    pub bar: u8,
    /// Bytes into the BAR.
    pub offset: u32,
}

impl MsixPlace {
    /// From the register: 3 bits of BAR number below the offset.
    pub const fn from_register(register: u32) -> Self {
        Self { bar: (register & 7) as u8, offset: register & !7 }
    }

    fn register(self) -> u32 {
        self.offset | u32::from(self.bar)
    }
}

/// BAR numbers and offsets of table and pending bit array (PBA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixLayout {
    vectors: u16,
    table: MsixPlace,
    pba: MsixPlace,
}

impl MsixLayout {
    /// `vectors` (1..=2048) with table and PBA at given BARs (0..=5) and offsets (multiples of 8).
    pub fn new(vectors: u16, table: MsixPlace, pba: MsixPlace) -> Result<Self, MsixLayoutError> {
        if vectors == 0 || vectors > MSIX_MAX_VECTORS {
            return Err(MsixLayoutError::Vectors(vectors));
        }
        match [table, pba].into_iter().find(|place| place.bar > 5 || !place.offset.is_multiple_of(8)) {
            Some(MsixPlace { bar, offset }) => Err(MsixLayoutError::Place { bar, offset }),
            None => Ok(Self { vectors, table, pba }),
        }
    }

    /// Table and PBA in a BAR of their own: the table at 0, the PBA in the upper half. Give the BAR
    /// [`Self::bar_size`] bytes.
    pub fn in_own_bar(vectors: u16, bar: u8) -> Result<Self, MsixLayoutError> {
        // At most 1 MiB.
        let half = (Self::own_bar_size(vectors) / 2) as u32;
        Self::new(vectors, MsixPlace { bar, offset: 0 }, MsixPlace { bar, offset: half })
    }

    fn own_bar_size(vectors: u16) -> u64 {
        (u64::from(vectors) * MSIX_ENTRY_SIZE * 2).next_power_of_two().max(LEAST_BAR)
    }

    /// Least size of BAR `bar` in bytes, a power of two and at least 4096; `None` if neither
    /// structure is in it.
    pub fn bar_size(&self, bar: u8) -> Option<u64> {
        let table = (self.table.bar == bar).then(|| u64::from(self.table.offset) + self.table_bytes());
        let pba = (self.pba.bar == bar).then(|| u64::from(self.pba.offset) + self.pba_bytes());
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
        body[2..6].copy_from_slice(&self.table.register().to_le_bytes());
        body[6..10].copy_from_slice(&self.pba.register().to_le_bytes());
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
        let inside = |place: MsixPlace, bytes: u64| {
            let offset = offset.checked_sub(u64::from(place.offset))?;
            let end = offset.checked_add(width.bytes() as u64)?;
            (place.bar == bar && end <= bytes).then_some(offset)
        };
        inside(self.table, self.table_bytes())
            .map(MsixPart::Table)
            .or_else(|| inside(self.pba, self.pba_bytes()).map(MsixPart::Pending))
    }
}
