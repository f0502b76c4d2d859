// SPDX-License-Identifier: Apache-2.0
//! The event stream as JSON lines in a file or a descriptor that the process was started with. A thread of its
//! own, as whoever reads may be slow or stuck: then events are lost, and a line says how many.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, SystemTime};

use devices::contract::threads::{self, ThreadKind};
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use serde::Serialize;
use serde_json::json;

use super::events::{Event, EventBus, Next, Subscription};
use crate::output::Output;
use crate::timestamp::rfc3339;

/// How long the last events may take to be written when the process ends.
const LAST_LIMIT: Duration = Duration::from_millis(500);
/// A wait without an end in sight, in pieces.
const WAIT: Duration = Duration::from_secs(3600);

/// Where events are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorTarget {
    /// A file, which is appended to; a FIFO needs a reader.
    Path(PathBuf),
    /// An open descriptor.
    Fd(i32),
}

impl FromStr for MonitorTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("path", path)) if !path.is_empty() => Ok(Self::Path(path.into())),
            Some(("fd", number)) => match number.parse() {
                // 0 is for reading.
                Ok(fd) if fd > 0 => Ok(Self::Fd(fd)),
                _ => Err(format!("fd={number}: must be the number of an open descriptor, 1 or more")),
            },
            _ => Err("write path=FILE or fd=N".to_owned()),
        }
    }
}

impl MonitorTarget {
    /// Opens it. A file moves aside at `limit` bytes; 0 is never. A descriptor is another's, and has no limit.
    ///
    /// # Errors
    /// When it cannot be written. A descriptor is duplicated, so it may be closed afterwards.
    pub fn open(&self, limit: u64) -> io::Result<Output> {
        match self {
            Self::Path(path) => Output::append(path, limit),
            Self::Fd(fd) => {
                // A duplicate of a number from the command line, got like one of another process: with the kernel's
                // check that there is such a descriptor.
                let process = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
                let file = File::from(rustix::process::pidfd_getfd(process, *fd, PidfdGetfdFlags::empty())?);
                Ok(Output::other(&format!("descriptor {fd}"), Box::new(file)))
            }
        }
    }
}

/// Writes events until the stream ends. Dropping it waits a moment for the last ones.
pub struct EventMonitor {
    done: Receiver<()>,
}

impl EventMonitor {
    /// Starts to write all events of `bus` from now on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(bus: &Arc<EventBus>, output: Output) -> io::Result<Self> {
        let subscription = bus.subscribe();
        let (running, done) = mpsc::channel();
        threads::spawn(ThreadKind::Writer, "event-monitor", move || {
            let _running: mpsc::Sender<()> = running;
            Writer { output, rest: Vec::new(), lost: 0, failing: false }.write_all(subscription);
        })?;
        Ok(Self { done })
    }

    /// Waits until the stream is closed and written, but not for a reader that takes nothing.
    pub fn finish(self) {
        let _ = self.done.recv_timeout(LAST_LIMIT);
    }
}

/// Writes lines. An event that cannot be written is lost; a line says so once one can.
struct Writer {
    output: Output,
    /// Of a line that was written in part.
    rest: Vec<u8>,
    lost: u64,
    failing: bool,
}

impl Writer {
    fn write_all(&mut self, mut subscription: Subscription) {
        loop {
            match subscription.next(WAIT) {
                Next::Event(event) => self.take(&event),
                Next::Lost(count) => self.lost = self.lost.saturating_add(count),
                Next::Nothing => {}
                Next::Closed => return,
            }
        }
    }

    fn take(&mut self, event: &Event) {
        let written = self.finish_line().and_then(|()| self.tell_lost());
        let is_ready = written.is_ok();
        match written.and_then(|()| self.write(event)) {
            Ok(()) if std::mem::replace(&mut self.failing, false) => tracing::warn!("events are written again"),
            Ok(()) => {}
            Err(error) => {
                // One that was begun is finished later.
                self.lost = self.lost.saturating_add(u64::from(!is_ready || self.rest.is_empty()));
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("events cannot be written and are lost until they can: {error}");
                }
            }
        }
    }

    fn tell_lost(&mut self) -> io::Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let told = self.write(&json!({
            "timestamp": rfc3339(SystemTime::now()),
            "source": "monitor",
            "event": "lost",
            "properties": { "count": self.lost },
        }));
        if told.is_ok() || !self.rest.is_empty() {
            self.lost = 0;
        }
        told
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        // One write for a line, so that lines of two writers to one file stay whole.
        let count = self.write_some(&bytes)?;
        bytes.drain(..count);
        self.rest = bytes;
        self.finish_line()
    }

    fn finish_line(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            let count = self.write_some(&rest).inspect_err(|_| self.rest.clone_from(&rest))?;
            self.rest = rest.get(count..).unwrap_or_default().to_vec();
        }
        self.output.flush()
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.output.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => return Ok(count.min(bytes.len())),
                // A FIFO that is full: its reader is slow.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(20)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
