// SPDX-License-Identifier: Apache-2.0
//! SMBIOS tables (DMTF DSP0134, version 2.8): who made this machine, its serial number and UUID, processors
//! and memory. Kernels read them for the BIOS date and to know machines that need workarounds; programs read
//! the identity, and licences of old appliances hang on it.
//!
//! [`build`] is pure; [`write`] puts the result where a kernel that is booted directly finds it, and firmware
//! gets the same bytes as [`Tables::anchor`] and [`Tables::structures`]. There is only a 2.x entry point:
//! the tables lie below 1 MiB and have less than 64 KiB, and every kernel that knows the 3.0 entry point takes
//! the other one where that is missing.

mod structure;
mod types;

use std::ops::Range;

use thiserror::Error;
use vm_memory::{Address, Bytes, GuestMemoryBackend, GuestMemoryError};

pub(crate) use types::BIOS_DATE;

use crate::layout;

/// Length of a 2.x entry point.
pub const ANCHOR_LEN: usize = 31;
/// Older kernels look for this part of it only.
const INTERMEDIATE: usize = 16;
const VERSION: [u8; 2] = [2, 8];
/// Longest text of an [`Identity`]; specifications before 2.3 have no room for more.
pub const MAX_TEXT: usize = 64;
/// Structures follow the entry point on the next 16-byte boundary.
const STRUCTURES_AT: u64 = 32;

/// What the machine says of itself (types 1 and 3). Empty texts are "not specified".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Manufacturer.
    pub vendor: String,
    /// Product name.
    pub product: String,
    /// Version of the product.
    pub version: String,
    /// Serial number, of system and chassis.
    pub serial: String,
    /// UUID in the order of its text; `None` is "not present".
    pub uuid: Option<[u8; 16]>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            vendor: "Heirloom".to_owned(),
            product: "Heirloom VM".to_owned(),
            version: String::new(),
            serial: String::new(),
            uuid: None,
        }
    }
}

impl Identity {
    /// Whether the texts can stand in a table, and kernels print them unchanged.
    ///
    /// # Errors
    /// The first text that is too long or is not printable ASCII.
    pub fn check(&self) -> Result<(), SmbiosError> {
        let texts = [
            ("vendor", &self.vendor),
            ("product", &self.product),
            ("version", &self.version),
            ("serial", &self.serial),
        ];
        for (field, text) in texts {
            if text.len() > MAX_TEXT || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                return Err(SmbiosError::Text { field });
            }
        }
        Ok(())
    }
}

/// Why there are no SMBIOS tables.
#[derive(Debug, Error)]
pub enum SmbiosError {
    /// A text that old readers would cut or mangle.
    #[error("the {field} of the machine must be printable ASCII of at most {MAX_TEXT} characters")]
    Text {
        /// Which one.
        field: &'static str,
    },
    /// More than the BIOS range holds.
    #[error("SMBIOS tables of {0} bytes do not fit into {room}", room = layout::SMBIOS_ROOM)]
    TooBig(usize),
    /// No RAM at 0xF8000.
    #[error("cannot write the SMBIOS tables")]
    Memory(#[from] GuestMemoryError),
}

/// Structures without their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    bytes: Vec<u8>,
    count: u16,
    largest: u16,
}

impl Tables {
    /// All structures, one after the other; the last is of type 127.
    pub fn structures(&self) -> &[u8] {
        &self.bytes
    }

    /// The 2.x entry point for structures at `address`. Firmware that moves them puts its own address in.
    pub fn anchor(&self, address: u32) -> [u8; ANCHOR_LEN] {
        let mut anchor = [0; ANCHOR_LEN];
        let mut put = |at: usize, bytes: &[u8]| anchor[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"_SM_");
        put(5, &[ANCHOR_LEN as u8]);
        put(6, &VERSION);
        put(8, &self.largest.to_le_bytes());
        put(INTERMEDIATE, b"_DMI_");
        // `build` has made sure that it fits.
        put(22, &(self.bytes.len() as u16).to_le_bytes());
        put(24, &address.to_le_bytes());
        put(28, &self.count.to_le_bytes());
        put(30, &[VERSION[0] << 4 | VERSION[1]]);
        anchor[21] = checksum(&anchor[INTERMEDIATE..]);
        anchor[4] = checksum(&anchor);
        anchor
    }
}

/// The byte that makes the sum 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// The tables of a machine with `cpus` processors, each a package of its own, and this RAM as ascending
/// `(start, end)`.
///
/// # Errors
/// A text of `identity`, or more processors and ranges than there is room for.
pub fn build(identity: &Identity, cpus: u8, ram: &[Range<u64>]) -> Result<Tables, SmbiosError> {
    identity.check()?;
    let size = ram.iter().fold(0u64, |sum, r| sum.saturating_add(r.end.saturating_sub(r.start)));
    let mut structures = vec![types::bios(), types::system(identity), types::chassis(identity)];
    structures.extend((0..cpus).map(types::processor));
    structures.extend([types::memory_array(size), types::memory_device(size)]);
    structures.extend((0..).zip(ram).map(|(index, range)| types::mapped_range(index, range)));
    structures.extend([types::boot_status(), types::end()]);

    let count = structures.len();
    let largest = structures.iter().map(Vec::len).max().unwrap_or(0);
    let bytes = structures.concat();
    if bytes.len() + STRUCTURES_AT as usize > layout::SMBIOS_ROOM {
        return Err(SmbiosError::TooBig(bytes.len()));
    }
    // Both are smaller than the whole, which has less than 32 KiB.
    Ok(Tables { count: count as u16, largest: largest as u16, bytes })
}

/// Builds the tables for the RAM of `mem` and writes entry point and structures to [`layout::SMBIOS`].
///
/// # Errors
/// As [`build`], or no RAM there.
pub fn write<M: GuestMemoryBackend>(mem: &M, identity: &Identity, cpus: u8) -> Result<(), SmbiosError> {
    let tables = build(identity, cpus, &layout::ram_of(mem))?;
    let structures = layout::SMBIOS.unchecked_add(STRUCTURES_AT);
    mem.write_slice(&tables.anchor(structures.raw_value() as u32), layout::SMBIOS)?;
    mem.write_slice(tables.structures(), structures)?;
    Ok(())
}

#[cfg(test)]
#[path = "smbios_tests.rs"]
mod tests;
