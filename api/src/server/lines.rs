// SPDX-License-Identifier: Apache-2.0
//! Replies without an end. A thread takes lines from the source and waits for the client; the source
//! itself drops lines for it if that takes too long.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::clients::Busy;
use super::stream::Peer;
use crate::service::{Line, Lines};

/// Lines on their way to one client.
const AHEAD: usize = 64;
/// How often a silent stream looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(500);

/// The body of such a reply.
#[derive(Debug)]
pub(super) struct LineBody {
    lines: mpsc::Receiver<Bytes>,
}

impl LineBody {
    /// Starts the thread. `held` is given back when it ends.
    pub(super) fn start(
        lines: Box<dyn Lines>,
        peer: Arc<Peer>,
        held: (OwnedSemaphorePermit, Busy),
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        thread::Builder::new().name("api-stream".to_owned()).spawn(move || {
            pump(lines, &peer, &sender);
            drop(held);
        })?;
        Ok(Self { lines: receiver })
    }
}

fn pump(mut lines: Box<dyn Lines>, peer: &Peer, sender: &mpsc::Sender<Bytes>) {
    while !sender.is_closed() && !peer.is_done() {
        match lines.next(LOOK) {
            Line::Text(mut line) => {
                line.push('\n');
                if sender.blocking_send(Bytes::from(line)).is_err() {
                    return;
                }
            }
            Line::Nothing => {}
            Line::End => return,
        }
    }
}

impl Body for LineBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
