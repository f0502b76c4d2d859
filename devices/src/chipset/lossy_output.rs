// SPDX-License-Identifier: Apache-2.0
//! Output of a guest's serial port on its way to a terminal, pipe or file that may be slow, stuck or
//! gone. It never makes the guest wait.
//!
//! Bytes go into a buffer of [`CAPACITY`]; a thread writes them out, in as few writes as it can. When
//! the buffer is full, new bytes are dropped and counted, also while the other end takes none: a full
//! disk has room again, a FIFO gets a new reader. A thread, because the alternative is a non-blocking file descriptor, and that flag
//! would be shared with every process that has the same terminal open.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::contract::threads::{self, ThreadKind};

/// Bytes that wait at most, besides as many that are being written.
pub const CAPACITY: usize = 64 * 1024;
/// How long to wait before a writer that would block is tried again.
const RETRY: Duration = Duration::from_millis(5);
/// A drain ends after this, whatever its caller says.
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);
/// How long to wait after a failed write: what comes meanwhile is tried at once then.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a drop waits for the rest to be written.
const FAREWELL: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    lost: u64,
    loss_logged: bool,
    /// The thread waits for bytes.
    idle: bool,
    closed: bool,
    /// Nothing can be written at the moment.
    failing: bool,
}

#[derive(Debug)]
struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
    drained: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end. [`Write`] on it always succeeds at once.
#[derive(Debug)]
pub struct LossyOutput {
    shared: Arc<Shared>,
}

impl LossyOutput {
    /// Starts the thread that writes to `out`, called `name` (at most 15 bytes). The writer may
    /// block, fail with `WouldBlock` or `Interrupted`, or fail for good.
    pub fn new(name: &str, out: Box<dyn Write + Send>) -> io::Result<Self> {
        let buffer = Buffer {
            bytes: Vec::with_capacity(CAPACITY),
            lost: 0,
            loss_logged: false,
            idle: false,
            closed: false,
            failing: false,
        };
        let shared = Arc::new(Shared { buffer: Mutex::new(buffer), filled: Condvar::new(), drained: Condvar::new() });
        let thread_shared = shared.clone();
        threads::spawn(ThreadKind::Writer, name, move || run(&thread_shared, out))?;
        Ok(Self { shared })
    }

    /// Bytes dropped so far.
    pub fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// Waits until everything is written, or cannot be, or `timeout` is over. Returns whether nothing
    /// is left to write.
    pub fn drain(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout.min(LONGEST_DRAIN);
        let mut buffer = self.shared.lock();
        loop {
            if buffer.failing || buffer.bytes.is_empty() && buffer.idle {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            buffer = self.shared.drained.wait_timeout(buffer, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Write for LossyOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut buffer = self.shared.lock();
        let room = CAPACITY.saturating_sub(buffer.bytes.len());
        let taken = room.min(bytes.len());
        buffer.bytes.extend_from_slice(&bytes[..taken]);
        buffer.lost = buffer.lost.saturating_add((bytes.len() - taken) as u64);
        if taken < bytes.len() && !buffer.failing && !mem::replace(&mut buffer.loss_logged, true) {
            tracing::warn!("serial output is read too slowly; bytes are dropped");
        }
        // Waking costs a system call: only when the thread sleeps.
        if taken != 0 && mem::replace(&mut buffer.idle, false) {
            self.shared.filled.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LossyOutput {
    /// Gives the thread a moment to write the rest, and leaves it alone if it is stuck.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
        let _ = self.drain(FAREWELL);
    }
}

fn run(shared: &Shared, mut out: Box<dyn Write + Send>) {
    let mut bytes = Vec::with_capacity(CAPACITY);
    loop {
        let mut buffer = shared.lock();
        while buffer.bytes.is_empty() {
            buffer.idle = true;
            shared.drained.notify_all();
            if buffer.closed {
                return;
            }
            buffer = shared.filled.wait(buffer).unwrap_or_else(PoisonError::into_inner);
        }
        buffer.idle = false;
        mem::swap(&mut buffer.bytes, &mut bytes);
        drop(buffer);

        match write_all(shared, out.as_mut(), &bytes) {
            Ok(()) => works(shared),
            Err((error, written)) => fails(shared, &error, (bytes.len() - written) as u64),
        }
        bytes.clear();
    }
}

/// Says once that it works again.
fn works(shared: &Shared) {
    let mut buffer = shared.lock();
    if mem::replace(&mut buffer.failing, false) {
        let lost = buffer.lost;
        drop(buffer);
        tracing::warn!(lost, "serial output is written again; this many bytes were dropped in all");
    }
}

/// Says once why it does not work, and waits a little.
fn fails(shared: &Shared, error: &io::Error, dropped: u64) {
    let mut buffer = shared.lock();
    buffer.lost = buffer.lost.saturating_add(dropped);
    let was_failing = mem::replace(&mut buffer.failing, true);
    shared.drained.notify_all();
    if was_failing {
        let closed = |buffer: &mut Buffer| !buffer.closed;
        drop(shared.filled.wait_timeout_while(buffer, PAUSE, closed));
    } else {
        drop(buffer);
        tracing::warn!(%error, "serial output cannot be written; it is dropped until it can");
    }
}

/// On failure also says how many bytes were written.
fn write_all(shared: &Shared, out: &mut dyn Write, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut written = 0;
    let mut patience = (FAREWELL.as_millis() / RETRY.as_millis()) as u32;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err((ErrorKind::WriteZero.into(), written)),
            Ok(count) => written += count.min(bytes.len() - written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && patience != 0 => {
                // Forever while there is a guest; afterwards the thread has to come to an end.
                patience -= u32::from(shared.lock().closed);
                thread::sleep(RETRY);
            }
            Err(error) => return Err((error, written)),
        }
    }
    out.flush().or_else(|error| if transient(&error) { Ok(()) } else { Err((error, written)) })
}

fn transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
#[path = "lossy_output_tests.rs"]
mod tests;
