// SPDX-License-Identifier: Apache-2.0
//! `struct boot_params`, which the 64-bit and the 32-bit boot protocol hand to the kernel.

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, screen_info};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend};

use super::{BootError, Initrd, Kernel};
use crate::e820::E820Entry;
use crate::layout;

/// `type_of_loader`: a loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;
/// At 0x90020, where kernels before protocol 2.02 look for it; behind it the offset of the command line from
/// 0x90000 (boot.rst, "The kernel command line").
const OLD_CMDLINE_MAGIC: u16 = 0xa33f;
/// Without this the kernel loads its own segments, which works with every version.
const KEEP_SEGMENTS: u8 = 1 << 6;

/// What the machine has that a kernel is told of here.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub initrd: Option<Initrd>,
    pub e820: &'a [E820Entry],
    pub rsdp: Option<GuestAddress>,
    /// End of RAM before the PCI hole.
    pub low_end: u64,
    pub has_vga: bool,
}

/// Writes the zero page to [`layout::ZERO_PAGE`].
pub(super) fn write<M: GuestMemoryBackend>(mem: &M, kernel: &Kernel, given: &Given<'_>) -> Result<(), BootError> {
    let mut params = build(kernel, given);
    set_memory_sizes(&mut params, given.low_end);
    mem.write_obj(params, layout::ZERO_PAGE)?;
    Ok(())
}

fn build(kernel: &Kernel, given: &Given<'_>) -> boot_params {
    let Given { initrd, e820, rsdp, has_vga, .. } = *given;
    let mut params = boot_params { hdr: kernel.header, ..Default::default() };
    let header = &mut params.hdr;
    header.type_of_loader = LOADER_UNDEFINED;
    header.loadflags &= !KEEP_SEGMENTS;
    if let Some(Initrd { start, size }) = initrd {
        header.ramdisk_image = start;
        header.ramdisk_size = size;
    }
    let version = header.version;
    if version >= 0x202 {
        header.cmd_line_ptr = layout::CMDLINE.raw_value() as u32;
    } else {
        params.screen_info.cl_magic = OLD_CMDLINE_MAGIC;
        params.screen_info.cl_offset = (layout::CMDLINE.raw_value() - layout::ZERO_PAGE.raw_value()) as u16;
    }
    if version >= 0x20e {
        params.acpi_rsdp_addr = rsdp.map_or(0, |address| address.raw_value());
    }
    if version < 0x206 {
        // The setup code of these kernels answers here whether there is a PS/2 mouse, over the magic number's
        // upper byte, and 0xAA means that there is one (AUX_DEVICE_INFO).
        header.boot_flag &= 0xff;
    }
    if has_vga || version < 0x208 {
        set_text_screen(&mut params.screen_info);
    }
    let table = &mut params.e820_table;
    let entries = e820.len().min(table.len());
    for (slot, entry) in table.iter_mut().zip(e820) {
        *slot = boot_e820_entry { addr: entry.start, size: entry.size, r#type: entry.kind };
    }
    // The table has 128 slots; kernels before 2.6.18 read 32, more than `e820::map` makes. What a BIOS might
    // have left besides stays zero and so is absent: APM, EDD, the PS/2 mouse, the table of a PS/2's parts.
    params.e820_entries = entries as u8;
    params
}

/// The answers of the firmware calls INT 15h, E801h and 88h: KiB from 1 MiB to the end of RAM before the
/// PCI hole. Decompressors before 2.6.20 (i386) and 2.6.22 (x86-64) refuse to run with less than 3 MiB in
/// both of them ("Less than 4MB of memory", `arch/i386/boot/compressed/misc.c`), whatever the map says.
fn set_memory_sizes(params: &mut boot_params, low_end: u64) {
    // Below 3 GiB, so 32 bits hold it.
    let extended = (low_end.saturating_sub(layout::HIGH_MEMORY) >> 10) as u32;
    params.alt_mem_k = extended;
    params.screen_info.ext_mem_k = extended.min(u16::MAX.into()) as u16;
}

/// Mode 3 of a VGA, 80 by 25 in colour, as its BIOS leaves it. Kernels up to about 2.6.25 take it for granted
/// that the real-mode code has found a screen and compute with its size; where there is no VGA, they write to RAM
/// at 0xB8000. Later ones see all zeros there, and use no screen.
fn set_text_screen(screen: &mut screen_info) {
    /// INT 10h, AH=12h, BL=10h: 256 KiB of video memory.
    const EGA_BX_256K: u16 = 3;
    screen.orig_video_mode = 3;
    screen.orig_video_cols = 80;
    screen.orig_video_ega_bx = EGA_BX_256K;
    screen.orig_video_lines = 25;
    screen.orig_video_isVGA = 1;
    screen.orig_video_points = 16;
}
