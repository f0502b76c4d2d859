// SPDX-License-Identifier: Apache-2.0
//! Uncompressed ELF kernels, 32 and 64 bits: headers, PVH note, segments.
//!
//! linux-loader's ELF loader is not used: it knows only ELF64, trusts the headers, looks for the PVH
//! note in the last note segment only, and leaves BSS as it finds it. Parsing once for both classes and
//! checking everything before the first byte is copied is less code than checking for it.

use linux_loader::loader::bootparam::setup_header;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::image::{self, Image};
use super::{BootError, ElfError, Kernel, KernelEntry, Protocol, bzimage, cmdline, zero};
use crate::layout;

/// More program headers than any kernel has (Linux has 4 or 5).
const MAX_PROGRAM_HEADERS: u16 = 128;
/// Bytes of one note segment that are looked at.
const MAX_NOTES: u64 = 64 << 10;
const PT_LOAD: u64 = 1;
const PT_NOTE: u64 = 4;
/// XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h).
const PHYS32_ENTRY: u64 = 18;
/// A 32-bit kernel maps this much memory at most for itself ("lowmem"); initrds must be inside.
const LOWMEM_LAST: u64 = 0x37ff_ffff;
/// What every 64-bit kernel since 2.6 accepts for an initrd.
const INITRD_LAST_64: u64 = 0x7fff_ffff;
/// Reach of PAE page tables.
const PAE_END: u64 = 64 << 30;

/// Offset and width in bytes of a header field.
type Field = (usize, usize);

/// Where the fields are in one ELF class.
struct Class {
    machine: u64,
    header_size: usize,
    entry: Field,
    phoff: Field,
    phentsize: Field,
    phnum: Field,
    phdr_size: u16,
    offset: Field,
    paddr: Field,
    filesz: Field,
    memsz: Field,
}

const ELF32: Class = Class {
    machine: 3,
    header_size: 52,
    entry: (24, 4),
    phoff: (28, 4),
    phentsize: (42, 2),
    phnum: (44, 2),
    phdr_size: 32,
    offset: (4, 4),
    paddr: (12, 4),
    filesz: (16, 4),
    memsz: (20, 4),
};

const ELF64: Class = Class {
    machine: 62,
    header_size: 64,
    entry: (24, 8),
    phoff: (32, 8),
    phentsize: (54, 2),
    phnum: (56, 2),
    phdr_size: 56,
    offset: (8, 8),
    paddr: (24, 8),
    filesz: (32, 8),
    memsz: (40, 8),
};

/// Part of the file that belongs into memory.
#[derive(Clone, Copy)]
struct Segment {
    offset: u64,
    paddr: u64,
    filesz: u64,
    memsz: u64,
}

impl Segment {
    /// End in memory, exclusive; [`check`] has made sure that it does not wrap.
    fn end(&self) -> u64 {
        self.paddr.saturating_add(self.memsz)
    }

    fn check(&self) -> Result<(), ElfError> {
        let Self { paddr, filesz, memsz, .. } = *self;
        let fits = paddr >= layout::HIGH_MEMORY && filesz <= memsz && paddr.checked_add(memsz).is_some();
        if fits { Ok(()) } else { Err(ElfError::BadSegment { paddr, filesz, memsz }) }
    }
}

/// What the headers say.
struct Headers {
    is_64: bool,
    entry: u64,
    pvh_entry: Option<u32>,
    segments: Vec<Segment>,
}

/// Little-endian field of a header; the caller's buffer may be short.
fn field(bytes: &[u8], (at, width): Field) -> Result<u64, ElfError> {
    let raw = at.checked_add(width).and_then(|end| bytes.get(at..end)).ok_or(ElfError::Truncated)?;
    Ok(raw.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Loads the image and decides for an entry.
pub(super) fn load<M: GuestMemoryBackend, I: Image>(
    mem: &M,
    image: &mut I,
    wanted: Protocol,
    low_end: u64,
) -> Result<Kernel, BootError> {
    let headers = parse(image)?;
    let entry = choose_entry(&headers, wanted)?;
    let end = headers.segments.iter().map(Segment::end).max().unwrap_or(0);
    // The sum bounds the work for an image whose segments lie on top of each other.
    let sum = headers.segments.iter().fold(0u64, |sum, s| sum.saturating_add(s.memsz));
    let needed = end.max(sum);
    if needed > low_end {
        return Err(BootError::KernelTooBig { needed, available: low_end });
    }
    let ram_end = layout::ram_of(mem).last().map_or(0, |r| r.end);
    if !headers.is_64 && ram_end > PAE_END {
        return Err(BootError::TooMuchMemory { end: ram_end });
    }
    for segment in &headers.segments {
        if segment.filesz > 0 {
            image.seek(std::io::SeekFrom::Start(segment.offset)).map_err(BootError::ReadKernel)?;
            mem.read_exact_volatile_from(GuestAddress(segment.paddr), image, segment.filesz as usize)
                .map_err(|e| BootError::ReadKernel(image::io_error(e)))?;
        }
        zero(mem, segment.paddr + segment.filesz, segment.end())?;
    }
    Ok(Kernel {
        entry,
        header: header_for_elf(),
        end,
        cmdline_max: cmdline::ELF_LIMIT,
        initrd_max: if headers.is_64 { INITRD_LAST_64 } else { LOWMEM_LAST },
    })
}

fn choose_entry(headers: &Headers, wanted: Protocol) -> Result<KernelEntry, BootError> {
    let (entry, address) = match (wanted, headers.is_64, headers.pvh_entry) {
        (Protocol::Auto | Protocol::Linux64, true, _) => (KernelEntry::Long(headers.entry), headers.entry),
        // The class makes e_entry a 32-bit value.
        (Protocol::Auto, false, None) | (Protocol::Linux32, false, _) => {
            (KernelEntry::Protected32(headers.entry as u32), headers.entry)
        }
        (Protocol::Auto, false, Some(eip)) | (Protocol::Pvh, _, Some(eip)) => (KernelEntry::Pvh(eip), eip.into()),
        (Protocol::Linux64, false, _) | (Protocol::Linux32, true, _) | (Protocol::Pvh, _, None) => {
            return Err(BootError::NoSuchEntry { wanted, image: image::Kind::Elf.name() });
        }
    };
    if headers.segments.iter().any(|s| s.paddr <= address && address < s.end()) {
        Ok(entry)
    } else {
        Err(ElfError::BadEntry(address).into())
    }
}

fn parse<I: Image>(image: &mut I) -> Result<Headers, BootError> {
    let file_size = image::size(image).map_err(BootError::ReadKernel)?;
    let mut header = [0; 64];
    let read = image::read_at(image, 0, &mut header).map_err(BootError::ReadKernel)?;
    let header = &header[..read];
    let class = class_of(header)?;
    let header = header.get(..class.header_size).ok_or(ElfError::Truncated)?;

    let size = field(header, class.phentsize)? as u16;
    let count = field(header, class.phnum)? as u16;
    if size != class.phdr_size || count == 0 || count > MAX_PROGRAM_HEADERS {
        return Err(ElfError::ProgramHeaders { count, size }.into());
    }
    let mut table = vec![0; usize::from(count) * usize::from(size)];
    let read = image::read_at(image, field(header, class.phoff)?, &mut table).map_err(BootError::ReadKernel)?;
    if read < table.len() {
        return Err(ElfError::Truncated.into());
    }

    let mut headers = Headers {
        is_64: class.machine == ELF64.machine,
        entry: field(header, class.entry)?,
        pvh_entry: None,
        segments: vec![],
    };
    for raw in table.chunks_exact(usize::from(size)) {
        let segment = Segment {
            offset: field(raw, class.offset)?,
            paddr: field(raw, class.paddr)?,
            filesz: field(raw, class.filesz)?,
            memsz: field(raw, class.memsz)?,
        };
        let kind = field(raw, (0, 4))?;
        // Where nothing is read it does not matter where: BSS alone may have any offset.
        let end_in_file = segment.offset.checked_add(segment.filesz);
        let in_file = segment.filesz == 0 || end_in_file.is_some_and(|end| end <= file_size);
        if (kind == PT_LOAD || kind == PT_NOTE) && !in_file {
            return Err(ElfError::Truncated.into());
        }
        if kind == PT_LOAD && segment.memsz > 0 {
            segment.check()?;
            headers.segments.push(segment);
        } else if kind == PT_NOTE && headers.pvh_entry.is_none() {
            headers.pvh_entry = read_pvh_entry(image, segment)?;
        }
    }
    if headers.segments.is_empty() {
        return Err(ElfError::NothingToLoad.into());
    }
    Ok(headers)
}

fn class_of(header: &[u8]) -> Result<&'static Class, ElfError> {
    const EXECUTABLE: u64 = 2;
    const SHARED: u64 = 3;
    let [class, data] = [field(header, (4, 1))? as u8, field(header, (5, 1))? as u8];
    let machine = field(header, (18, 2))?;
    let layout = match (class, data) {
        (1, 1) if machine == ELF32.machine => &ELF32,
        (2, 1) if machine == ELF64.machine => &ELF64,
        _ => return Err(ElfError::Foreign { class, data, machine: machine as u16 }),
    };
    match field(header, (16, 2))? {
        EXECUTABLE | SHARED => Ok(layout),
        other => Err(ElfError::NotExecutable(other as u16)),
    }
}

fn read_pvh_entry<I: Image>(image: &mut I, segment: Segment) -> Result<Option<u32>, BootError> {
    let mut notes = vec![0; segment.filesz.min(MAX_NOTES) as usize];
    let read = image::read_at(image, segment.offset, &mut notes).map_err(BootError::ReadKernel)?;
    Ok(find_pvh_entry(&notes[..read]))
}

/// Searches notes (name size, description size, type, name, description; each part padded to 4 bytes).
/// A damaged list ends the search: a kernel that does not need the note boots all the same.
fn find_pvh_entry(notes: &[u8]) -> Option<u32> {
    let mut rest = notes;
    loop {
        let [name_size, desc_size, kind] = [0, 4, 8].map(|at| field(rest, (at, 4)).ok());
        let name_end = 12usize.checked_add(name_size? as usize)?;
        let desc_start = name_end.checked_next_multiple_of(4)?;
        let desc_end = desc_start.checked_add(desc_size? as usize)?;
        if kind? == PHYS32_ENTRY && rest.get(12..name_end) == Some(b"Xen\0") && desc_size? >= 4 {
            return field(rest, (desc_start, 4)).ok().map(|entry| entry as u32);
        }
        rest = rest.get(desc_end.checked_next_multiple_of(4)?..)?;
    }
}

/// A `vmlinux` has no setup header: what the kernel itself reads of it (`type_of_loader` and the like are
/// added with the zero page).
fn header_for_elf() -> setup_header {
    setup_header {
        boot_flag: 0xaa55,
        loadflags: bzimage::LOADED_HIGH,
        header: u32::from_le_bytes(*b"HdrS"),
        version: 0x20f,
        kernel_alignment: 0x100_0000,
        ..Default::default()
    }
}
