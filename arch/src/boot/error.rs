// SPDX-License-Identifier: Apache-2.0
//! Everything that can be wrong with a kernel, an initrd or a command line.

use std::io;

use thiserror::Error;
use vm_memory::GuestMemoryError;

use super::Protocol;

/// Why a guest cannot be started.
#[derive(Debug, Error)]
pub enum BootError {
    /// The kernel file cannot be read.
    #[error("cannot read the kernel image")]
    ReadKernel(#[source] io::Error),
    /// Neither ELF nor bzImage.
    #[error(
        "the kernel is neither a bzImage nor an uncompressed ELF vmlinux; give /boot/vmlinuz-* of an x86 kernel, or a vmlinux"
    )]
    UnknownImage,
    /// A broken or foreign ELF file.
    #[error("the kernel is an ELF file that cannot be booted: {0}")]
    Elf(#[from] ElfError),
    /// A broken or too old bzImage.
    #[error("the kernel is a bzImage that cannot be booted: {0}")]
    BzImage(#[from] BzImageError),
    /// The image does not have the entry that was asked for.
    #[error("the kernel, {image}, has no {wanted} entry; choose another one, or let heirloom choose with boot=auto")]
    NoSuchEntry {
        /// What was asked for.
        wanted: Protocol,
        /// Kind of image.
        image: &'static str,
    },
    /// Kernel larger than the guest.
    #[error(
        "the kernel needs memory up to {needed:#x} but the guest's low memory ends at {available:#x}; give the guest more memory"
    )]
    KernelTooBig {
        /// End of what the kernel needs, exclusive.
        needed: u64,
        /// End of RAM below 4 GiB.
        available: u64,
    },
    /// More RAM than a 32-bit kernel's page tables reach.
    #[error(
        "guest memory ends at {end:#x} but a 32-bit kernel reaches 64 GiB at most; give the guest less memory or a 64-bit kernel"
    )]
    TooMuchMemory {
        /// End of RAM.
        end: u64,
    },
    /// A bad command line.
    #[error(transparent)]
    Cmdline(#[from] CmdlineError),
    /// A bad initrd.
    #[error(transparent)]
    Initrd(#[from] InitrdError),
    /// The guest memory does not start at 0 or is tiny: a mistake of the machine's assembly.
    #[error("guest memory from address 0 ends at {0:#x}; a guest needs at least 2 MiB there")]
    NoLowMemory(u64),
    /// Guest memory cannot be written.
    #[error("cannot write guest memory")]
    Memory(#[from] GuestMemoryError),
}

/// What is wrong with an ELF kernel.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ElfError {
    /// Headers or a segment lie beyond the end of the file.
    #[error("the file is truncated")]
    Truncated,
    /// Not little-endian 32- or 64-bit, or for another machine.
    #[error("it is not for x86 (class {class}, data {data}, machine {machine})")]
    Foreign {
        /// EI_CLASS.
        class: u8,
        /// EI_DATA.
        data: u8,
        /// e_machine.
        machine: u16,
    },
    /// Object file or core dump.
    #[error("it is not an executable (e_type {0})")]
    NotExecutable(u16),
    /// e_phentsize or e_phnum make no sense.
    #[error("its program headers are {count} of {size} bytes")]
    ProgramHeaders {
        /// e_phnum.
        count: u16,
        /// e_phentsize.
        size: u16,
    },
    /// Nothing to load.
    #[error("it has no loadable segment")]
    NothingToLoad,
    /// A segment below 1 MiB, wrapping, or with more bytes in the file than in memory.
    #[error(
        "its segment at {paddr:#x} ({filesz:#x} bytes in the file, {memsz:#x} in memory) cannot be placed; segments must lie at 1 MiB or above"
    )]
    BadSegment {
        /// p_paddr.
        paddr: u64,
        /// p_filesz.
        filesz: u64,
        /// p_memsz.
        memsz: u64,
    },
    /// Entry point in no segment.
    #[error("its entry point {0:#x} is in no loadable segment")]
    BadEntry(u64),
}

/// What is wrong with a bzImage.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BzImageError {
    /// Shorter than its header says.
    #[error("the file is truncated: {actual} bytes, its header promises {promised}")]
    Truncated {
        /// Size by the header.
        promised: u64,
        /// Size of the file.
        actual: u64,
    },
    /// Before Linux 1.3.73.
    #[error("its boot protocol {}.{:02} is older than 2.00 (Linux 1.3.73)", .0 >> 8, .0 & 0xff)]
    TooOld(u16),
    /// More than there is room for below 1 MiB.
    #[error("it is a zImage of {size} bytes, and one has at most {max}; it is damaged or was meant to be a bzImage")]
    ZImageTooBig {
        /// Bytes of the protected-mode part.
        size: u64,
        /// Most that fits.
        max: u64,
    },
    /// Load address or alignment nonsense.
    #[error("its header is damaged: {field} is {value:#x}")]
    BadField {
        /// Name in the boot protocol document.
        field: &'static str,
        /// What is there.
        value: u64,
    },
}

/// What is wrong with a command line.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CmdlineError {
    /// Longer than the kernel takes.
    #[error("the kernel command line has {actual} bytes, this kernel takes {max}; shorten it")]
    TooLong {
        /// Length in bytes.
        actual: usize,
        /// The kernel's limit.
        max: usize,
    },
    /// A NUL would cut it.
    #[error("the kernel command line contains a NUL byte")]
    Nul,
}

/// What is wrong with an initrd.
#[derive(Debug, Error)]
pub enum InitrdError {
    /// The file cannot be read.
    #[error("cannot read the initrd")]
    Read(#[source] io::Error),
    /// The file is empty.
    #[error("the initrd is empty")]
    Empty,
    /// It does not fit between the kernel and the top of what the kernel can reach.
    #[error(
        "the initrd has {size} bytes but only {room} are free above the kernel; give the guest more memory, and a mem= in the command line that leaves room"
    )]
    TooBig {
        /// Size of the file.
        size: u64,
        /// Free bytes.
        room: u64,
    },
}
