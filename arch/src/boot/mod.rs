// SPDX-License-Identifier: Apache-2.0
//! Puts a kernel, its initrd, its command line and its boot parameters into guest memory and says where
//! the first processor starts. Touches guest memory and the two image files; no KVM.
//!
//! The images are untrusted: every header field is checked before it is used, and an image is refused
//! with one error that says what is wrong with it.

mod bios_data;
mod bzimage;
mod cmdline;
mod elf;
mod error;
mod image;
mod initrd;
mod mem_limit;
mod pvh;
mod zero_page;

use std::fmt;

use linux_loader::loader::bootparam::setup_header;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

pub use error::{BootError, BzImageError, CmdlineError, ElfError, InitrdError};
pub use image::Image;

pub use crate::regs::Entry;
use crate::regs::tables;
use crate::{e820, layout};

/// How to enter a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The 64-bit entry where the image has one. A 32-bit ELF image is entered by PVH if it has the note.
    #[default]
    Auto,
    /// Linux boot protocol, 64-bit entry: bzImages since Linux 3.8 and 64-bit ELF images.
    Linux64,
    /// Linux boot protocol, 32-bit entry: all bzImages and zImages, and 32-bit ELF images.
    Linux32,
    /// PVH: ELF images with the note.
    Pvh,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "usable",
            Self::Linux64 => "64-bit",
            Self::Linux32 => "32-bit",
            Self::Pvh => "PVH",
        })
    }
}

/// What to boot.
pub struct BootSource<'a, I> {
    /// Kernel: `vmlinux` (ELF), bzImage or zImage.
    pub kernel: &'a mut I,
    /// Initial RAM disk.
    pub initrd: Option<&'a mut I>,
    /// Kernel command line, without terminator.
    pub cmdline: &'a str,
    /// How to enter the kernel.
    pub protocol: Protocol,
    /// What the kernel is told of the machine.
    pub told: Told,
}

/// What a kernel is told of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Where [`crate::acpi::write`] put the RSDP, if there is ACPI.
    pub rsdp: Option<GuestAddress>,
    /// There is a VGA, in the text mode that its BIOS leaves it in.
    pub has_vga: bool,
}

impl Entry {
    /// By which protocol it is; never [`Protocol::Auto`].
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Long { .. } => Protocol::Linux64,
            Self::Protected32 { .. } => Protocol::Linux32,
            Self::Pvh { .. } => Protocol::Pvh,
        }
    }
}

/// A kernel in guest memory, and what it asks of its loader.
struct Kernel {
    entry: KernelEntry,
    /// Boot protocol header for the zero page, zero beyond the kernel's own header length.
    header: setup_header,
    /// End of the memory the kernel uses before it reads the memory map, exclusive.
    end: u64,
    /// Longest command line in bytes, without terminator.
    cmdline_max: usize,
    /// Last address an initrd may have.
    initrd_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KernelEntry {
    Long(u64),
    Protected32(u32),
    Pvh(u32),
}

/// Where the initrd was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Initrd {
    start: u32,
    size: u32,
}

/// Loads everything and returns the entry. Also right for a second time on used memory: what a kernel
/// expects to be zero is written as zero.
pub fn load<M: GuestMemoryBackend, I: Image>(mem: &M, source: BootSource<'_, I>) -> Result<Entry, BootError> {
    let low_end = layout::low_ram_end(mem);
    if low_end < layout::MIN_MEMORY {
        return Err(BootError::NoLowMemory(low_end));
    }
    let kernel = match image::kind(source.kernel)? {
        image::Kind::Elf => elf::load(mem, source.kernel, source.protocol, low_end)?,
        image::Kind::BzImage => bzimage::load(mem, source.kernel, source.protocol, low_end)?,
    };
    cmdline::write(mem, source.cmdline, kernel.cmdline_max)?;
    let initrd = match source.initrd {
        Some(image) => Some(initrd::load(mem, image, &kernel, low_end.min(mem_limit::of(source.cmdline)))?),
        None => None,
    };
    bios_data::write(mem)?;
    tables::write_gdt(mem, matches!(kernel.entry, KernelEntry::Long(_)))?;
    let version = kernel.header.version;
    tracing::info!(entry = ?kernel.entry, protocol = format_args!("{}.{:02}", version >> 8, version & 0xff), kernel_end = kernel.end, ?initrd, "kernel loaded");

    let e820 = e820::map(&layout::ram_of(mem));
    let zero_page = layout::ZERO_PAGE;
    let Told { rsdp, has_vga } = source.told;
    let given = zero_page::Given { initrd, e820: &e820, rsdp, low_end, has_vga };
    Ok(match kernel.entry {
        KernelEntry::Long(rip) => {
            tables::write_page_tables(mem)?;
            zero_page::write(mem, &kernel, &given)?;
            Entry::Long { rip, zero_page }
        }
        KernelEntry::Protected32(eip) => {
            zero_page::write(mem, &kernel, &given)?;
            Entry::Protected32 { eip, zero_page }
        }
        KernelEntry::Pvh(eip) => {
            pvh::write(mem, initrd, &e820, rsdp)?;
            Entry::Pvh { eip, start_info: layout::PVH_START_INFO }
        }
    })
}

/// Writes zeros to `[start, end)`, which is RAM.
fn zero<M: GuestMemoryBackend>(mem: &M, start: u64, end: u64) -> Result<(), BootError> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut at = start;
    while at < end {
        let len = (end - at).min(ZEROS.len() as u64);
        mem.write_slice(&ZEROS[..len as usize], GuestAddress(at))?;
        at += len;
    }
    Ok(())
}

#[cfg(test)]
#[path = "boot_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;
