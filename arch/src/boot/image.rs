// SPDX-License-Identifier: Apache-2.0
//! Reading of image files: size, bytes at an offset, and what kind of kernel it is.

use std::io::{self, Read, Seek, SeekFrom};

use vm_memory::ReadVolatile;

use super::BootError;

/// A file, or bytes in memory (`std::io::Cursor`).
pub trait Image: Read + ReadVolatile + Seek {}

impl<T: Read + ReadVolatile + Seek> Image for T {}

/// Kinds of kernel image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Elf,
    BzImage,
}

impl Kind {
    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Elf => "an ELF file",
            Self::BzImage => "a bzImage",
        }
    }
}

/// `HdrS` at this offset marks a kernel with a setup header (Documentation/arch/x86/boot.rst).
const BZIMAGE_MAGIC_OFFSET: u64 = 0x202;

/// Size in bytes. A pipe or another stream gives an error.
pub(super) fn size<I: Image>(image: &mut I) -> io::Result<u64> {
    image.seek(SeekFrom::End(0))
}

/// Fills `buffer` from `offset` as far as the file goes; returns the bytes read.
pub(super) fn read_at<I: Image>(image: &mut I, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    image.seek(SeekFrom::Start(offset))?;
    let mut done = 0;
    while done < buffer.len() {
        match image.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Looks at the magic numbers.
pub(super) fn kind<I: Image>(image: &mut I) -> Result<Kind, BootError> {
    let mut magic = [0; 4];
    let read = read_at(image, 0, &mut magic).map_err(BootError::ReadKernel)?;
    if read == 4 && &magic == b"\x7fELF" {
        return Ok(Kind::Elf);
    }
    let read = read_at(image, BZIMAGE_MAGIC_OFFSET, &mut magic).map_err(BootError::ReadKernel)?;
    if read == 4 && &magic == b"HdrS" { Ok(Kind::BzImage) } else { Err(BootError::UnknownImage) }
}

/// A guest memory error from copying a file in is the file's fault if the range was checked before.
pub(super) fn io_error(error: vm_memory::GuestMemoryError) -> io::Error {
    match error {
        vm_memory::GuestMemoryError::IOError(e) => e,
        other => io::Error::other(other),
    }
}
