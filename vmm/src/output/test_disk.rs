// SPDX-License-Identifier: Apache-2.0
//! For tests: a disk that is full until it is not.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::Output;

/// Takes this many bytes, and keeps them. Clones are the same one.
#[derive(Clone)]
pub(crate) struct TestDisk(Arc<Mutex<(usize, Vec<u8>)>>);

impl TestDisk {
    /// With room for this many bytes.
    pub(crate) fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new((room, Vec::new()))))
    }

    /// Has room for this many bytes from now on.
    pub(crate) fn set_room(&self, room: usize) {
        self.0.lock().unwrap().0 = room;
    }

    /// What it took.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.0.lock().unwrap().1.clone()
    }

    /// A file on it.
    pub(crate) fn output(&self) -> Output {
        Output::other("disk", Box::new(self.clone()))
    }
}

impl Write for TestDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        let count = disk.0.min(bytes.len());
        if count == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        disk.0 -= count;
        disk.1.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
