// SPDX-License-Identifier: Apache-2.0
//! What a BIOS leaves behind below 1 MiB besides its tables, for kernels that are booted without one: the BIOS
//! data area, and code where a processor starts after a reset.

use vm_memory::{Address, Bytes, GuestMemoryBackend};

use super::BootError;
use crate::{layout, smbios};

/// Last paragraphs' segment: `F000:x` is 0xF0000 + x.
const SEGMENT: u16 = 0xf000;
/// A PC/AT, in the last byte but one.
const MODEL: u8 = 0xfc;

/// Writes both.
pub(super) fn write<M: GuestMemoryBackend>(mem: &M) -> Result<(), BootError> {
    write_data_area(mem)?;
    mem.write_slice(&reset_code(), layout::RESET_CODE)?;
    mem.write_slice(&reset_vector(), layout::RESET_VECTOR)?;
    Ok(())
}

/// What 2.6 kernels read from the BIOS data area: where base memory ends, and that it ends in an EBDA of
/// 1 KiB (`reserve_ebda_region` and its predecessors).
fn write_data_area<M: GuestMemoryBackend>(mem: &M) -> Result<(), BootError> {
    let ebda = layout::EBDA.raw_value();
    mem.write_obj((ebda >> 4) as u16, layout::BDA_EBDA_SEGMENT)?;
    mem.write_obj((ebda >> 10) as u16, layout::BDA_BASE_MEMORY_KIB)?;
    let size_kib = (layout::BASE_MEMORY_END - ebda) >> 10;
    mem.write_obj(size_kib as u16, layout::EBDA)?;
    Ok(())
}

/// Real-mode code that resets the machine. Kernels with `reboot=bios` go back to real mode and jump to the
/// reset vector; without code there they would run into zeros.
fn reset_code() -> [u8; 9] {
    let [port_low, port_high] = layout::RESET_IO.to_le_bytes();
    [
        0xba,
        port_low,
        port_high, // mov dx, RESET_IO
        0xb0,
        layout::RESET_VALUE, // mov al, RESET_VALUE
        0xee,                // out dx, al
        0xf4,                // hlt
        0xeb,
        0xfd, // jmp to hlt
    ]
}

/// A far jump to it, the BIOS date with a year of two digits, and the model.
fn reset_vector() -> [u8; 16] {
    let offset = (layout::RESET_CODE.raw_value() & 0xffff) as u16;
    let mut vector = [0; 16];
    vector[0] = 0xea;
    vector[1..3].copy_from_slice(&offset.to_le_bytes());
    vector[3..5].copy_from_slice(&SEGMENT.to_le_bytes());
    let (day, year) = smbios::BIOS_DATE.split_at(smbios::BIOS_DATE.len() - 4);
    vector[5..13].copy_from_slice(format!("{day}{}", &year[2..]).as_bytes());
    vector[14] = MODEL;
    vector
}
