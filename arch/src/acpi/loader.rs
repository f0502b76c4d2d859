// SPDX-License-Identifier: Apache-2.0
//! The same tables for firmware that chooses their place itself: files without addresses, and the commands that put
//! them in. Pure. Source: QEMU's docs/specs and SeaBIOS's src/fw/romfile_loader.h.

use super::{AcpiError, Board, HEADER_LEN, RSDP_LEN, RSDP_V1_LEN, Tables, rsdp, tables};
use crate::acpi::fadt::FACS_ALIGNMENT;

const TABLES: &str = "etc/acpi/tables";
const RSDP: &str = "etc/acpi/rsdp";
const LOADER: &str = "etc/table-loader";

/// Bytes of a command, and of a file's name in it.
const COMMAND_LEN: usize = 128;
const NAME_LEN: usize = 56;

/// Command codes.
const ALLOCATE: u32 = 1;
const ADD_POINTER: u32 = 2;
const ADD_CHECKSUM: u32 = 3;

/// Where firmware puts a file.
const ZONE_HIGH: u8 = 1;
/// 0xf0000-0xfffff, where kernels look for the RSDP.
const ZONE_F_SEGMENT: u8 = 2;

/// Offset of the checksum in a table's header.
const CHECKSUM: usize = 9;
/// Offsets in the RSDP.
const RSDP_CHECKSUM: usize = 8;
const RSDP_RSDT: usize = 16;
const RSDP_XSDT: usize = 24;
const RSDP_EXTENDED_CHECKSUM: usize = 32;

/// A file for firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The tables, the RSDP and the commands. Addresses in the first two are offsets in the tables.
///
/// # Errors
/// As [`super::write`].
pub fn files(board: &Board<'_>) -> Result<[File; 3], AcpiError> {
    let Tables { image, rsdt, xsdt } = tables(0, board)?;
    let mut script = Script::default();
    script.allocate(TABLES, FACS_ALIGNMENT as u32, ZONE_HIGH);
    script.allocate(RSDP, 16, ZONE_F_SEGMENT);
    for &(offset, size) in &image.pointers {
        script.add_pointer(TABLES, offset, size);
    }
    for &(start, length) in &image.checked {
        script.add_checksum(TABLES, start + CHECKSUM, start, length);
    }
    script.add_pointer(RSDP, RSDP_RSDT, 4);
    script.add_pointer(RSDP, RSDP_XSDT, 8);
    script.add_checksum(RSDP, RSDP_CHECKSUM, 0, RSDP_V1_LEN);
    script.add_checksum(RSDP, RSDP_EXTENDED_CHECKSUM, 0, RSDP_LEN);
    debug_assert!(image.checked.iter().all(|&(_, length)| length >= HEADER_LEN as usize));
    Ok([
        File { name: TABLES, content: image.bytes },
        File { name: RSDP, content: rsdp(rsdt, xsdt).to_vec() },
        File { name: LOADER, content: script.0 },
    ])
}

/// Commands, little-endian, in the order in which firmware carries them out.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    fn command(&mut self, code: u32, parts: &[&[u8]]) {
        let end = self.0.len() + COMMAND_LEN;
        self.0.extend_from_slice(&code.to_le_bytes());
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
        self.0.resize(end, 0);
    }

    /// Makes room for a file and loads it.
    fn allocate(&mut self, file: &str, alignment: u32, zone: u8) {
        self.command(ALLOCATE, &[&name(file), &alignment.to_le_bytes(), &[zone]]);
    }

    /// Adds the address of the tables to what is at `offset` of `file`.
    fn add_pointer(&mut self, file: &str, offset: usize, size: u8) {
        self.command(ADD_POINTER, &[&name(file), &name(TABLES), &(offset as u32).to_le_bytes(), &[size]]);
    }

    /// Makes the `length` bytes from `start` on add up to 0 by the byte at `offset`.
    fn add_checksum(&mut self, file: &str, offset: usize, start: usize, length: usize) {
        let numbers = [offset, start, length].map(|number| (number as u32).to_le_bytes());
        self.command(ADD_CHECKSUM, &[&name(file), &numbers.concat()]);
    }
}

fn name(file: &str) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    for (to, from) in name.iter_mut().zip(file.bytes()) {
        *to = from;
    }
    name
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
