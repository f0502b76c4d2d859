// SPDX-License-Identifier: Apache-2.0
//! The client's end of a vfio-user connection: many threads ask, each gets its own reply, within a
//! deadline.
//!
//! Whoever waits for a reply reads the socket, and hands other callers their replies. So a
//! register access is one `sendmsg` and one `recvmsg` on the caller's thread, and nothing is allocated
//! for it. Requests of the server that come in between are queued for the watching thread.
//!
//! A deadline that passes ends the connection: the server is taken for dead, and every later call
//! fails at once, as a guest's register accesses would otherwise stand still for a deadline each.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::channel::{self, Receiver};
use super::wire::{HEADER_LEN, Header, Request, WireError};
use crate::function::received::Received;

/// Requests that can be under way; more wait.
const SLOTS: usize = 32;
/// Requests of the server that wait to be served; an honest server sends no more.
const MOST_QUEUED: usize = 64;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused: its errno, 0 without a reason.
    Refused(u32),
    /// The reply is nonsense, or the server broke the protocol.
    Wire(WireError),
    /// The connection is over: why, told to the call that found out.
    Lost(io::Error),
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// One request under way.
#[derive(Default)]
struct Slot {
    /// `None`: free.
    id: Option<u16>,
    reply: Option<Header>,
    payload: Vec<u8>,
    fds: Vec<Received>,
}

/// A request of the server.
pub(super) struct ServerRequest {
    pub header: Header,
    pub payload: Vec<u8>,
}

struct State {
    slots: [Slot; SLOTS],
    next_id: u16,
    /// Somebody reads the socket.
    reading: bool,
    /// How many wait for somebody else who reads.
    waiting: usize,
    incoming: VecDeque<ServerRequest>,
}

/// A connection to a server.
pub(super) struct Connection {
    socket: UnixStream,
    deadline: Duration,
    state: Mutex<State>,
    changed: Condvar,
    /// What is being sent.
    sender: Mutex<Vec<u8>>,
    receiver: Mutex<Receiver>,
    lost: AtomicBool,
    /// Wakes the watching thread: it has requests of the server to serve.
    wake: EventFd,
}

impl Connection {
    /// `deadline` is how long a request may take.
    pub(super) fn new(socket: UnixStream, deadline: Duration) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(deadline))?;
        let state = State {
            slots: std::array::from_fn(|_| Slot::default()),
            next_id: 0,
            reading: false,
            waiting: 0,
            incoming: VecDeque::new(),
        };
        Ok(Self {
            socket,
            deadline,
            state: Mutex::new(state),
            changed: Condvar::new(),
            sender: Mutex::new(Vec::with_capacity(256)),
            receiver: Mutex::new(Receiver::new()),
            lost: AtomicBool::new(false),
            wake: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?,
        })
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Readable when [`Self::next_request`] has something.
    pub(super) fn wake(&self) -> &EventFd {
        &self.wake
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection is over.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Ends the connection; whoever waits for a reply fails.
    pub(super) fn lose(&self) {
        if !self.lost.swap(true, Ordering::AcqRel) {
            // Wakes readers. It fails if the peer has ended it already.
            let _ = self.socket.shutdown(std::net::Shutdown::Both);
        }
        drop(self.state());
        self.changed.notify_all();
    }

    /// All descriptors that are wanted have come: one that comes from now on ends the connection, and this process
    /// never has it.
    pub(super) fn refuse_fds(&self) {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).refuse_fds();
    }

    /// Sends `request` with `fds`, waits for the reply and gives its payload and descriptors to `take`.
    pub(super) fn ask<T>(
        &self,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
        take: impl FnOnce(&[u8], &mut Vec<Received>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let until = Instant::now() + self.deadline;
        let (slot, id) = self.reserve(until)?;
        let result = self.send(id, request, fds).and_then(|()| self.wait(slot, until));
        if let Err(Failure::Lost(_)) = result {
            self.lose();
        }
        let mut state = self.state();
        let slot = &mut state.slots[slot];
        let taken = result.and_then(|()| {
            let reply = slot.reply.ok_or_else(|| Failure::Lost(gone()))?;
            match reply.error() {
                Some(errno) => Err(Failure::Refused(errno)),
                None => take(&slot.payload, &mut slot.fds),
            }
        });
        (slot.id, slot.reply) = (None, None);
        slot.fds.clear();
        let waiting = state.waiting;
        drop(state);
        if waiting != 0 {
            self.changed.notify_all();
        }
        taken
    }

    /// A free slot, and the id of the request in it.
    fn reserve(&self, until: Instant) -> Result<(usize, u16), Failure> {
        let mut state = self.state();
        loop {
            if self.is_lost() {
                return Err(Failure::Lost(gone()));
            }
            if let Some(free) = state.slots.iter().position(|slot| slot.id.is_none()) {
                let id = state.next_id;
                state.next_id = id.wrapping_add(1);
                state.slots[free].id = Some(id);
                return Ok((free, id));
            }
            state = self.pause(state, until)?;
        }
    }

    fn pause<'a>(&'a self, mut state: MutexGuard<'a, State>, until: Instant) -> Result<MutexGuard<'a, State>, Failure> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Lost(late(self.deadline)));
        }
        state.waiting += 1;
        let (mut state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        Ok(state)
    }

    fn send(&self, id: u16, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> Result<(), Failure> {
        let mut bytes = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.clear();
        bytes.resize(HEADER_LEN, 0);
        request.encode(&mut bytes);
        let header = Header::request(id, request.command(), bytes.len() - HEADER_LEN);
        self.transmit(&mut bytes, &header, fds).map_err(Failure::Lost)
    }

    fn transmit(&self, bytes: &mut [u8], header: &Header, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if let Some(place) = bytes.first_chunk_mut() {
            *place = header.encode();
        }
        channel::send(self.socket.as_fd(), bytes, fds, None, self.deadline)
    }

    /// Answers a request of the server with `payload` after the header, or with an errno.
    pub(super) fn reply(&self, to: Header, answer: Result<&[u8], i32>) -> io::Result<()> {
        let mut bytes = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.clear();
        bytes.resize(HEADER_LEN, 0);
        let header = match answer {
            Ok(payload) => {
                bytes.extend_from_slice(payload);
                to.reply(payload.len())
            }
            Err(errno) => to.failure(errno),
        };
        self.transmit(&mut bytes, &header, &[])
    }

    /// Waits until the slot has its reply, reading the socket if nobody else does.
    fn wait(&self, slot: usize, until: Instant) -> Result<(), Failure> {
        let mut state = self.state();
        loop {
            if state.slots[slot].reply.is_some() {
                return Ok(());
            }
            if self.is_lost() {
                return Err(Failure::Lost(gone()));
            }
            if Instant::now() >= until {
                return Err(Failure::Lost(late(self.deadline)));
            }
            if state.reading {
                state = self.pause(state, until)?;
                continue;
            }
            state.reading = true;
            drop(state);
            let read = self.read(false);
            state = self.done_reading();
            read?;
        }
    }

    fn done_reading(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.reading = false;
        if state.waiting != 0 {
            self.changed.notify_all();
        }
        state
    }

    /// Reads what there is, when nobody else does. For the watching thread: `false` if somebody waits for
    /// a reply, who will read.
    pub(super) fn read_idle(&self) -> Result<bool, Failure> {
        let mut state = self.state();
        if state.reading || state.slots.iter().any(|slot| slot.id.is_some()) {
            return Ok(false);
        }
        state.reading = true;
        drop(state);
        let read = self.read(true);
        drop(self.done_reading());
        read.map(|()| true)
    }

    /// Takes the next request of the server.
    pub(super) fn next_request(&self) -> Option<ServerRequest> {
        self.state().incoming.pop_front()
    }

    /// Reads once and hands out all messages that are whole then.
    fn read(&self, dont_wait: bool) -> Result<(), Failure> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        match receiver.fill(self.socket.as_fd(), dont_wait) {
            Ok(true) => {}
            Ok(false) => return Err(Failure::Lost(gone())),
            // The socket's own time limit is over; the caller looks at the clock.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Failure::Lost(error)),
        }
        while let Some(message) = receiver.next().map_err(broken)? {
            self.hand_out(message)?;
        }
        Ok(())
    }

    fn hand_out(&self, message: channel::Message<'_>) -> Result<(), Failure> {
        let (header, payload) = (message.header, message.payload);
        let mut state = self.state();
        if !header.is_reply() {
            if state.incoming.len() >= MOST_QUEUED {
                return Err(Failure::Lost(io::Error::other("the server sends more requests than can be served")));
            }
            state.incoming.push_back(ServerRequest { header, payload: payload.to_vec() });
            // It fails only when the watching thread has been woken often enough.
            let _ = self.wake.write(1);
            return Ok(());
        }
        let theirs = |slot: &&mut Slot| slot.id == Some(header.id) && slot.reply.is_none();
        let Some(slot) = state.slots.iter_mut().find(theirs) else {
            return Err(Failure::Lost(io::Error::other("the server replied to a request that was not made")));
        };
        slot.reply = Some(header);
        slot.payload.clear();
        slot.payload.extend_from_slice(payload);
        slot.fds = message.fds;
        Ok(())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("fd", &self.socket.as_raw_fd()).finish_non_exhaustive()
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the server ended the connection")
}

fn late(deadline: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the server did not answer within {deadline:?}"))
}

fn broken(error: WireError) -> Failure {
    Failure::Lost(io::Error::new(io::ErrorKind::InvalidData, error))
}
