// SPDX-License-Identifier: Apache-2.0
//! bzImages: the setup header as far as it really goes, the memory the kernel unpacks itself into, and
//! the choice between the 64-bit and the 32-bit entry. After Documentation/arch/x86/boot.rst.

use linux_loader::loader::bootparam::setup_header;
use linux_loader::loader::{KernelLoader, bzimage::BzImage};
use vm_memory::{ByteValued, GuestAddress, GuestMemoryBackend};

use super::image::{self, Image};
use super::{BootError, BzImageError, Kernel, KernelEntry, cmdline};
use crate::layout;

/// Where the setup header starts in the file and in the zero page.
const HEADER_OFFSET: u64 = 0x1f1;
/// The header ends at this offset plus the byte at 0x201 (the jump over it).
const HEADER_END_BASE: usize = 0x202;
const LOADED_HIGH: u8 = 1 << 0;
/// `xloadflags`: there is a 64-bit entry at +0x200 (protocol 2.12, Linux 3.8).
const XLF_KERNEL_64: u16 = 1 << 0;
const ENTRY_64: u64 = 0x200;
/// `initrd_addr_max` of kernels before protocol 2.03.
const OLD_INITRD_LAST: u64 = 0x37ff_ffff;
/// Kernels before protocol 2.10 do not say how much memory they unpack into; boot loaders assume
/// three times the file.
const UNPACK_FACTOR: u64 = 3;

/// Loads the protected-mode part at `code32_start`, which is 1 MiB unless a boot loader hook changed it.
/// A relocatable kernel moves itself from there to where it wants to run.
pub fn load<M: GuestMemoryBackend, I: Image>(mem: &M, image: &mut I, low_end: u64) -> Result<Kernel, BootError> {
    let header = read_header(image)?;
    let payload = check(&header, image::size(image).map_err(BootError::ReadKernel)?)?;
    let start = u64::from(header.code32_start);
    let end = memory_end(&header, payload)?;
    if end > low_end {
        return Err(BootError::KernelTooBig { needed: end, available: low_end });
    }
    BzImage::load(mem, None, image, Some(GuestAddress(layout::HIGH_MEMORY))).map_err(BzImageError::Loader)?;

    let (version, xloadflags) = (header.version, header.xloadflags);
    let entry = if version >= 0x20c && xloadflags & XLF_KERNEL_64 != 0 {
        KernelEntry::Long(start + ENTRY_64)
    } else {
        KernelEntry::Protected32(header.code32_start)
    };
    let initrd_max = if version >= 0x203 { header.initrd_addr_max.into() } else { OLD_INITRD_LAST };
    let cmdline_max = cmdline::limit(version, header.cmdline_size);
    Ok(Kernel { entry, header, end, cmdline_max, initrd_max })
}

/// Reads the header up to its own length; the rest of the struct stays zero, since in the file the
/// setup code follows.
fn read_header<I: Image>(image: &mut I) -> Result<setup_header, BootError> {
    let mut raw = setup_header::default();
    let read = image::read_at(image, HEADER_OFFSET, raw.as_mut_slice()).map_err(BootError::ReadKernel)?;
    let [_, jump_distance] = raw.jump.to_le_bytes();
    let length = HEADER_END_BASE - HEADER_OFFSET as usize + usize::from(jump_distance);
    let mut header = setup_header::default();
    let length = length.min(read).min(size_of::<setup_header>());
    header.as_mut_slice()[..length].copy_from_slice(&raw.as_slice()[..length]);
    Ok(header)
}

/// Checks the fields that everything else relies on; returns the size of the protected-mode part.
fn check(header: &setup_header, file_size: u64) -> Result<u64, BzImageError> {
    let version = header.version;
    if version < 0x202 {
        return Err(BzImageError::TooOld(version));
    }
    if header.loadflags & LOADED_HIGH == 0 {
        return Err(BzImageError::ZImage);
    }
    if u64::from(header.code32_start) < layout::HIGH_MEMORY {
        return Err(BzImageError::BadField { field: "code32_start", value: header.code32_start.into() });
    }
    // 0 means 4 (boot.rst, setup_sects).
    let setup_sectors = if header.setup_sects == 0 { 4 } else { u64::from(header.setup_sects) };
    let setup = (setup_sectors + 1) * 512;
    // In 16-byte units, rounded up; only 16 bits wide and unreliable before 2.04.
    let paragraphs = if version >= 0x204 { u64::from(header.syssize) } else { 1 };
    let promised = setup + paragraphs.max(1) * 16;
    if file_size <= setup || file_size + 15 < promised {
        return Err(BzImageError::Truncated { promised, actual: file_size });
    }
    Ok(file_size - setup)
}

/// End of the memory the kernel uses until it reads the memory map: where it is loaded, and where it
/// unpacks itself to.
fn memory_end(header: &setup_header, payload: u64) -> Result<u64, BzImageError> {
    let start = u64::from(header.code32_start);
    let loaded = start.saturating_add(payload);
    if header.version < 0x20a {
        return Ok(start.saturating_add(payload.saturating_mul(UNPACK_FACTOR)));
    }
    let preferred = header.pref_address;
    let runs_at = if header.relocatable_kernel != 0 {
        let alignment = u64::from(header.kernel_alignment);
        if !alignment.is_power_of_two() {
            return Err(BzImageError::BadField { field: "kernel_alignment", value: alignment });
        }
        start.max(preferred).checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
    } else {
        preferred
    };
    Ok(loaded.max(runs_at.saturating_add(header.init_size.into())))
}
