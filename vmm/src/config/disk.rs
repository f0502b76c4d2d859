// SPDX-License-Identifier: Apache-2.0
//! Disk images: raw files and block devices, locked while in use.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Bytes of a sector; virtio counts in these.
const SECTOR: u64 = 512;

/// An open disk image.
#[derive(Debug)]
pub struct Disk {
    /// The image, locked against other virtual machines for as long as it is open.
    pub file: File,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes; a multiple of 512, not 0.
    pub size: u64,
    /// The guest may not write.
    pub readonly: bool,
}

/// Why an image cannot be a disk.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The system says no.
    #[error("cannot open the disk image {}{}", path.display(), hint(source, *readonly))]
    Open {
        /// The image.
        path: PathBuf,
        /// How it was to be opened.
        readonly: bool,
        /// Why not.
        source: io::Error,
    },
    /// Neither a file nor a block device.
    #[error("the disk image {} is neither a regular file nor a block device", path.display())]
    Kind {
        /// The image.
        path: PathBuf,
    },
    /// No whole number of sectors.
    #[error("the disk image {} has {size} bytes, which is not a multiple of 512: extend it with 'truncate -s {} {}'",
        path.display(), size.next_multiple_of(SECTOR), path.display())]
    Size {
        /// The image.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// Nothing in it.
    #[error("the disk image {} is empty: give it a size with 'truncate -s 1G {}'", path.display(), path.display())]
    Empty {
        /// The image.
        path: PathBuf,
    },
    /// Somebody else has it.
    #[error("the disk image {} is in use by another device or process; two may share it if both say readonly=on", path.display())]
    InUse {
        /// The image.
        path: PathBuf,
    },
}

fn hint(source: &io::Error, readonly: bool) -> &'static str {
    let write_refused = matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
    if write_refused && !readonly { " for writing (readonly=on makes it a read-only disk)" } else { "" }
}

impl Disk {
    /// Opens and locks an image.
    pub fn open(path: &Path, readonly: bool) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Open { path: path.to_owned(), readonly, source };
        // Looked at before it is opened: opening a FIFO would wait, a directory says something odd.
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(DiskError::Kind { path: path.to_owned() });
        }
        let mut file = OpenOptions::new().read(true).write(!readonly).open(path).map_err(failed)?;
        // The end of a block device is where seeking to its end goes; its metadata says 0.
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size == 0 {
            return Err(DiskError::Empty { path: path.to_owned() });
        }
        if !size.is_multiple_of(SECTOR) {
            return Err(DiskError::Size { path: path.to_owned(), size });
        }
        let lock = if readonly { file.try_lock_shared() } else { file.try_lock() };
        match lock {
            Ok(()) => Ok(Self { file, path: path.to_owned(), size, readonly }),
            Err(TryLockError::WouldBlock) => Err(DiskError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
