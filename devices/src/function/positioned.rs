// SPDX-License-Identifier: Apache-2.0
//! Positioned reads and writes between a file and memory that somebody else may change meanwhile, such as a guest's:
//! one system call for all the pieces of a request, no copy, no file position. Knows no device.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use vm_memory::VolatileSlice;

/// Most pieces of one call; the kernel takes no more (`UIO_MAXIOV`, include/uapi/linux/uio.h).
const MOST_PIECES: usize = 1024;

/// Reads from byte `offset` of `file` into `pieces`, in order; of more than 1024 pieces the first 1024. Returns how
/// many bytes were read: fewer than there is room for at the end of the file, or if a part would have to wait.
///
/// # Errors
/// As preadv2(2). With `nowait` also `WouldBlock`, rather than wait for anything, and EOPNOTSUPP where the file does not
/// know how not to.
#[allow(unsafe_code)]
pub fn read_at(file: &File, pieces: &[VolatileSlice<'_>], offset: u64, nowait: bool) -> io::Result<usize> {
    let guards: Vec<_> = pieces.iter().take(MOST_PIECES).map(VolatileSlice::ptr_guard_mut).collect();
    let vectors = guards.iter().map(|guard| libc::iovec { iov_base: guard.as_ptr().cast(), iov_len: guard.len() });
    let vectors: Vec<_> = vectors.collect();
    let (count, offset) = bounds(&vectors, offset)?;
    // SAFETY: `file` is an open descriptor, `vectors` are `count` of them, and each is memory that may be written for
    // as long as its guard lives, which is past the call. That others change it meanwhile is allowed for a
    // `VolatileSlice`, and no reference into it exists.
    let done = unsafe { libc::preadv2(file.as_raw_fd(), vectors.as_ptr(), count, offset, flags(nowait)) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// Writes `pieces`, in order, to `file` from byte `offset` on; of more than 1024 pieces the first 1024. Returns how
/// many bytes were written.
///
/// # Errors
/// As pwritev2(2). With `nowait` also `WouldBlock`, rather than wait for anything, and EOPNOTSUPP where the file does not
/// know how not to.
#[allow(unsafe_code)]
pub fn write_at(file: &File, pieces: &[VolatileSlice<'_>], offset: u64, nowait: bool) -> io::Result<usize> {
    let guards: Vec<_> = pieces.iter().take(MOST_PIECES).map(VolatileSlice::ptr_guard).collect();
    let vectors =
        guards.iter().map(|guard| libc::iovec { iov_base: guard.as_ptr().cast_mut().cast(), iov_len: guard.len() });
    let vectors: Vec<_> = vectors.collect();
    let (count, offset) = bounds(&vectors, offset)?;
    // SAFETY: `file` is an open descriptor, `vectors` are `count` of them, and each is memory that may be read for as
    // long as its guard lives, which is past the call; the kernel only reads it.
    let done = unsafe { libc::pwritev2(file.as_raw_fd(), vectors.as_ptr(), count, offset, flags(nowait)) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

fn flags(nowait: bool) -> libc::c_int {
    if nowait { libc::RWF_NOWAIT } else { 0 }
}

fn bounds(vectors: &[libc::iovec], offset: u64) -> io::Result<(libc::c_int, libc::off_t)> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    Ok((libc::c_int::try_from(vectors.len()).map_err(invalid)?, libc::off_t::try_from(offset).map_err(invalid)?))
}

#[cfg(test)]
#[path = "positioned_tests.rs"]
mod tests;
