// SPDX-License-Identifier: Apache-2.0
//! Descriptors that another process sent. What is behind one may be a file system that the sender serves
//! itself (FUSE): an access to a page of it, `fstat`, `fstatfs`, and even `close` wait for the sender then,
//! and not even SIGKILL ends that. So the kind of a descriptor is found out without asking a file system, and
//! whatever is neither memory nor an eventfd is used for nothing and closed on a thread that nobody waits
//! for. May touch nothing but the descriptors.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{SealFlags, fcntl_get_seals};

use crate::contract::threads::{self, ThreadKind};

/// Threads that may wait in a `close` at once. With more, the one that would need another waits itself.
const MOST_CLOSERS: usize = 64;

static CLOSERS: AtomicUsize = AtomicUsize::new(0);

/// A descriptor of another process, of a kind that is not known yet.
#[derive(Debug)]
pub struct Received(Option<OwnedFd>);

impl From<OwnedFd> for Received {
    fn from(fd: OwnedFd) -> Self {
        Self(Some(fd))
    }
}

impl Received {
    /// The file, if it is one in memory: of tmpfs, memfds included, or of hugetlbfs.
    pub fn memory(mut self) -> Option<File> {
        self.0.take_if(|fd| seals(fd.as_fd()).is_some()).map(File::from)
    }

    /// The file, if it is one in memory that nobody can make shorter: a memfd with the seal
    /// `F_SEAL_SHRINK`. Only such a file can be mapped without a thought about SIGBUS.
    pub fn lasting_memory(mut self) -> Option<File> {
        self.0.take_if(|fd| seals(fd.as_fd()).is_some_and(|seals| seals.contains(SealFlags::SHRINK))).map(File::from)
    }

    /// Whether it is a file or something else that has a path; what is not can never be memory.
    pub fn has_path(&self) -> bool {
        self.0.as_ref().and_then(|fd| link(fd.as_fd())).is_some_and(|link| link.is_absolute())
    }

    /// The descriptor, if it is an eventfd: a write to a pipe could wait.
    pub fn eventfd(mut self) -> Option<OwnedFd> {
        self.0.take_if(|fd| is_eventfd(fd.as_fd()))
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let Some(fd) = self.0.take() else { return };
        if seals(fd.as_fd()).is_none() && !is_eventfd(fd.as_fd()) {
            close_aside(fd);
        }
    }
}

/// The seals of a file in memory; `None` for any other. The kernel answers from the open file only.
fn seals(fd: BorrowedFd<'_>) -> Option<SealFlags> {
    fcntl_get_seals(fd).ok()
}

fn is_eventfd(fd: BorrowedFd<'_>) -> bool {
    link(fd).is_some_and(|link| link.as_os_str() == "anon_inode:[eventfd]")
}

/// What the kernel calls it: a path, or a word for what has none.
fn link(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
}

fn close_aside(fd: OwnedFd) {
    if CLOSERS.fetch_add(1, Ordering::Relaxed) < MOST_CLOSERS {
        let close = move || {
            drop(fd);
            CLOSERS.fetch_sub(1, Ordering::Relaxed);
        };
        if threads::spawn(ThreadKind::Helper, "close", close).is_ok() {
            return;
        }
    }
    // Here the descriptor is closed on this thread, or was with the closure.
    CLOSERS.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
#[path = "received_tests.rs"]
mod tests;
