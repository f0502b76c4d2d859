// SPDX-License-Identifier: Apache-2.0
//! Eventfds that another process has as well. Such a process can switch `O_NONBLOCK` off, which belongs
//! to the open file and not to the descriptor, and fill or empty the counter: a plain `write` or `read`
//! would then wait for it as long as it likes, perhaps with a device's lock held. What is here never waits.
//!
//! Reading without waiting is `RWF_NOWAIT`. For writing there is no such flag, and looking with `poll`
//! before is a race that a hostile process wins. The kernel itself signals eventfds without waiting when
//! something is completed, and asynchronous I/O (`io_submit(2)`, `IOCB_FLAG_RESFD`) is a system call that
//! completes something: here a read of nothing. May touch nothing but the descriptors it is given.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use vmm_sys_util::eventfd::EventFd;

/// Completions that the kernel keeps for us before they have to be fetched; it rounds up.
const COMPLETIONS: libc::c_long = 64;
/// Tries to find room among them; one is enough unless other threads take it.
const TRIES: u32 = 1000;
/// `IOCB_CMD_PREAD` and `IOCB_FLAG_RESFD` of `linux/aio_abi.h`.
const PREAD: u16 = 0;
const RESFD: u32 = 1;

static AIO: OnceLock<Option<Aio>> = OnceLock::new();

/// Makes what [`signal`] needs, which else its first call does: a thread that signals may not be one that may make it.
pub fn prepare() {
    AIO.get_or_init(Aio::new);
}

/// Adds 1 to the counter; one that is full stays as it is, as it is signalled already. Never waits.
///
/// # Errors
/// What `io_submit(2)` says; `EINVAL` for a descriptor that is not an eventfd.
pub fn signal(event: &EventFd) -> io::Result<()> {
    match AIO.get_or_init(Aio::new) {
        Some(aio) => aio.signal(event),
        None => signal_if_writable(event),
    }
}

/// Takes what was signalled since the last time; `None` if nothing was. Never waits.
pub fn take(event: &EventFd) -> Option<u64> {
    let mut count = [0; 8];
    // An eventfd has no position: "where it is".
    let read = preadv2(borrow(event), &mut [IoSliceMut::new(&mut count)], u64::MAX, ReadWriteFlags::NOWAIT);
    match read {
        Ok(8) => Some(u64::from_ne_bytes(count)),
        // Linux before 5.12. The flag of the file has to do there.
        Err(Errno::OPNOTSUPP) => event.read().ok(),
        _ => None,
    }
}

/// An eventfd as a descriptor of rustix' kind.
pub fn borrow(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the eventfd is open for as long as it is borrowed.
    #[allow(unsafe_code)]
    unsafe {
        BorrowedFd::borrow_raw(event.as_raw_fd())
    }
}

/// For kernels without asynchronous I/O. Between the look and the write somebody may fill the counter.
fn signal_if_writable(event: &EventFd) -> io::Result<()> {
    let mut fds = [PollFd::from_borrowed_fd(borrow(event), PollFlags::OUT)];
    match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Ok(()),
        _ => event.write(1),
    }
}

/// `struct iocb` of `linux/aio_abi.h`, little-endian.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

/// `struct io_event` of `linux/aio_abi.h`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct IoEvent {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

/// A context of asynchronous I/O, for the whole process; the kernel ends it with the process.
struct Aio {
    context: libc::c_ulong,
    /// An empty file: reading from it completes at once.
    empty: OwnedFd,
}

#[allow(unsafe_code)]
impl Aio {
    fn new() -> Option<Self> {
        let empty = memfd_create("heirloom-nothing", MemfdFlags::CLOEXEC).ok()?;
        let mut context: libc::c_ulong = 0;
        // SAFETY: io_setup takes a number and a pointer to a zeroed `aio_context_t`, which lives past the
        // call.
        let done = unsafe { libc::syscall(libc::SYS_io_setup, COMPLETIONS, &raw mut context) };
        if done != 0 {
            let error = io::Error::last_os_error();
            tracing::warn!(%error, "no asynchronous I/O: a peer that fills its eventfds can hold a device up");
            return None;
        }
        Some(Self { context, empty })
    }

    fn signal(&self, event: &EventFd) -> io::Result<()> {
        let mut request = Iocb {
            opcode: PREAD,
            file: self.empty.as_raw_fd() as u32,
            flags: RESFD,
            eventfd: event.as_raw_fd() as u32,
            ..Iocb::default()
        };
        for _ in 0..TRIES {
            let requests = [&raw mut request];
            // SAFETY: the context is of io_setup and never destroyed; `requests` is one pointer to a whole
            // `struct iocb`, and both live past the call. The request names a buffer of 0 bytes.
            let sent =
                unsafe { libc::syscall(libc::SYS_io_submit, self.context, 1 as libc::c_long, requests.as_ptr()) };
            if sent == 1 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // Full of completions. Each round fetches some, or another thread did and there is room.
                Some(libc::EAGAIN) => self.fetch()?,
                _ => return Err(error),
            }
        }
        signal_if_writable(event)
    }

    /// Makes room for completions; they say nothing of interest.
    fn fetch(&self) -> io::Result<()> {
        let mut done = [IoEvent::default(); COMPLETIONS as usize];
        let none = std::ptr::null_mut::<libc::timespec>();
        // SAFETY: at least 0 and at most `COMPLETIONS` events are written, which is the length of `done`;
        // a null timeout with a minimum of 0 does not wait.
        let fetched = unsafe {
            libc::syscall(libc::SYS_io_getevents, self.context, 0 as libc::c_long, COMPLETIONS, done.as_mut_ptr(), none)
        };
        if fetched < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "eventfds_tests.rs"]
mod tests;
