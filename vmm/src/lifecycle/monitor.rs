// SPDX-License-Identifier: Apache-2.0
//! The event stream as JSON lines in a file or a descriptor that the process was started with. A thread of its
//! own, as whoever reads may be slow or stuck: then events are lost, and a line says how many.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use serde_json::json;

use super::events::{EventBus, Next, Subscription};
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
    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be written. A descriptor is duplicated, so it may be closed afterwards.
    pub fn open(&self) -> io::Result<File> {
        match self {
            // Without waiting: a FIFO without a reader is an error (ENXIO), not a VM that never starts.
            Self::Path(path) => File::options().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(path),
            Self::Fd(fd) => {
                // A duplicate of a number from the command line, got like one of another process: with the kernel's
                // check that there is such a descriptor.
                let process = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
                Ok(rustix::process::pidfd_getfd(process, *fd, PidfdGetfdFlags::empty())?.into())
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
    /// When there is no thread to be had.
    pub fn start(bus: &Arc<EventBus>, file: File) -> io::Result<Self> {
        let subscription = bus.subscribe();
        let (running, done) = mpsc::channel();
        thread::Builder::new().name("event-monitor".to_owned()).spawn(move || {
            let _running: mpsc::Sender<()> = running;
            if let Err(error) = write_all(subscription, file) {
                tracing::warn!("events are no longer written: {error}");
            }
        })?;
        Ok(Self { done })
    }

    /// Waits until the stream is closed and written, but not for a reader that takes nothing.
    pub fn finish(self) {
        let _ = self.done.recv_timeout(LAST_LIMIT);
    }
}

fn write_all(mut subscription: Subscription, mut file: impl Write) -> io::Result<()> {
    loop {
        let line = match subscription.next(WAIT) {
            Next::Event(event) => serde_json::to_vec(&*event)?,
            Next::Lost(count) => serde_json::to_vec(&json!({
                "timestamp": rfc3339(SystemTime::now()),
                "source": "monitor",
                "event": "lost",
                "properties": { "count": count },
            }))?,
            Next::Nothing => continue,
            Next::Closed => return Ok(()),
        };
        write_line(&mut file, line)?;
    }
}

/// One write for a line, so that lines of two writers to one file stay whole.
fn write_line(file: &mut impl Write, mut line: Vec<u8>) -> io::Result<()> {
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            // A FIFO that is full: its reader is slow.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(20)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    file.flush()
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
