// SPDX-License-Identifier: Apache-2.0
//! Messages over a stream socket: sending one whole with its file descriptors, and cutting what arrives
//! into messages. Buffers are made once; a peer cannot make them grow.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::wire::{HEADER_LEN, Header, MAX_MESSAGE, WireError};
use crate::function::received::Received;

/// Descriptors that one message may bring before the connection is given up: more than peers are told.
const MOST_FDS: usize = 32;

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// The socket is ready, or has ended.
    Socket,
    /// The other descriptor is readable.
    Stop,
    /// The time is over.
    Late,
}

/// Waits until `socket` is ready for `what` or `stop` is readable.
pub(super) fn wait(
    socket: BorrowedFd<'_>,
    what: PollFlags,
    stop: Option<BorrowedFd<'_>>,
    until: Option<Instant>,
) -> io::Result<Ready> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: left.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        // A descriptor without flags asked for reports nothing but its end.
        let mut fds = [PollFd::from_borrowed_fd(socket, what), PollFd::from_borrowed_fd(socket, PollFlags::empty())];
        if let Some(stop) = stop {
            fds[1] = PollFd::from_borrowed_fd(stop, PollFlags::IN);
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(Ready::Late),
            Ok(_) if stop.is_some() && !fds[1].revents().is_empty() => return Ok(Ready::Stop),
            Ok(_) => return Ok(Ready::Socket),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends `message` with `fds`. What does not fit is waited for until `until`, and not longer than until
/// `stop` is readable; then the peer has half a message, and the connection is of no more use.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    fds: &[BorrowedFd<'_>],
    stop: Option<BorrowedFd<'_>>,
    patience: Duration,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("more file descriptors than one message can have"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let mut left = message;
    let mut until = None;
    while !left.is_empty() {
        match sendmsg(socket, &[IoSlice::new(left)], &mut control, flags) {
            Ok(sent) => {
                left = left.get(sent..).unwrap_or_default();
                // Descriptors go with the first byte.
                control.clear();
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let until = *until.get_or_insert_with(|| Instant::now() + patience);
                match wait(socket, PollFlags::OUT, stop, Some(until))? {
                    Ready::Socket => {}
                    Ready::Stop => return Err(io::ErrorKind::Interrupted.into()),
                    Ready::Late => return Err(io::ErrorKind::TimedOut.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A message that has arrived whole.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub header: Header,
    pub payload: &'a [u8],
    /// What came with it.
    pub fds: Vec<Received>,
}

/// Cuts what arrives into messages.
pub(super) struct Receiver {
    buffer: Box<[u8]>,
    /// Bytes that have arrived and were not handed out: `start..end` of the buffer.
    start: usize,
    end: usize,
    /// Bytes handed out before `start`, since the connection began.
    passed: u64,
    /// Descriptors, each with how many bytes had arrived when it came. The kernel ends a read where
    /// descriptors came with it, so they belong to the message that the read ended in.
    fds: Vec<(u64, Received)>,
    /// Whether descriptors are wanted.
    takes_fds: bool,
}

impl Receiver {
    pub(super) fn new() -> Self {
        let buffer = vec![0; MAX_MESSAGE].into_boxed_slice();
        Self { buffer, start: 0, end: 0, passed: 0, fds: Vec::with_capacity(MOST_FDS), takes_fds: true }
    }

    /// From now on the kernel keeps descriptors that come, and the message that they come with is an error.
    pub(super) fn refuse_fds(&mut self) {
        self.takes_fds = false;
    }

    /// Whether a message has begun to arrive.
    pub(super) fn has_part(&self) -> bool {
        self.start != self.end
    }

    /// The next message, if it is there.
    pub(super) fn next(&mut self) -> Result<Option<Message<'_>>, WireError> {
        let have = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some(header) = have.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let header = Header::decode(header)?;
        let size = header.size as usize;
        if have.len() < size {
            return Ok(None);
        }
        let from = self.start;
        self.start += size;
        self.passed += size as u64;
        let theirs = self.fds.iter().take_while(|(at, _)| *at <= self.passed).count();
        let fds = self.fds.drain(..theirs).map(|(_, fd)| fd).collect();
        let payload = self.buffer.get(from + HEADER_LEN..from + size).unwrap_or_default();
        Ok(Some(Message { header, payload, fds }))
    }

    /// Reads what there is, and waits for something unless told not to. `false` if the peer has ended
    /// the connection. An error of kind `WouldBlock` is not an error.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, dont_wait: bool) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() || self.start + HEADER_LEN > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let room = if self.takes_fds { space.as_mut_slice() } else { &mut [] };
        let mut control = RecvAncillaryBuffer::new(room);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        if dont_wait {
            flags |= RecvFlags::DONTWAIT;
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let received = loop {
            match recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        self.end += received.bytes;
        let at = self.passed + (self.end - self.start) as u64;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds.map(|fd| (at, fd.into())));
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || self.fds.len() > MOST_FDS {
            return Err(io::Error::other("a message came with file descriptors that nobody asked for"));
        }
        Ok(received.bytes != 0)
    }
}
