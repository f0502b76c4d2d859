// SPDX-License-Identifier: Apache-2.0
//! Messages on their way out: a bounded queue, and a thread that writes. Whoever logs may hold locks that a guest waits
//! for, so it never waits: what there is no room for is dropped, and a message says how many were.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use devices::contract::threads::{self, ThreadKind};

use super::note::Note;

/// Bytes of messages that wait at most.
const CAPACITY: usize = 1 << 20;
/// How long to wait before a writer that would block is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// The queue. Clones are the same one.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    note: Note,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// The thread has lines in its hands.
    writing: bool,
}

impl Queue {
    /// Starts the thread that writes to `output`. `note` is the form of what the queue itself has to say.
    pub(super) fn start(output: Box<dyn Write + Send>, note: Note) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), note });
        let writer = Writer { shared: Arc::clone(&shared), output, lost: 0, cause: None };
        threads::spawn(ThreadKind::Writer, "log", move || writer.run())?;
        Ok(Self(shared))
    }

    /// Takes a whole line, or drops it.
    pub(super) fn put(&self, line: &[u8]) {
        let mut state = self.0.state();
        if state.bytes + line.len() > CAPACITY {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        self.0.changed.notify_all();
    }

    /// Says something of its own.
    pub(super) fn say(&self, text: &str) {
        self.put(&self.0.note.line(text));
    }

    /// Waits until all is written, for `limit` at most. Returns whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let start = Instant::now();
        let mut state = self.0.state();
        while !state.lines.is_empty() || state.writing || state.dropped != 0 {
            let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else { return false };
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The form that `tracing_subscriber` wants a writer in: it writes a message with one call.
impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Writer {
    shared: Arc<Shared>,
    output: Box<dyn Write + Send>,
    /// Messages that could not be written, since one was.
    lost: u64,
    /// Why.
    cause: Option<String>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (lines, dropped) = self.next();
            for line in lines {
                self.write(&line);
            }
            if dropped != 0 {
                self.tell(&format!("{dropped} messages were dropped here: they are read too slowly"));
            }
        }
    }

    /// Waits for lines, and for what was dropped after them.
    fn next(&mut self) -> (VecDeque<Vec<u8>>, u64) {
        let mut state = self.shared.state();
        state.writing = false;
        self.shared.changed.notify_all();
        while state.lines.is_empty() && state.dropped == 0 {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writing = true;
        state.bytes = 0;
        (mem::take(&mut state.lines), mem::take(&mut state.dropped))
    }

    fn tell(&mut self, text: &str) {
        let line = self.shared.note.line(text);
        self.write(&line);
    }

    /// After a failure the next message is tried, and what was lost is told when one can be written again.
    fn write(&mut self, line: &[u8]) {
        if self.lost != 0 {
            let cause = self.cause.as_deref().unwrap_or_default();
            let gap = self.shared.note.line(&format!("{} messages were lost here: {cause}", self.lost));
            if write_all(&mut *self.output, &gap).is_err() {
                self.lost = self.lost.saturating_add(1);
                return;
            }
            self.lost = 0;
        }
        if let Err(error) = write_all(&mut *self.output, line) {
            self.lost = 1;
            self.cause = Some(error.to_string());
        }
    }
}

fn write_all(output: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
