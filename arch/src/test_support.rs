// SPDX-License-Identifier: Apache-2.0
//! Guest memory and kernel images made byte by byte, for tests.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

pub(crate) type Memory = GuestMemoryMmap<()>;

pub(crate) fn memory(bytes: usize) -> Memory {
    Memory::from_ranges(&[(GuestAddress(0), bytes)]).unwrap()
}

pub(crate) fn read(mem: &Memory, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    mem.read_slice(&mut bytes, GuestAddress(at)).unwrap();
    bytes
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

pub(crate) fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A bzImage: `setup` sectors after the boot sector, then `payload`.
#[derive(Clone)]
pub(crate) struct BzImageSpec {
    pub version: u16,
    pub header_len: u8,
    pub loadflags: u8,
    pub code32_start: u32,
    pub initrd_addr_max: u32,
    pub kernel_alignment: u32,
    pub relocatable: u8,
    pub xloadflags: u16,
    pub cmdline_size: u32,
    pub pref_address: u64,
    pub init_size: u32,
    pub payload: Vec<u8>,
}

impl BzImageSpec {
    /// As a current 64-bit kernel has it.
    pub(crate) fn modern() -> Self {
        Self {
            version: 0x20f,
            header_len: 0x6a,
            loadflags: 1,
            code32_start: 0x10_0000,
            initrd_addr_max: 0x7fff_ffff,
            kernel_alignment: 0x20_0000,
            relocatable: 1,
            xloadflags: 1,
            cmdline_size: 2047,
            pref_address: 0x100_0000,
            init_size: 0x20_0000,
            payload: b"protected mode code".repeat(100),
        }
    }

    /// As RHEL 5's 2.6.18 has it: protocol 2.04, header ends before `kernel_alignment`.
    pub(crate) fn v2_04() -> Self {
        Self { version: 0x204, header_len: 0x2e, xloadflags: 0, ..Self::modern() }
    }

    /// As Linux 2.4 built them with `make zImage`: protocol 2.03.
    pub(crate) fn zimage() -> Self {
        Self { version: 0x203, header_len: 0x2e, loadflags: 0, code32_start: 0x1000, ..Self::modern() }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        const SETUP_SECTS: u8 = 1;
        let mut image = vec![0u8; 512 * (1 + SETUP_SECTS as usize)];
        // What comes after the header is code; make it look like a hostile header tail.
        image[0x202 + self.header_len as usize..0x300].fill(0xcc);
        let mut header = vec![0u8; 123];
        let at = |offset: usize| offset - 0x1f1;
        header[at(0x1f1)] = SETUP_SECTS;
        put(&mut header, at(0x1f4), &(self.payload.len().div_ceil(16) as u32).to_le_bytes());
        put(&mut header, at(0x1fe), &0xaa55u16.to_le_bytes());
        put(&mut header, at(0x200), &[0xeb, self.header_len]);
        put(&mut header, at(0x202), b"HdrS");
        put(&mut header, at(0x206), &self.version.to_le_bytes());
        header[at(0x211)] = self.loadflags;
        put(&mut header, at(0x214), &self.code32_start.to_le_bytes());
        put(&mut header, at(0x22c), &self.initrd_addr_max.to_le_bytes());
        put(&mut header, at(0x230), &self.kernel_alignment.to_le_bytes());
        header[at(0x234)] = self.relocatable;
        put(&mut header, at(0x236), &self.xloadflags.to_le_bytes());
        put(&mut header, at(0x238), &self.cmdline_size.to_le_bytes());
        put(&mut header, at(0x258), &self.pref_address.to_le_bytes());
        put(&mut header, at(0x260), &self.init_size.to_le_bytes());
        let real = (0x202 + self.header_len as usize - 0x1f1).min(header.len());
        put(&mut image, 0x1f1, &header[..real]);
        image.extend_from_slice(&self.payload);
        image
    }
}

/// A program header.
#[derive(Clone)]
pub(crate) struct Segment {
    pub kind: u32,
    pub paddr: u64,
    pub memsz: u64,
    pub data: Vec<u8>,
}

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_NOTE: u32 = 4;

pub(crate) fn load_segment(paddr: u64, data: &[u8], memsz: u64) -> Segment {
    Segment { kind: PT_LOAD, paddr, memsz, data: data.to_vec() }
}

fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [name.len() as u32, desc.len() as u32, kind] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for part in [name, desc] {
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// PT_NOTE with another note, then XEN_ELFNOTE_PHYS32_ENTRY.
pub(crate) fn pvh_note(entry: u32) -> Segment {
    let mut data = note(b"GNU\0", 3, &[7; 20]);
    data.extend(note(b"Xen\0", 18, &entry.to_le_bytes()));
    Segment { kind: PT_NOTE, paddr: 0, memsz: data.len() as u64, data }
}

/// PT_NOTE without the PVH entry.
pub(crate) fn other_note() -> Segment {
    let data = note(b"GNU\0", 3, &[9; 8]);
    Segment { kind: PT_NOTE, paddr: 0, memsz: data.len() as u64, data }
}

pub(crate) fn elf64(entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut image = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    image.resize(16, 0);
    image.extend_from_slice(&2u16.to_le_bytes()); // ET_EXEC
    image.extend_from_slice(&62u16.to_le_bytes()); // EM_X86_64
    image.extend_from_slice(&1u32.to_le_bytes());
    for word in [entry, 64, 0] {
        image.extend_from_slice(&word.to_le_bytes());
    }
    image.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, segments.len() as u16, 0, 0, 0] {
        image.extend_from_slice(&half.to_le_bytes());
    }
    let mut offset = (64 + 56 * segments.len()) as u64;
    for s in segments {
        image.extend_from_slice(&s.kind.to_le_bytes());
        image.extend_from_slice(&7u32.to_le_bytes());
        let size = s.data.len() as u64;
        for word in [offset, 0xffff_ffff_8000_0000u64.wrapping_add(s.paddr), s.paddr, size, s.memsz, 0x1000] {
            image.extend_from_slice(&word.to_le_bytes());
        }
        offset += size;
    }
    segments.iter().for_each(|s| image.extend_from_slice(&s.data));
    image
}

pub(crate) fn elf32(entry: u32, segments: &[Segment]) -> Vec<u8> {
    let mut image = vec![0x7f, b'E', b'L', b'F', 1, 1, 1];
    image.resize(16, 0);
    image.extend_from_slice(&2u16.to_le_bytes());
    image.extend_from_slice(&3u16.to_le_bytes()); // EM_386
    for word in [1, entry, 52, 0, 0] {
        image.extend_from_slice(&u32::to_le_bytes(word));
    }
    for half in [52u16, 32, segments.len() as u16, 0, 0, 0] {
        image.extend_from_slice(&half.to_le_bytes());
    }
    let mut offset = (52 + 32 * segments.len()) as u32;
    for s in segments {
        let (paddr, size) = (s.paddr as u32, s.data.len() as u32);
        for word in [s.kind, offset, 0xc000_0000u32.wrapping_add(paddr), paddr, size, s.memsz as u32, 7, 0x1000] {
            image.extend_from_slice(&word.to_le_bytes());
        }
        offset += size;
    }
    segments.iter().for_each(|s| image.extend_from_slice(&s.data));
    image
}
