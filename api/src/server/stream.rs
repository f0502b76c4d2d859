// SPDX-License-Identifier: Apache-2.0
//! The byte stream of one client: a unix socket that also receives file descriptors, and that gives up
//! on a client who does not read.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, Shutdown, recv, recvmsg, send,
    shutdown,
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::Sleep;

use super::whole_reply::protocol_fault;

/// Descriptors that a request may bring.
pub(super) const MAX_DESCRIPTORS: usize = 16;

/// What a connection's requests share.
#[derive(Debug)]
pub(super) struct Peer {
    stream: UnixStream,
    received: Mutex<Received>,
}

/// Descriptors that have come and were not asked for yet.
#[derive(Debug, Default)]
struct Received {
    descriptors: Vec<OwnedFd>,
    /// More came than fit; the rest is lost.
    too_many: bool,
}

impl Peer {
    /// Takes what came; `None` if it was too much.
    pub(super) fn take_descriptors(&self) -> Option<Vec<OwnedFd>> {
        let received = std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner));
        (!received.too_many).then_some(received.descriptors)
    }

    /// Whether a reply without an end should end: the client has closed its socket, not only its sending
    /// half, or it has sent more. That may be a descriptor of its own end, with which the socket is open
    /// as long as nobody takes it out, client or no client.
    pub(super) fn is_done(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        // Without waiting.
        let ready = poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }));
        let gone = ready.is_ok_and(|n| n > 0) && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
        gone || self.has_more()
    }

    fn has_more(&self) -> bool {
        let mut byte = [0];
        let waiting = recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_ok_and(|(count, _)| count > 0) || received.too_many || !received.descriptors.is_empty()
    }

    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = recvmsg(&self.stream, &mut [IoSliceMut::new(into)], &mut control, flags)?;
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.too_many |= message.flags.contains(ReturnFlags::CTRUNC);
        for rights in control.drain() {
            let RecvAncillaryMessage::ScmRights(rights) = rights else { continue };
            received.descriptors.extend(rights);
        }
        if received.descriptors.len() > MAX_DESCRIPTORS {
            received.too_many = true;
            received.descriptors.clear();
        }
        Ok(message.bytes)
    }
}

/// The stream, for hyper.
#[derive(Debug)]
pub(super) struct ClientStream {
    peer: Arc<Peer>,
    patience: Duration,
    /// Runs while a write waits for the client.
    unread: Option<Pin<Box<Sleep>>>,
    /// The rest of a reply that was put in place of hyper's.
    replacement: Bytes,
}

impl ClientStream {
    /// Takes a connection over.
    pub(super) fn new(stream: UnixStream, patience: Duration) -> Self {
        let peer = Arc::new(Peer { stream, received: Mutex::default() });
        Self { peer, patience, unread: None, replacement: Bytes::new() }
    }

    /// What the requests need.
    pub(super) fn peer(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }

    fn poll_send(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.peer.stream.poll_write_ready(context)?.is_pending() {
                let sleep = self.unread.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
                ready!(sleep.as_mut().poll(context));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let sent = self.peer.stream.try_io(Interest::WRITABLE, || Ok(send(&self.peer.stream, bytes, flags)?));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => {
                    self.unread = None;
                    return Poll::Ready(other);
                }
            }
        }
    }

    fn poll_replacement(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.replacement.is_empty() {
            let bytes = self.replacement.clone();
            let sent = ready!(self.poll_send(context, &bytes))?;
            self.replacement.advance(sent.min(bytes.len()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.peer.stream.poll_read_ready(context))?;
            let free = buf.initialize_unfilled();
            match self.peer.stream.try_io(Interest::READABLE, || self.peer.receive(free)) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_replacement(context))?;
        if let Some(fault) = protocol_fault(bytes) {
            self.replacement = fault;
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_send(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        self.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_replacement(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_replacement(context))?;
        match shutdown(&self.peer.stream, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(errno) => Poll::Ready(Err(errno.into())),
        }
    }
}
