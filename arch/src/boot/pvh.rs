// SPDX-License-Identifier: Apache-2.0
//! `hvm_start_info`, which the PVH entry hands to the kernel (xen/include/public/arch-x86/hvm/start_info.h).

use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend};

use super::{BootError, Initrd};
use crate::e820::E820Entry;
use crate::layout;

const MAGIC: u32 = 0x336e_c578;
/// Version 1 has the memory map.
const VERSION: u32 = 1;

/// Writes the start info, the memory map and, if there is an initrd, the module list.
pub(super) fn write<M: GuestMemoryBackend>(
    mem: &M,
    initrd: Option<Initrd>,
    e820: &[E820Entry],
    rsdp: Option<GuestAddress>,
) -> Result<(), BootError> {
    let mut info = hvm_start_info {
        magic: MAGIC,
        version: VERSION,
        cmdline_paddr: layout::CMDLINE.raw_value(),
        rsdp_paddr: rsdp.map_or(0, |address| address.raw_value()),
        memmap_paddr: layout::PVH_MEMORY_MAP.raw_value(),
        memmap_entries: e820.len() as u32,
        ..Default::default()
    };
    let mut at = layout::PVH_MEMORY_MAP;
    for entry in e820 {
        let slot = hvm_memmap_table_entry { addr: entry.start, size: entry.size, type_: entry.kind, reserved: 0 };
        mem.write_obj(slot, at)?;
        at = at.unchecked_add(size_of::<hvm_memmap_table_entry>() as u64);
    }
    if let Some(Initrd { start, size }) = initrd {
        let module = hvm_modlist_entry { paddr: start.into(), size: size.into(), ..Default::default() };
        mem.write_obj(module, layout::PVH_MODULES)?;
        info.nr_modules = 1;
        info.modlist_paddr = layout::PVH_MODULES.raw_value();
    }
    mem.write_obj(info, layout::PVH_START_INFO)?;
    Ok(())
}
