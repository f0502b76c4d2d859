// SPDX-License-Identifier: Apache-2.0
//! The host's end of a network card: a tap, a socket for datagrams, or the loopback host. Frames in, frames out, one
//! at a time. Nothing here waits, whatever a peer does that has a duplicate of the descriptor: O_NONBLOCK belongs to
//! the open file, and any process that shares it may clear it, so each call asks not to wait.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2, read, write};
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

use super::loopback;
use crate::function::tap::{self, Tap};

/// Frames of the loopback host that wait for a buffer; the oldest go.
pub(super) const MAX_WAITING: usize = 64;
/// Reads and writes at this offset are those of a file that has no offsets (readv(2), "preadv2").
const NO_OFFSET: u64 = u64::MAX;

/// What the frames go to.
#[derive(Debug)]
pub enum NetBackend {
    /// A tap device, opened by [`crate::function::tap::open`], or a socket whose datagrams are frames.
    Tap(Tap),
    /// A host in this process that answers ARP and ping for every IPv4 address.
    Loopback,
}

/// What a look for a frame found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A frame of this many bytes, without its header.
    Frame(usize),
    /// Something that is not a frame, and is gone now.
    NoFrame,
    /// Nothing now.
    Nothing,
    /// Nothing now or ever.
    Ended,
}

/// Which calls do not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A socket for datagrams or sequenced packets.
    Socket,
    /// A tap whose driver takes RWF_NOWAIT.
    Tap,
    /// One whose driver does not, as that of Linux before 6.5: O_NONBLOCK is set again each time.
    OldTap,
}

/// The host's end.
pub(super) enum Wire {
    /// A tap or a socket of the host.
    Host { file: File, kind: Kind, vnet_hdr: bool },
    /// The host in this process.
    Loopback { waiting: VecDeque<Vec<u8>> },
}

impl Wire {
    /// What `backend` is.
    pub(super) fn new(backend: NetBackend) -> Self {
        match backend {
            NetBackend::Loopback => Self::Loopback { waiting: VecDeque::with_capacity(MAX_WAITING) },
            NetBackend::Tap(Tap { file, vnet_hdr }) => {
                let kind = if sockopt::socket_type(&file).is_ok() { Kind::Socket } else { Kind::Tap };
                Self::Host { file, kind, vnet_hdr }
            }
        }
    }

    /// Whether frames have a `virtio_net_hdr` in front, which asks for offloads.
    pub(super) fn has_header(&self) -> bool {
        matches!(self, Self::Host { vnet_hdr: true, .. })
    }

    /// A descriptor that is readable while there are frames.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        match self {
            Self::Host { file, .. } => Some(file.as_raw_fd()),
            Self::Loopback { .. } => None,
        }
    }

    /// Whether the loopback host has frames.
    pub(super) fn has_answers(&self) -> bool {
        matches!(self, Self::Loopback { waiting } if !waiting.is_empty())
    }

    /// Forgets the answers of the loopback host.
    pub(super) fn reset(&mut self) {
        if let Self::Loopback { waiting } = self {
            waiting.clear();
        }
    }

    /// Sends a frame: `packet` is a header of [`tap::HEADER_LEN`] bytes, and the frame. What the other end does not
    /// take is lost: a tap refuses frames whose header makes no sense, and drops when it is full or down; to the guest
    /// all that is a lossy wire.
    pub(super) fn send(&mut self, packet: &[u8]) {
        let Some(frame) = packet.get(tap::HEADER_LEN..) else { return };
        let sent = match self {
            Self::Host { file, kind, vnet_hdr } => host_send(file, kind, if *vnet_hdr { packet } else { frame }),
            Self::Loopback { waiting } => {
                if let Some(reply) = loopback::answer(frame) {
                    if waiting.len() == MAX_WAITING {
                        waiting.pop_front();
                    }
                    waiting.push_back(reply);
                }
                Ok(())
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "the host did not take a frame");
        }
    }

    /// Puts the next frame into `packet`, after a header of [`tap::HEADER_LEN`] bytes.
    pub(super) fn receive(&mut self, packet: &mut [u8]) -> Received {
        let Some((header, frame)) = packet.split_at_mut_checked(tap::HEADER_LEN) else { return Received::Nothing };
        header.fill(0);
        match self {
            Self::Host { file, kind, vnet_hdr } => {
                let (header, room) = if *vnet_hdr { (tap::HEADER_LEN, packet) } else { (0, frame) };
                host_receive(file, kind, header, room)
            }
            Self::Loopback { waiting } => {
                let Some(reply) = waiting.pop_front() else { return Received::Nothing };
                let Some(room) = frame.get_mut(..reply.len()) else { return Received::NoFrame };
                room.copy_from_slice(&reply);
                Received::Frame(reply.len())
            }
        }
    }
}

/// Says that nothing more comes.
pub(super) fn ended(reason: impl std::fmt::Display) -> Received {
    tracing::warn!(%reason, "the network's host end is gone; the guest receives nothing more from it");
    Received::Ended
}

/// Puts the next frame into `room`, `header` bytes of which are its header.
fn host_receive(file: &File, kind: &mut Kind, header: usize, room: &mut [u8]) -> Received {
    let most = room.len();
    match host_read(file, kind, room) {
        // The end, or a datagram without bytes. A tap has neither.
        Ok(0) if *kind != Kind::Socket || is_at_end(file) => ended("its peer ended it"),
        // One that is longer than any frame was cut.
        Ok(len) if len <= header || len > most => Received::NoFrame,
        Ok(len) => Received::Frame(len - header),
        // What befell frames that were sent is told here, once.
        Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) if *kind == Kind::Socket => Received::NoFrame,
        Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
        Err(error) => ended(error),
    }
}

/// Whether a socket will give nothing more, because it or its peer was shut down or closed.
fn is_at_end(file: &File) -> bool {
    let mut descriptors = [PollFd::new(file, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Errors do not happen to one valid descriptor; a socket that cannot be asked is of no use.
    poll(&mut descriptors, Some(&now)).is_err() || !descriptors[0].revents().is_empty()
}

fn host_read(file: &File, kind: &mut Kind, room: &mut [u8]) -> Result<usize, Errno> {
    if *kind == Kind::Socket {
        return recv(file, room, RecvFlags::DONTWAIT | RecvFlags::TRUNC).map(|(_, len)| len);
    }
    if *kind == Kind::Tap {
        match preadv2(file, &mut [IoSliceMut::new(room)], NO_OFFSET, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP) => *kind = Kind::OldTap,
            result => return result,
        }
    }
    do_not_wait(file)?;
    read(file, room)
}

fn host_send(file: &File, kind: &mut Kind, packet: &[u8]) -> Result<(), Errno> {
    if *kind == Kind::Socket {
        return send(file, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop);
    }
    if *kind == Kind::Tap {
        match pwritev2(file, &[IoSlice::new(packet)], NO_OFFSET, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP) => *kind = Kind::OldTap,
            result => return result.map(drop),
        }
    }
    do_not_wait(file)?;
    write(file, packet).map(drop)
}

fn do_not_wait(file: &File) -> Result<(), Errno> {
    let flags = fcntl_getfl(file)?;
    if flags.contains(OFlags::NONBLOCK) { Ok(()) } else { fcntl_setfl(file, flags | OFlags::NONBLOCK) }
}
