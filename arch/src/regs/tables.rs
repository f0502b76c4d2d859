// SPDX-License-Identifier: Apache-2.0
//! GDT and page tables in guest memory for a kernel's first instructions.

use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError};

use crate::layout;

/// `__BOOT_CS`.
pub(crate) const BOOT_CS: u16 = 0x10;
/// `__BOOT_DS`.
pub(crate) const BOOT_DS: u16 = 0x18;
/// Task state segment, which no kernel uses.
pub(crate) const BOOT_TSS: u16 = 0x20;
/// A 32-bit TSS has 104 bytes.
pub(crate) const TSS_LIMIT: u32 = 0x67;
const ENTRIES: usize = 5;
/// Last byte of the GDT.
pub(crate) const GDT_LIMIT: u16 = (ENTRIES * 8 - 1) as u16;

/// Access byte in bits 0-7, G/D/L flags in bits 12-15 (Intel SDM vol. 3A, 3.4.5).
const CODE_64: u16 = 0xa09b;
const CODE_32: u16 = 0xc09b;
const DATA: u16 = 0xc093;
const TSS: u16 = 0x008b;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE_PAGE: u64 = 1 << 7;
const TABLE_ENTRIES: u64 = 512;
const LARGE_PAGE_SIZE: u64 = 2 << 20;
/// Identity-mapped: all a loader can use, and all a kernel finds its parameters in.
const MAPPED_GIB: u64 = 4;

/// Segment descriptor with base 0.
const fn descriptor(flags: u16, limit: u32) -> u64 {
    (flags as u64 & 0xf0ff) << 40 | (limit as u64 & 0xf_0000) << 32 | limit as u64 & 0xffff
}

/// Writes the GDT. Kernels before 2.6.24 reload their segment registers from it before they have their own.
pub(crate) fn write_gdt<M: GuestMemoryBackend>(mem: &M, long: bool) -> Result<(), GuestMemoryError> {
    let code = if long { CODE_64 } else { CODE_32 };
    let gdt: [u64; ENTRIES] =
        [0, 0, descriptor(code, 0xf_ffff), descriptor(DATA, 0xf_ffff), descriptor(TSS, TSS_LIMIT)];
    let mut at = layout::GDT;
    for entry in gdt {
        mem.write_obj(entry, at)?;
        at = at.unchecked_add(8);
    }
    Ok(())
}

/// Writes page tables that map the low 4 GiB onto themselves in 2 MiB pages.
pub(crate) fn write_page_tables<M: GuestMemoryBackend>(mem: &M) -> Result<(), GuestMemoryError> {
    let page = |n: u64| layout::PAGE_TABLES.raw_value() + n * layout::PAGE_SIZE;
    let (pml4, pdpt, directories) = (page(0), page(1), page(2));
    let mut table = [0u64; TABLE_ENTRIES as usize];

    table[0] = pdpt | PRESENT | WRITABLE;
    write_table(mem, pml4, &table)?;
    for gib in 0..MAPPED_GIB {
        table[gib as usize] = (directories + gib * layout::PAGE_SIZE) | PRESENT | WRITABLE;
    }
    write_table(mem, pdpt, &table)?;
    for gib in 0..MAPPED_GIB {
        for (i, slot) in (0u64..).zip(table.iter_mut()) {
            *slot = ((gib * TABLE_ENTRIES + i) * LARGE_PAGE_SIZE) | PRESENT | WRITABLE | LARGE_PAGE;
        }
        write_table(mem, directories + gib * layout::PAGE_SIZE, &table)?;
    }
    Ok(())
}

fn write_table<M: GuestMemoryBackend>(mem: &M, at: u64, table: &[u64]) -> Result<(), GuestMemoryError> {
    let bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    mem.write_slice(&bytes, GuestAddress(at))
}
