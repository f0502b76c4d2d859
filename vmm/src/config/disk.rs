// SPDX-License-Identifier: Apache-2.0
//! Disk images: raw files and block devices, locked while in use.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::range_locks::{self, Kind};
use crate::waits;

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
    /// The device's number, if it is a block device.
    device: Option<u64>,
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
    #[error("the disk image {} is in use: {by}; two may share it if both say readonly=on", path.display())]
    InUse {
        /// The image.
        path: PathBuf,
        /// How that is known.
        by: Holder,
    },
}

/// Who has an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Holder {
    /// Somebody with a lock of the whole file, as each of our devices has one.
    #[error("another device or virtual machine has it (flock)")]
    Locked,
    /// Somebody with locks where QEMU has them.
    #[error("another program has it, such as QEMU or qemu-img (locks of bytes 100 to 299; /proc/locks lists who)")]
    Qemu,
    /// The kernel: a file system, a swap, or somebody who opened the device alone.
    #[error("the block device is mounted, or another program has it for itself (see lsblk, /proc/swaps)")]
    Exclusive,
    /// Another disk of this configuration, by another name.
    #[error("another disk of this configuration is the same block device")]
    SameDevice,
}

/// Where QEMU has its locks (block/file-posix.c, `RAW_LOCK_PERM_BASE` and `RAW_LOCK_SHARED_BASE`): byte 100 + n for a
/// permission n that it uses, 200 + n for one that it does not grant to others.
const QEMU_LOCKS: Range<u32> = 100..300;
const USED: u32 = 100;
const NOT_GRANTED: u32 = 200;
/// QEMU's permissions (block/block-common.h, `BLK_PERM_*`), by bit.
const CONSISTENT_READ: u32 = 0;
const WRITE: u32 = 1;
const RESIZE: u32 = 3;

/// The block devices among the disks of one configuration: each once, or all readers. Two nodes of one device have
/// locks of their own, and a reader's device is not opened exclusively, so that others may read it.
#[derive(Debug, Default)]
pub struct BlockDevices(BTreeMap<u64, bool>);

impl BlockDevices {
    /// One more disk.
    ///
    /// # Errors
    /// [`Holder::SameDevice`].
    pub fn add(&mut self, disk: &Disk) -> Result<(), DiskError> {
        let Some(device) = disk.device else { return Ok(()) };
        match self.0.insert(device, disk.readonly) {
            Some(readonly) if !(readonly && disk.readonly) => {
                Err(DiskError::InUse { path: disk.path.clone(), by: Holder::SameDevice })
            }
            _ => Ok(()),
        }
    }
}

fn hint(source: &io::Error, readonly: bool) -> &'static str {
    let write_refused = matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
    if write_refused && !readonly { " for writing (readonly=on makes it a read-only disk)" } else { "" }
}

impl Disk {
    /// Opens and locks an image. A block device that is to be written is opened for nobody else.
    pub fn open(path: &Path, readonly: bool) -> Result<Self, DiskError> {
        waits::during(&format!("opening the disk image {}", path.display()), || Self::open_now(path, readonly))
    }

    fn open_now(path: &Path, readonly: bool) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Open { path: path.to_owned(), readonly, source };
        // Looked at before it is opened: opening a FIFO would wait, a directory says something odd.
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(DiskError::Kind { path: path.to_owned() });
        }
        // A block device that is opened exclusively is not mounted, and cannot be mounted then.
        let exclusive = if kind.is_block_device() && !readonly { libc::O_EXCL } else { 0 };
        let opened = OpenOptions::new().read(true).write(!readonly).custom_flags(exclusive).open(path);
        let mut file = opened.map_err(|source| match source.kind() {
            io::ErrorKind::ResourceBusy => DiskError::InUse { path: path.to_owned(), by: Holder::Exclusive },
            _ => failed(source),
        })?;
        // The end of a block device is where seeking to its end goes; its metadata says 0.
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size == 0 {
            return Err(DiskError::Empty { path: path.to_owned() });
        }
        if !size.is_multiple_of(SECTOR) {
            return Err(DiskError::Size { path: path.to_owned(), size });
        }
        match lock(&file, readonly).map_err(failed)? {
            Some(by) => Err(DiskError::InUse { path: path.to_owned(), by }),
            None => {
                let device = file.metadata().map_err(failed)?;
                let device = kind.is_block_device().then(|| device.rdev());
                Ok(Self { file, path: path.to_owned(), size, readonly, device })
            }
        }
    }
}

/// Locks an image in both ways, ours and QEMU's, for as long as it is open; who has it if somebody has.
fn lock(file: &File, readonly: bool) -> io::Result<Option<Holder>> {
    match if readonly { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Some(Holder::Locked)),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let locked = if readonly { lock_as_reader(file) } else { range_locks::try_lock(file, QEMU_LOCKS, Kind::Write) };
    match locked {
        Ok(()) => Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(Some(Holder::Qemu)),
        Err(error) => Err(error),
    }
}

/// As a reader in QEMU: says that it reads, and that nobody may write or resize; then looks that nobody does.
fn lock_as_reader(file: &File) -> io::Result<()> {
    for byte in [USED + CONSISTENT_READ, NOT_GRANTED + WRITE, NOT_GRANTED + RESIZE] {
        range_locks::try_lock(file, byte..byte + 1, Kind::Read)?;
    }
    for byte in [USED + WRITE, USED + RESIZE, NOT_GRANTED + CONSISTENT_READ] {
        if !range_locks::can_lock(file, byte..byte + 1, Kind::Write)? {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
