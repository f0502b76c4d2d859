// SPDX-License-Identifier: Apache-2.0
//! A trace of the guest's legacy accesses: [`Tracer`] is a bounded ring that functions note into while somebody
//! looks, and [`DeviceTrace`] is one function's end of it.
//!
//! Switched off, an access costs one relaxed load. Switched on, it costs two looks at the clock and a push; no
//! allocation, no lock and no wait. When the ring is full, records are counted as lost. [`line`] is what a record
//! is outside of this process. Nothing here writes a file.

pub mod line;
mod names;
mod record;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use crossbeam_queue::ArrayQueue;

use super::reports::DeviceReport;
use crate::contract::FailureKind;
use crate::transitional::layout::identity::DeviceType;

pub use names::target_name;
pub use record::{AccessRecord, Commands, DeviceTag, Record, ResetKind, SentCommand, What};
pub(crate) use record::{Sent, Transfer};

thread_local! {
    /// What the access that this thread carries out asked of the registers below.
    static COMMANDS: Cell<Commands> = const { Cell::new(Commands::NONE) };
}

/// What all functions of a process note into.
pub struct Tracer {
    start: Instant,
    capacity: usize,
    /// Made when somebody looks for the first time.
    ring: OnceLock<ArrayQueue<Record>>,
    lost: AtomicU64,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    enabled: bool,
    devices: Vec<Weak<DeviceTrace>>,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Tracer {
    /// Records that fit by default: some milliseconds of the fastest guest.
    pub const CAPACITY: usize = 16_384;

    /// Off, with room for `capacity` records (at least one) that nobody has taken yet.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            capacity: capacity.max(1),
            ring: OnceLock::new(),
            lost: AtomicU64::new(0),
            members: Mutex::default(),
        })
    }

    /// Switches all functions on or off, also those that come later.
    pub fn enable(&self, enabled: bool) {
        if enabled {
            self.ring.get_or_init(|| ArrayQueue::new(self.capacity));
        }
        let mut members = self.members();
        members.enabled = enabled;
        for device in members.devices.iter().filter_map(Weak::upgrade) {
            device.on.store(enabled, Ordering::Relaxed);
        }
    }

    /// The record that was noted earliest, of those that nobody took.
    pub fn take(&self) -> Option<Record> {
        self.ring.get()?.pop()
    }

    /// Records that found no room since this was asked last.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Nanoseconds since the tracer was made.
    pub fn now_ns(&self) -> u64 {
        self.at_ns(Instant::now())
    }

    fn at_ns(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn push(&self, record: Record) {
        let Some(ring) = self.ring.get() else { return };
        if ring.push(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn join(&self, device: &Arc<DeviceTrace>) {
        let mut members = self.members();
        members.devices.retain(|device| device.strong_count() != 0);
        members.devices.push(Arc::downgrade(device));
        device.on.store(members.enabled, Ordering::Relaxed);
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One function's end of a tracer.
#[derive(Debug)]
pub(in crate::transitional) struct DeviceTrace {
    on: AtomicBool,
    tag: Arc<DeviceTag>,
    tracer: OnceLock<Arc<Tracer>>,
}

impl DeviceTrace {
    /// Without a tracer: off.
    pub(crate) fn new(id: &str, device: DeviceType) -> Arc<Self> {
        let tag = Arc::new(DeviceTag { id: id.to_owned(), device });
        Arc::new(Self { on: AtomicBool::new(false), tag, tracer: OnceLock::new() })
    }

    /// Notes into `tracer` from now on, whenever that is on. The tracer that comes first stays.
    pub(crate) fn attach(self: &Arc<Self>, tracer: &Arc<Tracer>) {
        if self.tracer.set(Arc::clone(tracer)).is_ok() {
            tracer.join(self);
        }
    }

    /// Whether somebody looks. The one thing that an access pays when nobody does.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// An access, or an event with commands, begins on this thread.
    pub(crate) fn begin(&self) -> Instant {
        COMMANDS.set(Commands::NONE);
        Instant::now()
    }

    fn note(&self, at: Instant, what: What) {
        if let Some(tracer) = self.tracer.get() {
            tracer.push(Record { at_ns: tracer.at_ns(at), device: Arc::clone(&self.tag), what });
        }
    }

    /// This thread asks the registers below for something.
    pub(crate) fn command(&self, command: SentCommand) {
        if self.is_on() {
            let mut commands = COMMANDS.get();
            commands.push(command);
            COMMANDS.set(commands);
        }
    }

    /// What this thread asked for has failed.
    pub(crate) fn command_failed(&self, kind: FailureKind) {
        if self.is_on() {
            let mut commands = COMMANDS.get();
            commands.failed(kind);
            COMMANDS.set(commands);
        }
    }

    /// What this thread asked of the registers below since [`Self::begin`].
    pub(crate) fn commands(&self) -> Commands {
        COMMANDS.get()
    }

    /// An access that began at `begun` has ended.
    pub(crate) fn access(&self, begun: Instant, record: AccessRecord) {
        self.note(begun, What::Access(record));
    }

    /// An interrupt was raised on the line.
    pub(crate) fn interrupt(&self, isr: u8, spurious: bool) {
        if self.is_on() {
            self.note(Instant::now(), What::Interrupt { isr, spurious });
        }
    }

    /// A reset begins.
    pub(crate) fn reset(&self, kind: ResetKind) {
        if self.is_on() {
            self.note(Instant::now(), What::Reset(kind));
        }
    }

    /// The guest switches MSI-X: runs `act`, which moves the vectors.
    pub(crate) fn msix(&self, enabled: bool, act: impl FnOnce()) {
        if !self.is_on() {
            return act();
        }
        let at = self.begin();
        act();
        self.note(at, What::Msix { enabled, commands: COMMANDS.get() });
    }

    /// The function went out of service.
    pub(crate) fn faulted(&self, reason: &str) {
        if self.is_on() {
            self.note(Instant::now(), What::Faulted(reason.into()));
        }
    }

    /// The function is back in service.
    pub(crate) fn recovered(&self) {
        if self.is_on() {
            self.note(Instant::now(), What::Recovered);
        }
    }

    /// The machine ends.
    pub(crate) fn totals(&self, report: impl FnOnce() -> DeviceReport) {
        if self.is_on() {
            self.note(Instant::now(), What::Totals(Box::new(report())));
        }
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
