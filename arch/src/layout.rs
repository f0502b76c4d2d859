// SPDX-License-Identifier: Apache-2.0
//! The machine's address map: constants and the split of RAM around the PCI hole. Pure.
//!
//! ```text
//! 0x0000_0400  BIOS data area: base memory size, EBDA segment
//! 0x0000_0600  GDT
//! 0x0000_1000  free: old decompressors put their move routine at 0x1000 and unpack from 0x2000 to the
//!              zero page; a zImage runs at 0x1000; the boot stack grows down from the zero page
//! 0x0009_0000  zero page (boot_params)     \
//! 0x0009_1000  PVH start info              | read by the kernel's first instructions,
//! 0x0009_2000  page tables (24 KiB)        | RAM afterwards
//! 0x0009_8000  command line (20 KiB)       /
//! 0x0009_d000  free: trampoline of decompressors since Linux 4.18
//! 0x0009_fc00  EBDA (1 KiB)                reserved in E820
//! 0x000e_0000  ACPI: RSDP, then tables     reserved in E820
//! 0x000f_0000  MP floating pointer, table  reserved in E820
//! 0x000f_8000  SMBIOS: anchor, tables      reserved in E820
//! 0x000f_ffe0  reset code, reset vector    reserved in E820
//! 0x0010_0000  RAM: the kernel; initrd at the top
//! 0xc000_0000  PCI memory BARs
//! 0xfec0_0000  I/O APIC
//! 0xfee0_0000  local APIC
//! 0xfeff_c000  KVM's identity-map page and TSS \ reserved in E820
//! 0xff00_0000  firmware, ends at 4 GiB         /
//! 4 GiB        the rest of RAM
//! ```

use std::ops::Range;

use thiserror::Error;
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

/// BIOS data area word: EBDA segment (real-mode paragraph).
pub const BDA_EBDA_SEGMENT: GuestAddress = GuestAddress(0x40e);
/// BIOS data area word: base memory in KiB.
pub const BDA_BASE_MEMORY_KIB: GuestAddress = GuestAddress(0x413);
/// The GDT that the boot protocols' selectors 0x10 and 0x18 point into. Kernels before 2.6.20 use it until
/// they are unpacked, so it is where no decompressor writes: behind the BIOS data area (which includes the
/// byte at 0x500), below their move routine at 0x1000 (`arch/i386/boot/compressed/head.S`).
pub const GDT: GuestAddress = GuestAddress(0x600);
/// Where a zImage's protected-mode part runs, to which the setup code moves it.
pub const ZIMAGE_START: u64 = 0x1000;
/// `struct boot_params`, 4 KiB, where boot loaders had the setup code. Old decompressors take everything
/// from 0x2000 to here for their low buffer (`setup_output_buffer_if_we_run_high`), and protocols before
/// 2.02 look for the command line by a magic number at 0x90020.
pub const ZERO_PAGE: GuestAddress = GuestAddress(0x9_0000);
/// Top of a small stack for the 64-bit entry; kernels bring their own, bare-metal guests may push before.
pub const BOOT_STACK_TOP: GuestAddress = ZERO_PAGE;
/// `hvm_start_info` for the PVH entry.
pub const PVH_START_INFO: GuestAddress = GuestAddress(0x9_1000);
/// PVH module list: one entry, the initrd.
pub const PVH_MODULES: GuestAddress = GuestAddress(0x9_1100);
/// PVH memory map.
pub const PVH_MEMORY_MAP: GuestAddress = GuestAddress(0x9_1200);
/// Page tables of the 64-bit entry: PML4, PDPT, four page directories; 24 KiB.
pub const PAGE_TABLES: GuestAddress = GuestAddress(0x9_2000);
/// Kernel command line, NUL-terminated. In the same 64 KiB as [`ZERO_PAGE`]: protocols before 2.02 have a
/// 16-bit offset from there.
pub const CMDLINE: GuestAddress = GuestAddress(0x9_8000);
/// Room at [`CMDLINE`], in bytes, terminator included. It ends where decompressors since Linux 4.18 put a
/// trampoline, the two pages below the page that the EBDA starts in (`pgtable_64.c`).
pub const CMDLINE_ROOM: usize = 0x5000;
/// Extended BIOS data area, last KiB of base memory. The MP table is *not* here (see [`MP_TABLE`]), but
/// 2.6 kernels follow the BIOS data area to it to learn where base memory ends.
pub const EBDA: GuestAddress = GuestAddress(0x9_fc00);
/// End of base memory.
pub const BASE_MEMORY_END: u64 = 0xa_0000;
/// RSDP, and the ACPI tables after it. Kernels scan 0xE0000-0xFFFFF for it on 16-byte boundaries
/// (ACPI 6.5, 5.2.5.1).
pub const ACPI_TABLES: GuestAddress = GuestAddress(0xe_0000);
/// Room for them, in bytes.
pub const ACPI_ROOM: usize = 0x1_0000;
/// MP floating pointer, and the MP table after it. Kernels from 2.0 to the current ones scan the BIOS
/// ROM range 0xF0000-0xFFFFF (`arch/x86/kernel/mpparse.c`); unlike the EBDA it has room for 255 CPUs.
pub const MP_TABLE: GuestAddress = GuestAddress(0xf_0000);
/// Room for it, in bytes.
pub const MP_ROOM: usize = 0x8000;
/// SMBIOS entry point, and the tables after it. Kernels scan 0xF0000-0xFFFFF for it on 16-byte boundaries
/// (DSP0134, 5.2.1).
pub const SMBIOS: GuestAddress = GuestAddress(0xf_8000);
/// Room for them, in bytes.
pub const SMBIOS_ROOM: usize = 0x7fe0;
/// Code that resets the machine: all there is of a BIOS where a kernel is booted directly.
pub const RESET_CODE: GuestAddress = GuestAddress(0xf_ffe0);
/// Where a processor in real mode starts after a reset (F000:FFF0, FFFF:0000).
pub const RESET_VECTOR: GuestAddress = GuestAddress(0xf_fff0);
/// Start of RAM above the first MiB; no part of a kernel is loaded below.
pub const HIGH_MEMORY: u64 = 0x10_0000;

/// RAM below 4 GiB ends here at the latest; PCI memory BARs start here.
pub const PCI_MMIO_START: u64 = 0xc000_0000;
/// End of the window for PCI memory BARs, exclusive.
pub const PCI_MMIO_END: u64 = 0xfec0_0000;
/// I/O APIC, 4 KiB.
pub const IOAPIC: u64 = 0xfec0_0000;
/// Local APIC, 4 KiB.
pub const LAPIC: u64 = 0xfee0_0000;
/// KVM_SET_IDENTITY_MAP_ADDR: one page, used on Intel hosts without unrestricted guest mode. With the TSS
/// pages it lies right below [`FIRMWARE_START`].
pub const KVM_IDENTITY_MAP: u64 = 0xfeff_c000;
/// KVM_SET_TSS_ADDR: three pages, right behind the identity map.
pub const KVM_TSS: u64 = KVM_IDENTITY_MAP + PAGE_SIZE;
/// Nothing but firmware lies from here to 4 GiB: room for an image of 16 MiB.
pub const FIRMWARE_START: u64 = 0xff00_0000;
/// RAM that does not fit below [`PCI_MMIO_START`] goes on here.
pub const HIGH_RAM: u64 = 0x1_0000_0000;

/// First I/O port for PCI I/O BARs.
pub const PCI_IO_START: u16 = 0xc000;
/// Last I/O port for PCI I/O BARs, inclusive.
pub const PCI_IO_LAST: u16 = 0xffff;
/// PCI configuration mechanism 1: CF8 (address), CFC (data); 8 ports.
pub const PCI_CONFIG_IO: u16 = 0xcf8;
/// Reset control register (one byte); [`RESET_VALUE`] resets the machine.
pub const RESET_IO: u16 = 0xcf9;
/// Value for [`RESET_IO`]: system reset, full.
pub const RESET_VALUE: u8 = 6;
/// ACPI PM1a event block: status then enable, two 16-bit registers.
pub const PM1A_EVENT_IO: u16 = 0x600;
/// ACPI PM1a control, 16 bits.
pub const PM1A_CONTROL_IO: u16 = 0x604;
/// ACPI power management timer: 24 bits at 3.579545 MHz, read as 32.
pub const PM_TIMER_IO: u16 = 0x608;
/// SLP_TYP for power-off, as `\_S5` tells the guest.
pub const S5_SLEEP_TYPE: u8 = 5;
/// First port of the device that tells firmware of the machine.
pub const FW_CFG_IO: u16 = 0x510;
/// Its number of ports.
pub const FW_CFG_PORTS: u8 = 12;
/// Port for the messages of firmware.
pub const FIRMWARE_LOG_IO: u16 = 0x402;
/// Port for the diagnostic codes of firmware.
pub const DEBUG_IO: u16 = 0x80;
/// System control port A.
pub const SYSTEM_CONTROL_IO: u16 = 0x92;
/// First serial port, 8 ports.
pub const COM1_IO: u16 = 0x3f8;
/// Keyboard controller: data, the first of its ports.
pub const KEYBOARD_DATA_IO: u16 = 0x60;
/// Keyboard controller: commands and status.
pub const KEYBOARD_COMMAND_IO: u16 = 0x64;
/// CMOS/RTC index and data ports.
pub const RTC_IO: u16 = 0x70;
/// CMOS index of the century byte.
pub const RTC_CENTURY: u8 = 0x32;

/// Smallest machine: room for the tables and the smallest kernel.
pub const MIN_MEMORY: u64 = 2 << 20;
/// Largest machine: RAM ends within the 46 physical address bits of 2.6 kernels (`MAXMEM`).
pub const MAX_MEMORY: u64 = (1 << 46) - (HIGH_RAM - PCI_MMIO_START);
/// RAM comes in pages of 4 KiB.
pub const PAGE_SIZE: u64 = 4096;

/// A memory size that no machine can be built with.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Below [`MIN_MEMORY`].
    #[error("{0} bytes of memory are too few; give the guest at least 2 MiB")]
    TooSmall(u64),
    /// Above [`MAX_MEMORY`].
    #[error("{0} bytes of memory are more than a guest kernel can address; give it less than 64 TiB")]
    TooLarge(u64),
    /// Not whole pages.
    #[error("{0} bytes of memory are not a multiple of 4096; round the size to whole MiB")]
    Unaligned(u64),
}

/// Splits `memory` bytes of RAM around the PCI hole: one range, or two if more than 3 GiB. Whether the
/// host's physical address width covers it is for the caller to check ([`crate::cpuid::physical_bits`]).
pub fn ram_ranges(memory: u64) -> Result<Vec<(GuestAddress, usize)>, LayoutError> {
    if memory < MIN_MEMORY {
        return Err(LayoutError::TooSmall(memory));
    }
    if memory > MAX_MEMORY {
        return Err(LayoutError::TooLarge(memory));
    }
    if !memory.is_multiple_of(PAGE_SIZE) {
        return Err(LayoutError::Unaligned(memory));
    }
    let low = memory.min(PCI_MMIO_START);
    let mut ranges = vec![(GuestAddress(0), low as usize)];
    if memory > low {
        ranges.push((GuestAddress(HIGH_RAM), (memory - low) as usize));
    }
    Ok(ranges)
}

/// RAM of `mem`, ascending, adjoining regions joined.
pub(crate) fn ram_of<M: GuestMemoryBackend>(mem: &M) -> Vec<Range<u64>> {
    let mut ram: Vec<Range<u64>> = Vec::new();
    for region in mem.iter() {
        let start = region.start_addr().raw_value();
        let end = start.saturating_add(region.len());
        match ram.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ram.push(start..end),
        }
    }
    ram
}

/// End of the RAM that starts at address 0, at most [`PCI_MMIO_START`]; 0 if there is none.
pub(crate) fn low_ram_end<M: GuestMemoryBackend>(mem: &M) -> u64 {
    match ram_of(mem).first() {
        Some(Range { start: 0, end }) => PCI_MMIO_START.min(*end),
        _ => 0,
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
