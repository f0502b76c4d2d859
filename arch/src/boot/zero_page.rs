// SPDX-License-Identifier: Apache-2.0
//! `struct boot_params`, which the 64-bit and the 32-bit boot protocol hand to the kernel.

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, screen_info};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend};

use super::{BootError, Initrd, Kernel};
use crate::e820::E820Entry;
use crate::layout;

/// `type_of_loader`: a loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;
const LOADED_HIGH: u8 = 1 << 0;
/// Without this the kernel loads its own segments, which works with every version.
const KEEP_SEGMENTS: u8 = 1 << 6;
/// Writes the zero page to [`layout::ZERO_PAGE`].
pub fn write<M: GuestMemoryBackend>(
    mem: &M,
    kernel: &Kernel,
    initrd: Option<Initrd>,
    e820: &[E820Entry],
    rsdp: Option<GuestAddress>,
) -> Result<(), BootError> {
    let params = build(kernel, initrd, e820, rsdp);
    mem.write_obj(params, layout::ZERO_PAGE)?;
    Ok(())
}

fn build(kernel: &Kernel, initrd: Option<Initrd>, e820: &[E820Entry], rsdp: Option<GuestAddress>) -> boot_params {
    let mut params = boot_params { hdr: kernel.header, ..Default::default() };
    let header = &mut params.hdr;
    header.type_of_loader = LOADER_UNDEFINED;
    header.loadflags = (header.loadflags | LOADED_HIGH) & !KEEP_SEGMENTS;
    header.cmd_line_ptr = layout::CMDLINE.raw_value() as u32;
    if let Some(Initrd { start, size }) = initrd {
        header.ramdisk_image = start;
        header.ramdisk_size = size;
    }
    let version = header.version;
    if version >= 0x20e {
        params.acpi_rsdp_addr = rsdp.map_or(0, |address| address.raw_value());
    }
    if version < 0x208 {
        params.screen_info = text_screen();
    }
    let table = &mut params.e820_table;
    let entries = e820.len().min(table.len());
    for (slot, entry) in table.iter_mut().zip(e820) {
        *slot = boot_e820_entry { addr: entry.start, size: entry.size, r#type: entry.kind };
    }
    // The table has 128 slots.
    params.e820_entries = entries as u8;
    params
}

/// Kernels up to about 2.6.25 take it for granted that the real-mode code has found a screen and compute
/// with its size. They get a text screen: RAM stands in for it at 0xB8000. Later ones see all zeros and
/// use no screen.
fn text_screen() -> screen_info {
    screen_info {
        orig_video_mode: 3,
        orig_video_cols: 80,
        orig_video_lines: 25,
        orig_video_isVGA: 1,
        orig_video_points: 16,
        ..Default::default()
    }
}
