// SPDX-License-Identifier: Apache-2.0
//! The structures themselves (DSP0134 2.8, chapter 7): field after field, each with the value of a machine
//! that has nothing to say there. Pure.

use std::ops::Range;

use super::Identity;
use super::structure::Structure;

const VENDOR: &str = "Heirloom";
/// Day of the BIOS, as SeaBIOS gives its own. 32-bit kernels switch ACPI off if the year is missing or before
/// 2001 (`acpi_blacklisted`), and take PCI windows from `_CRS` from 2008 on (`pci_use_crs`).
pub(crate) const BIOS_DATE: &str = "04/01/2014";

const MEMORY_ARRAY: u16 = 0x1000;
const NO_HANDLE: u16 = 0xffff;
/// Errors of memory are not reported.
const NO_ERROR_HANDLE: u16 = 0xfffe;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Type 0.
pub(super) fn bios() -> Vec<u8> {
    /// Paragraph where the BIOS begins.
    const SEGMENT: u16 = 0xf000;
    const CHARACTERISTICS_NOT_SUPPORTED: u64 = 1 << 3;
    const ACPI: u8 = 1 << 0;
    const VIRTUAL_MACHINE: u8 = 1 << 4;
    Structure::new(0, 0)
        .text(VENDOR)
        .text(env!("CARGO_PKG_VERSION"))
        .word(SEGMENT)
        .text(BIOS_DATE)
        .bytes(&[0]) // ROM of 64 KiB
        .qword(CHARACTERISTICS_NOT_SUPPORTED)
        .bytes(&[ACPI, VIRTUAL_MACHINE])
        .bytes(&[0xff; 4]) // releases of BIOS and embedded controller: none
        .finish()
}

/// Type 1.
pub(super) fn system(identity: &Identity) -> Vec<u8> {
    const POWER_SWITCH: u8 = 6;
    Structure::new(1, 0x100)
        .text(&identity.vendor)
        .text(&identity.product)
        .text(&identity.version)
        .text(&identity.serial)
        .bytes(&encode(identity.uuid.unwrap_or_default()))
        .bytes(&[POWER_SWITCH, 0, 0]) // no SKU, no family
        .finish()
}

/// A UUID as tables have it since 2.6: the first three fields in little-endian order (7.2.1).
fn encode(mut uuid: [u8; 16]) -> [u8; 16] {
    uuid[..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    uuid
}

/// Type 3.
pub(super) fn chassis(identity: &Identity) -> Vec<u8> {
    const OTHER: u8 = 1;
    const SAFE: u8 = 3;
    const UNKNOWN: u8 = 2;
    Structure::new(3, 0x300)
        .text(&identity.vendor)
        .bytes(&[OTHER])
        .text(&identity.version)
        .text(&identity.serial)
        .text("") // asset tag
        .bytes(&[SAFE, SAFE, SAFE, UNKNOWN]) // boot-up, power supply, thermal; security
        .dword(0)
        .bytes(&[0; 5]) // height, power cords; no contained elements; no SKU
        .finish()
}

/// Type 4. Each processor is a package of one core and one thread, as CPUID says.
pub(super) fn processor(index: u8) -> Vec<u8> {
    const CENTRAL: u8 = 3;
    const UNKNOWN: u8 = 2;
    const POPULATED_ENABLED: u8 = 1 << 6 | 1;
    const OTHER_UPGRADE: u8 = 1;
    const CAPABLE_64_BIT: u16 = 1 << 2;
    Structure::new(4, 0x400 + u16::from(index))
        .text(&format!("CPU {index}"))
        .bytes(&[CENTRAL, UNKNOWN])
        .text("")
        .qword(0) // CPUID tells more
        .text("")
        .bytes(&[0]) // voltage
        .word(0) // clocks: unknown
        .word(0)
        .word(0)
        .bytes(&[POPULATED_ENABLED, OTHER_UPGRADE])
        .word(NO_HANDLE) // caches
        .word(NO_HANDLE)
        .word(NO_HANDLE)
        .bytes(&[0; 3]) // serial number, asset tag, part number
        .bytes(&[1; 3]) // cores, enabled cores, threads
        .word(CAPABLE_64_BIT)
        .word(UNKNOWN.into())
        .finish()
}

/// Type 16: all of the memory.
pub(super) fn memory_array(size: u64) -> Vec<u8> {
    const SYSTEM_BOARD: u8 = 3;
    const SYSTEM_MEMORY: u8 = 3;
    const NO_ERROR_CORRECTION: u8 = 3;
    const SEE_EXTENDED: u32 = 0x8000_0000;
    // 2 TiB and more stand in the extended field (7.17).
    let (kib, bytes) = match u32::try_from(size / KIB) {
        Ok(kib) if kib < SEE_EXTENDED => (kib, 0),
        _ => (SEE_EXTENDED, size),
    };
    Structure::new(16, MEMORY_ARRAY)
        .bytes(&[SYSTEM_BOARD, SYSTEM_MEMORY, NO_ERROR_CORRECTION])
        .dword(kib)
        .word(NO_ERROR_HANDLE)
        .word(1) // memory device
        .qword(bytes)
        .finish()
}

/// Type 17: one module of all the memory.
pub(super) fn memory_device(size: u64) -> Vec<u8> {
    const DIMM: u8 = 9;
    const RAM: u8 = 7;
    const OTHER: u16 = 1 << 1;
    const SEE_EXTENDED: u16 = 0x7fff;
    let mib = size / MIB;
    // In MiB with 15 bits, else in the extended field with 31 (7.18.4).
    let (short, extended) = match u16::try_from(mib) {
        Ok(short) if short < SEE_EXTENDED => (short, 0),
        _ => (SEE_EXTENDED, u32::try_from(mib).unwrap_or(u32::MAX) & 0x7fff_ffff),
    };
    Structure::new(17, 0x1100)
        .word(MEMORY_ARRAY)
        .word(NO_ERROR_HANDLE)
        .word(0xffff) // widths: unknown
        .word(0xffff)
        .word(short)
        .bytes(&[DIMM, 0])
        .text("DIMM 0")
        .text("")
        .bytes(&[RAM])
        .word(OTHER)
        .word(0) // speed
        .bytes(&[0; 5]) // manufacturer, serial number, asset tag, part number; rank
        .dword(extended)
        .bytes(&[0; 8]) // speed, voltages
        .finish()
}

/// Type 19: where RAM is.
pub(super) fn mapped_range(index: u16, &Range { start, end }: &Range<u64>) -> Vec<u8> {
    const SEE_EXTENDED: u32 = u32::MAX;
    let (first, last) = (start / KIB, (end / KIB).saturating_sub(1));
    let structure = Structure::new(19, 0x1300 + index);
    match (u32::try_from(first), u32::try_from(last)) {
        (Ok(first), Ok(last)) if last < SEE_EXTENDED => {
            structure.dword(first).dword(last).word(MEMORY_ARRAY).bytes(&[1]).qword(0).qword(0)
        }
        _ => structure
            .dword(SEE_EXTENDED)
            .dword(SEE_EXTENDED)
            .word(MEMORY_ARRAY)
            .bytes(&[1])
            .qword(start)
            .qword(end.saturating_sub(1)),
    }
    .finish()
}

/// Type 32: no errors at boot.
pub(super) fn boot_status() -> Vec<u8> {
    Structure::new(32, 0x2000).bytes(&[0; 7]).finish()
}

/// Type 127: the end.
pub(super) fn end() -> Vec<u8> {
    Structure::new(127, 0x7f00).finish()
}
