// SPDX-License-Identifier: Apache-2.0
//! For tests: a function, and ends of sockets that say what they like.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::channel;
use super::version::Capabilities;
use super::wire::{HEADER_LEN, Header, Request};
use crate::contract::mock::MockFunction;
use crate::function::Region;

pub(super) use crate::contract::mock::{PATIENCE, wait_until as eventually};

pub(super) const VECTORS: u16 = 40;

/// A function. BAR 2 has 16 KiB, there are [`VECTORS`] vectors of MSI-X, 4 of MSI, and INTx.
pub(super) fn mock_function() -> Arc<MockFunction> {
    let bar = Region { size: 0x4000, is_io: false, is_64bit: false, prefetchable: true };
    let function = MockFunction::new("mock").with_config(0, &[0xf4, 0x1a, 0x42, 0x10]).with_config(0x18, &[8]);
    Arc::new(function.with_bar(2, bar).with_memory(2).with_vectors(VECTORS, 4).with_intx())
}

pub(super) fn event() -> EventFd {
    EventFd::new(EFD_NONBLOCK).unwrap()
}

/// A memfd that nobody can make shorter.
pub(super) fn sealed(len: u64) -> File {
    let file = File::from(memfd_create("bar", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap());
    file.set_len(len).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    file
}

/// A peer that is driven by hand. Reads give up after [`PATIENCE`].
pub(super) struct Peer(pub UnixStream);

impl Peer {
    /// Two ends: one by hand, one for what is tested.
    pub(super) fn pair() -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        (Self(ours), theirs)
    }

    pub(super) fn send(&self, header: &Header, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        let message = [&header.encode(), payload].concat();
        channel::send(self.0.as_fd(), &message, fds, None, PATIENCE).unwrap();
    }

    pub(super) fn request(&self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        self.send(&Header::request(7, request.command(), payload.len()), &payload, fds);
    }

    /// The next message; `None` at the end of the connection.
    pub(super) fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).ok()?;
        let header = Header::decode(&header).unwrap();
        let mut payload = vec![0; header.payload()];
        self.0.read_exact(&mut payload).unwrap();
        Some((header, payload))
    }

    /// Asks, and gives the reply or its errno.
    pub(super) fn ask(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> std::result::Result<Vec<u8>, u32> {
        self.request(request, fds);
        let (header, payload) = self.receive().expect("a reply");
        assert!(header.is_reply() && header.id == 7 && header.command == request.command());
        header.error().map_or(Ok(payload), Err)
    }

    pub(super) fn negotiate(&mut self) {
        let text = Capabilities::ours().encode(true);
        self.ask(&Request::Version { major: 0, minor: 1, text: &text }, &[]).unwrap();
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        // The other side may have hung up, which is what some tests want.
        let _ = self.0.write_all(bytes);
    }
}
