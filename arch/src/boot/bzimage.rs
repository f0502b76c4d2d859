// SPDX-License-Identifier: Apache-2.0
//! bzImages and zImages of boot protocol 2.00 and later: the setup header as far as it really goes, the memory
//! the kernel unpacks itself into, and the choice between the 64-bit and the 32-bit entry. After
//! Documentation/arch/x86/boot.rst; what the setup code would do besides is in `zero_page`.

use std::io::SeekFrom;

use linux_loader::loader::bootparam::setup_header;
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryBackend};

use super::image::{self, Image};
use super::{BootError, BzImageError, Kernel, KernelEntry, Protocol, cmdline};
use crate::layout;

/// Where the setup header starts in the file and in the zero page.
const HEADER_OFFSET: u64 = 0x1f1;
/// The header ends at this offset plus the byte at 0x201 (the jump over it).
const HEADER_END_BASE: usize = 0x202;
pub(super) const LOADED_HIGH: u8 = 1 << 0;
/// Most bytes of a zImage's protected-mode part: boot loaders put it at 0x10000, below the setup code.
const ZIMAGE_MAX: u64 = layout::ZERO_PAGE.0 - 0x1_0000;
/// `xloadflags`: there is a 64-bit entry at +0x200 (protocol 2.12, Linux 3.8).
const XLF_KERNEL_64: u16 = 1 << 0;
const ENTRY_64: u64 = 0x200;
/// `initrd_addr_max` of kernels before protocol 2.03.
const OLD_INITRD_LAST: u64 = 0x37ff_ffff;
/// Kernels before protocol 2.10 do not say how much memory they unpack into; boot loaders assume
/// three times the file.
const UNPACK_FACTOR: u64 = 3;

/// Loads the protected-mode part where the kernel's setup code leaves it: a bzImage at `code32_start`, which is
/// 1 MiB unless a boot loader hook changed it (a relocatable kernel moves itself from there to where it wants to
/// run), a zImage at 0x1000.
pub(super) fn load<M: GuestMemoryBackend, I: Image>(
    mem: &M,
    image: &mut I,
    wanted: Protocol,
    low_end: u64,
) -> Result<Kernel, BootError> {
    let header = read_header(image)?;
    let payload = check(&header, image::size(image).map_err(BootError::ReadKernel)?)?;
    let entry = choose_entry(&header, wanted)?;
    let end = memory_end(&header, payload.size)?;
    if end > low_end {
        return Err(BootError::KernelTooBig { needed: end, available: low_end });
    }
    image.seek(SeekFrom::Start(payload.offset)).map_err(BootError::ReadKernel)?;
    mem.read_exact_volatile_from(GuestAddress(header.code32_start.into()), image, payload.size as usize)
        .map_err(|e| BootError::ReadKernel(image::io_error(e)))?;

    let version = header.version;
    let initrd_max = if version >= 0x203 { header.initrd_addr_max.into() } else { OLD_INITRD_LAST };
    let cmdline_max = cmdline::limit(version, header.cmdline_size);
    Ok(Kernel { entry, header, end, cmdline_max, initrd_max })
}

fn choose_entry(header: &setup_header, wanted: Protocol) -> Result<KernelEntry, BootError> {
    let has_64 = header.version >= 0x20c && header.xloadflags & XLF_KERNEL_64 != 0;
    match wanted {
        Protocol::Auto | Protocol::Linux64 if has_64 => {
            Ok(KernelEntry::Long(u64::from(header.code32_start) + ENTRY_64))
        }
        Protocol::Auto | Protocol::Linux32 => Ok(KernelEntry::Protected32(header.code32_start)),
        Protocol::Linux64 | Protocol::Pvh => Err(BootError::NoSuchEntry { wanted, image: image::Kind::BzImage.name() }),
    }
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

/// The protected-mode part in the file.
struct Payload {
    offset: u64,
    size: u64,
}

fn is_zimage(header: &setup_header) -> bool {
    header.loadflags & LOADED_HIGH == 0
}

/// Checks the fields that everything else relies on.
fn check(header: &setup_header, file_size: u64) -> Result<Payload, BzImageError> {
    let version = header.version;
    if version < 0x200 {
        return Err(BzImageError::TooOld(version));
    }
    let start = u64::from(header.code32_start);
    if if is_zimage(header) { start != layout::ZIMAGE_START } else { start < layout::HIGH_MEMORY } {
        return Err(BzImageError::BadField { field: "code32_start", value: start });
    }
    // 0 means 4 (boot.rst, setup_sects).
    let setup_sectors = if header.setup_sects == 0 { 4 } else { u64::from(header.setup_sects) };
    let offset = (setup_sectors + 1) * 512;
    // In 16-byte units, rounded up; only 16 bits wide and unreliable before 2.04.
    let paragraphs = if version >= 0x204 { u64::from(header.syssize) } else { 1 };
    let promised = offset + paragraphs.max(1) * 16;
    if file_size <= offset || file_size + 15 < promised {
        return Err(BzImageError::Truncated { promised, actual: file_size });
    }
    let size = file_size - offset;
    if is_zimage(header) && size > ZIMAGE_MAX {
        return Err(BzImageError::ZImageTooBig { size, max: ZIMAGE_MAX });
    }
    Ok(Payload { offset, size })
}

/// End of the memory the kernel uses until it reads the memory map: where it is loaded, and where it
/// unpacks itself to.
fn memory_end(header: &setup_header, payload: u64) -> Result<u64, BzImageError> {
    // A zImage unpacks from below 1 MiB to there.
    let start = u64::from(header.code32_start).max(layout::HIGH_MEMORY);
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
