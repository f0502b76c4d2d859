// SPDX-License-Identifier: Apache-2.0
//! From the ring to whoever looks: one thread takes records and makes lines of them, for a file and for any number
//! of live readers. It exists while somebody looks, and never holds up a vCPU: what it is too slow for is counted
//! by the ring as lost, and what a reader is too slow for is counted for that reader.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use devices::contract::threads::{self, ThreadKind};
use devices::transitional::{DeviceTag, Record, Tracer};

use super::file::TraceFile;
use super::line::Line;
use crate::timestamp::rfc3339;

/// Between two looks into the ring while it is empty. An eventfd write for each record would cost the vCPU a
/// system call.
const POLL: Duration = Duration::from_millis(2);
/// Lines that wait for a live reader.
const AHEAD: usize = 4096;
/// How long the last records may take to be written.
const LAST_LIMIT: Duration = Duration::from_secs(2);
/// Records taken between two looks at who reads.
const BATCH: usize = 1024;

/// Where traces of this process come from.
pub struct TraceHub {
    tracer: Arc<Tracer>,
    started: SystemTime,
    state: Mutex<State>,
    closing: AtomicBool,
}

#[derive(Default)]
struct State {
    sinks: Vec<Sink>,
    thread: Option<JoinHandle<()>>,
    /// Tells the end of the thread.
    ended: Option<Receiver<()>>,
}

/// One who gets lines.
struct Sink {
    output: Output,
    /// Only this device.
    only: Option<String>,
    /// Devices that were introduced.
    known: Vec<Arc<DeviceTag>>,
}

enum Output {
    File(TraceFile),
    Live {
        sender: SyncSender<Arc<str>>,
        lost: u64,
        /// Tells that the reader is gone also when there is nothing to send.
        reader: Weak<()>,
    },
}

/// What a live reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextLine {
    /// A line of JSON, without its end.
    Line(Arc<str>),
    /// Nothing happened within the limit.
    Nothing,
    /// There will be no more.
    End,
}

/// A live reader.
#[derive(Debug)]
pub struct TraceSubscription {
    lines: Receiver<Arc<str>>,
    _alive: Arc<()>,
}

impl TraceSubscription {
    /// Waits for the next line, at most for `limit`.
    pub fn next(&self, limit: Duration) -> NextLine {
        match self.lines.recv_timeout(limit) {
            Ok(line) => NextLine::Line(line),
            Err(RecvTimeoutError::Timeout) => NextLine::Nothing,
            Err(RecvTimeoutError::Disconnected) => NextLine::End,
        }
    }
}

impl TraceHub {
    /// Nobody looks yet.
    pub fn new() -> Arc<Self> {
        Self::with_capacity(Tracer::CAPACITY)
    }

    /// With a ring of `capacity` records.
    pub fn with_capacity(capacity: usize) -> Arc<Self> {
        let tracer = Tracer::new(capacity);
        Arc::new(Self { tracer, started: SystemTime::now(), state: Mutex::default(), closing: AtomicBool::new(false) })
    }

    /// What functions note into.
    pub fn tracer(&self) -> &Arc<Tracer> {
        &self.tracer
    }

    /// A live reader of all accesses from now on, or of those of one device.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn subscribe(self: &Arc<Self>, device: Option<&str>) -> io::Result<TraceSubscription> {
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        let alive = Arc::new(());
        let output = Output::Live { sender, lost: 0, reader: Arc::downgrade(&alive) };
        self.add(Sink { output, only: device.map(str::to_owned), known: Vec::new() })?;
        Ok(TraceSubscription { lines: receiver, _alive: alive })
    }

    /// Writes all accesses from now on to `file`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn write_to(self: &Arc<Self>, file: TraceFile) -> io::Result<()> {
        self.add(Sink { output: Output::File(file), only: None, known: Vec::new() })
    }

    fn add(self: &Arc<Self>, mut sink: Sink) -> io::Result<()> {
        let mut state = self.state();
        if self.closing.load(Ordering::Acquire) {
            return Ok(());
        }
        sink.put(&Line::start(rfc3339(self.started)));
        state.sinks.push(sink);
        if state.thread.is_none() {
            let (running, ended) = mpsc::channel();
            let hub = Arc::clone(self);
            let work = move || {
                let _running: mpsc::Sender<()> = running;
                hub.work();
            };
            match threads::spawn(ThreadKind::Writer, "legacy-trace", work) {
                Ok(thread) => (state.thread, state.ended) = (Some(thread), Some(ended)),
                Err(error) => {
                    state.sinks.pop();
                    return Err(error);
                }
            }
            // Of an earlier reader, and from before this one.
            while self.tracer.take().is_some() {}
            self.tracer.take_lost();
            self.tracer.enable(true);
        }
        Ok(())
    }

    /// Writes what was noted, and ends all readers. Does not wait longer than 2 s for a file that takes nothing.
    pub fn close(&self) {
        let ended = {
            let mut state = self.state();
            self.closing.store(true, Ordering::Release);
            if let Some(thread) = &state.thread {
                thread.thread().unpark();
            }
            state.ended.take()
        };
        if let Some(ended) = ended
            && ended.recv_timeout(LAST_LIMIT) == Err(RecvTimeoutError::Timeout)
        {
            tracing::warn!("the end of the trace of legacy accesses could not be written in {LAST_LIMIT:?}");
        }
    }

    fn work(&self) {
        loop {
            let closing = self.closing.load(Ordering::Acquire);
            let batch: Vec<Record> = std::iter::from_fn(|| self.tracer.take()).take(BATCH).collect();
            // Asked after the records were taken, so that the gap is told where it is.
            let lost = self.tracer.take_lost();
            let idle = batch.is_empty() && lost == 0;
            // Without the lock, as a file may be slow.
            let mut sinks = std::mem::take(&mut self.state().sinks);
            let now = self.tracer.now_ns();
            sinks.retain_mut(|sink| sink.take(&batch) && sink.lost(now, lost) && (!idle || sink.rest()));
            if idle && closing {
                sinks.iter_mut().for_each(Sink::finish);
            }
            {
                let mut state = self.state();
                sinks.append(&mut state.sinks);
                state.sinks = sinks;
                if state.sinks.is_empty() || (idle && closing) {
                    self.tracer.enable(false);
                    state.sinks.clear();
                    state.thread = None;
                    return;
                }
            }
            if idle {
                thread::park_timeout(POLL);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// Hands out records. `false`: there is nobody any more.
    fn take(&mut self, batch: &[Record]) -> bool {
        batch.iter().all(|record| {
            if self.only.as_ref().is_some_and(|only| *only != record.device.id) {
                return true;
            }
            self.introduce(record) && self.put(&Line::from(record))
        })
    }

    fn introduce(&mut self, record: &Record) -> bool {
        if self.known.iter().any(|tag| **tag == *record.device) {
            return true;
        }
        self.known.retain(|tag| tag.id != record.device.id);
        self.known.push(Arc::clone(&record.device));
        self.put(&Line::device(record.at_ns, &record.device))
    }

    fn lost(&mut self, t: u64, count: u64) -> bool {
        count == 0 || self.put(&Line::Lost { t, count })
    }

    /// Nothing happens at the moment: nothing is to wait in a buffer then.
    fn rest(&mut self) -> bool {
        match &mut self.output {
            Output::File(file) => file.flush(),
            Output::Live { sender, lost, reader } => {
                reader.strong_count() != 0 && (*lost == 0 || send(sender, lost, None))
            }
        }
    }

    /// There will be no more.
    fn finish(&mut self) {
        if let Output::File(file) = &mut self.output {
            file.finish();
        }
    }

    fn put(&mut self, line: &Line) -> bool {
        match &mut self.output {
            Output::File(file) => file.write(line),
            Output::Live { sender, lost, .. } => {
                // A line is made of strings and numbers: there is nothing that has no JSON.
                let Ok(text) = serde_json::to_string(line) else { return true };
                send(sender, lost, Some((text.into(), line.time())))
            }
        }
    }
}

/// Sends a line, and before it how many the reader was too slow for.
fn send(sender: &SyncSender<Arc<str>>, lost: &mut u64, line: Option<(Arc<str>, u64)>) -> bool {
    if *lost != 0 {
        let t = line.as_ref().map_or(0, |(_, t)| *t);
        let gap = serde_json::to_string(&Line::Lost { t, count: *lost }).unwrap_or_default();
        match sender.try_send(gap.into()) {
            Ok(()) => *lost = 0,
            Err(TrySendError::Full(_)) => {
                *lost += u64::from(line.is_some());
                return true;
            }
            Err(TrySendError::Disconnected(_)) => return false,
        }
    }
    let Some((line, _)) = line else { return true };
    match sender.try_send(line) {
        Ok(()) => true,
        Err(TrySendError::Full(_)) => {
            *lost += 1;
            true
        }
        Err(TrySendError::Disconnected(_)) => false,
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
