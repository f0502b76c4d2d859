// SPDX-License-Identifier: Apache-2.0
//! ACPI tables of a PC without power management beyond off, reset and a timer: full hardware model (not
//! hardware-reduced, which kernels before 3.4 do not know), always in ACPI mode (no SMI command port).
//!
//! Old kernels are the measure: RSDP with an RSDT for ACPI 1.0 kernels beside the XSDT, an FADT of ACPI
//! 2.0/3.0 length, a MADT of revision 1, AML with 32-bit integers. All tables lie in the BIOS range
//! 0xE0000-0xEFFFF, where kernels find the RSDP without help from the boot protocol.

mod dsdt;
mod fadt;
mod loader;
mod madt;

use acpi_tables::sdt::Sdt;
use thiserror::Error;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError};

use crate::irq::{self, PciInterrupt, WiringError};
use crate::layout;
pub use loader::{File, files};

const OEM_ID: [u8; 6] = *b"HEIRLM";
const OEM_TABLE_ID: [u8; 8] = *b"HEIRLOOM";
const OEM_REVISION: u32 = 1;
const HEADER_LEN: u32 = 36;
/// RSDP of revision 2.
const RSDP_LEN: usize = 36;
/// Checksum of the RSDP's ACPI 1.0 part is over this many bytes.
const RSDP_V1_LEN: usize = 20;

/// Why there are no ACPI tables.
#[derive(Debug, Error)]
pub enum AcpiError {
    /// A machine of no processors.
    #[error("a machine needs at least one processor")]
    NoProcessor,
    /// Bad PCI wiring.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// More than the BIOS range holds.
    #[error("ACPI tables of {0} bytes do not fit into {room}", room = layout::ACPI_ROOM)]
    TooBig(usize),
    /// No RAM at 0xE0000.
    #[error("cannot write the ACPI tables")]
    Memory(#[from] GuestMemoryError),
}

/// What the tables describe.
#[derive(Clone, Copy, Debug)]
pub struct Board<'a> {
    /// Number of processors; the APIC id of processor n is n.
    pub cpus: u8,
    /// Interrupts of PCI functions.
    pub pci: &'a [PciInterrupt],
    /// There is a VGA: without one, kernels are told not to look for it.
    pub has_vga: bool,
    /// There is the device by which firmware is told of the machine: systems can read it, too.
    pub has_fw_cfg: bool,
}

/// Writes all tables at [`layout::ACPI_TABLES`]; returns the address of the RSDP.
///
/// # Errors
/// When the board cannot be described, or there is no memory.
pub fn write<M: GuestMemoryBackend>(mem: &M, board: &Board<'_>) -> Result<GuestAddress, AcpiError> {
    let image = build(board)?;
    if image.len() > layout::ACPI_ROOM {
        return Err(AcpiError::TooBig(image.len()));
    }
    mem.write_slice(&image, layout::ACPI_TABLES)?;
    Ok(layout::ACPI_TABLES)
}

/// RSDP and tables, one after the other from [`layout::ACPI_TABLES`] on.
fn build(board: &Board<'_>) -> Result<Vec<u8>, AcpiError> {
    const RSDP_ROOM: usize = RSDP_LEN.next_multiple_of(fadt::FACS_ALIGNMENT);
    let tables = tables(layout::ACPI_TABLES.raw_value() as u32 + RSDP_ROOM as u32, board)?;
    let mut image = rsdp(tables.rsdt, tables.xsdt).to_vec();
    image.resize(RSDP_ROOM, 0);
    image.extend_from_slice(&tables.image.bytes);
    Ok(image)
}

/// All tables but the RSDP, and where the two roots are.
struct Tables {
    image: Image,
    rsdt: u32,
    xsdt: u32,
}

/// The tables for a place at `base`, which is a multiple of [`fadt::FACS_ALIGNMENT`].
fn tables(base: u32, board: &Board<'_>) -> Result<Tables, AcpiError> {
    if board.cpus == 0 {
        return Err(AcpiError::NoProcessor);
    }
    let mut image = Image { base, ..Image::default() };
    let facs = image.append(&fadt::facs(), fadt::FACS_ALIGNMENT);
    let dsdt = image.append_table(&dsdt::build(&irq::checked(board.pci)?, board.has_fw_cfg), &[]);
    let fadt = image.append_table(&fadt::build(facs, dsdt, board.has_vga), &fadt::POINTERS);
    let madt = image.append_table(&madt::build(board.cpus), &[]);

    let (mut rsdt, mut xsdt) = (table(*b"RSDT", HEADER_LEN, 1), table(*b"XSDT", HEADER_LEN, 1));
    for address in [fadt, madt] {
        rsdt.append_slice(&address.to_le_bytes());
        xsdt.append_slice(&u64::from(address).to_le_bytes());
    }
    const FIRST: usize = HEADER_LEN as usize;
    let rsdt = image.append_table(rsdt.as_slice(), &[(FIRST, 4), (FIRST + 4, 4)]);
    let xsdt = image.append_table(xsdt.as_slice(), &[(FIRST, 8), (FIRST + 8, 8)]);
    Ok(Tables { image, rsdt, xsdt })
}

/// A table with this crate's OEM fields; `length` bytes, zero after the header.
fn table(signature: [u8; 4], length: u32, revision: u8) -> Sdt {
    Sdt::new(signature, length, revision, OEM_ID, OEM_TABLE_ID, OEM_REVISION)
}

/// Root pointer with both the 32-bit and the 64-bit table (`acpi_tables` leaves out the former).
fn rsdp(rsdt: u32, xsdt: u32) -> [u8; RSDP_LEN] {
    const REVISION: u8 = 2;
    let mut rsdp = [0; RSDP_LEN];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(&OEM_ID);
    rsdp[15] = REVISION;
    rsdp[16..20].copy_from_slice(&rsdt.to_le_bytes());
    rsdp[20..24].copy_from_slice(&(RSDP_LEN as u32).to_le_bytes());
    rsdp[24..32].copy_from_slice(&u64::from(xsdt).to_le_bytes());
    rsdp[8] = checksum(&rsdp[..RSDP_V1_LEN]);
    rsdp[32] = checksum(&rsdp);
    rsdp
}

/// The byte that makes the sum 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// Tables one after the other, and what depends on where they are.
#[derive(Default)]
struct Image {
    /// Guest address of the first byte.
    base: u32,
    bytes: Vec<u8>,
    /// Where addresses of other tables are, as offsets in `bytes`, and how many bytes each has.
    pointers: Vec<(usize, u8)>,
    /// Tables with a checksum: offset and length.
    checked: Vec<(usize, usize)>,
}

impl Image {
    /// Appends at a multiple of `alignment`; returns the guest address.
    fn append(&mut self, bytes: &[u8], alignment: usize) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
        let address = self.base + self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        address
    }

    /// Appends a table with the usual header. `pointers` are the offsets in it of addresses of other tables, and their
    /// sizes.
    fn append_table(&mut self, bytes: &[u8], pointers: &[(usize, u8)]) -> u32 {
        let address = self.append(bytes, 16);
        let start = self.bytes.len() - bytes.len();
        self.pointers.extend(pointers.iter().map(|&(offset, size)| (start + offset, size)));
        self.checked.push((start, bytes.len()));
        address
    }
}

#[cfg(test)]
#[path = "acpi_tests.rs"]
mod tests;
