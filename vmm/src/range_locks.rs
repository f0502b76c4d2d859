// SPDX-License-Identifier: Apache-2.0
//! Locks on ranges of a file that belong to the open file and not to the process (`F_OFD_SETLK`, fcntl(2)),
//! for which std and rustix have no call. May touch nothing but the lock.
#![allow(unsafe_code)] // Two calls of fcntl.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Kinds of locks. Any number of readers have a byte, or one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Shared.
    Read,
    /// Exclusive. Taking one needs a file that is open for writing.
    Write,
}

/// Locks `bytes`, which are not empty, until `file` and all its duplicates are closed. Never waits.
///
/// # Errors
/// `WouldBlock` if somebody else has a lock in the way; what the system says.
pub(crate) fn try_lock(file: &File, bytes: Range<u32>, kind: Kind) -> io::Result<()> {
    let lock = flock(bytes, kind);
    // SAFETY: F_OFD_SETLK reads a `struct flock`, which lives past the call, and the descriptor is open.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whether `bytes` could be locked, which does not lock them.
///
/// # Errors
/// What the system says.
pub(crate) fn can_lock(file: &File, bytes: Range<u32>, kind: Kind) -> io::Result<bool> {
    let mut lock = flock(bytes, kind);
    // SAFETY: F_OFD_GETLK reads and writes a `struct flock`, which lives past the call, and the descriptor is open.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(i32::from(lock.l_type) == libc::F_UNLCK),
    }
}

fn flock(bytes: Range<u32>, kind: Kind) -> libc::flock {
    let kind = match kind {
        Kind::Read => libc::F_RDLCK,
        Kind::Write => libc::F_WRLCK,
    };
    libc::flock {
        // Each is a small number.
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: bytes.start.into(),
        l_len: bytes.end.saturating_sub(bytes.start).into(),
        // As OFD locks want it.
        l_pid: 0,
    }
}
