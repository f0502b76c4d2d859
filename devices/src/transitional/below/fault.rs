// SPDX-License-Identifier: Apache-2.0
//! Failures of the register path: what kind, how many, and which of them end the function's service.
//! Reset brings a function back; nothing else does.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::contract::{Counters, FailureKind, RegisterError, RegisterFailures};
use crate::transitional::telemetry::trace::DeviceTrace;

/// Whether no access after this failure makes sense: each would wait for its deadline again, or go
/// to a function that is not there.
fn is_fatal(error: &RegisterError) -> bool {
    matches!(error, RegisterError::Timeout | RegisterError::Dead(_) | RegisterError::Full | RegisterError::Gone(_))
}

/// What happened to a function's service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultChange<'a> {
    /// Out of service, for this reason.
    Faulted(&'a str),
    /// Back.
    Recovered,
}

/// Who wants to know. Called on vCPU threads with the function's lock held, and with that of its faults: it must neither
/// wait nor ask for them.
pub(crate) type FaultObserver = Box<dyn Fn(FaultChange<'_>) + Send + Sync>;

/// Whether the function is in service, and the history of that.
#[derive(Default)]
struct State {
    /// Why it is out of service, if it is.
    reason: Option<String>,
    /// The latest reason, also after the function came back.
    last_reason: Option<String>,
    times_faulted: u64,
    /// Reasons so far, also those that came while it was out of service.
    faults: u64,
}

/// A moment in the history of a function's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a reset that began at a moment ends the faults before it"]
pub(crate) struct FaultMark(u64);

/// The failures of one function. One lock holds what belongs together, and is held while changes are told, so that
/// they are told in their order.
pub(crate) struct Faults {
    name: String,
    counters: Counters<FailureKind, { FailureKind::COUNT }>,
    logged: AtomicU32,
    /// As `state` says, for those who cannot wait for it.
    faulted: AtomicBool,
    state: Mutex<State>,
    observer: OnceLock<FaultObserver>,
    trace: OnceLock<Arc<DeviceTrace>>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("name", &self.name).field("faulted", &self.faulted).finish_non_exhaustive()
    }
}

impl Faults {
    /// None so far; `name` is for logs.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            counters: Counters::default(),
            logged: AtomicU32::new(0),
            faulted: AtomicBool::new(false),
            state: Mutex::default(),
            observer: OnceLock::new(),
            trace: OnceLock::new(),
        }
    }

    /// The device's name, for logs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Has `observer` told of each change. The one that comes first stays.
    pub(crate) fn observe(&self, observer: FaultObserver) {
        let _ = self.observer.set(observer);
    }

    /// Has each change noted in `trace`.
    pub(in crate::transitional) fn trace(&self, trace: &Arc<DeviceTrace>) {
        let _ = self.trace.set(Arc::clone(trace));
    }

    fn tell(&self, change: FaultChange<'_>) {
        if let Some(trace) = self.trace.get() {
            match change {
                FaultChange::Faulted(reason) => trace.faulted(reason),
                FaultChange::Recovered => trace.recovered(),
            }
        }
        if let Some(observer) = self.observer.get() {
            observer(change);
        }
    }

    /// How often the function went out of service, and why it did last.
    pub(crate) fn history(&self) -> (u64, Option<String>) {
        let state = self.state();
        (state.times_faulted, state.last_reason.clone())
    }

    /// Counts a failed register access, and takes the function out of service if it was fatal.
    pub(crate) fn register(&self, error: &RegisterError) {
        self.count(error.kind(), error);
        if is_fatal(error) {
            self.fault(error.to_string());
        }
    }

    /// Counts a failed operation on the function.
    pub(crate) fn function(&self, error: &dyn std::fmt::Display) {
        self.count(FailureKind::Function, error);
    }

    /// A guest can cause failures at will, so each kind is logged once in the function's life.
    fn count(&self, kind: FailureKind, error: &dyn std::fmt::Display) {
        self.counters.add(kind);
        let bit = 1 << kind as u32;
        if self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0 && kind != FailureKind::Cancelled {
            tracing::warn!(device = self.name, %error, "register access failed; more of this kind are counted, not logged");
        }
    }

    /// Takes the function out of service. The first reason stays.
    pub(crate) fn fault(&self, reason: String) {
        let mut state = self.state();
        state.faults += 1;
        if state.reason.is_some() {
            return;
        }
        tracing::error!(device = self.name, reason, "function is out of service until the guest resets it");
        state.reason = Some(reason.clone());
        state.last_reason = Some(reason.clone());
        state.times_faulted += 1;
        self.faulted.store(true, Ordering::Release);
        self.tell(FaultChange::Faulted(&reason));
    }

    /// This moment; a reset begins.
    pub(crate) fn mark(&self) -> FaultMark {
        FaultMark(self.state().faults)
    }

    /// Back in service, after a reset that worked and began at `begun`. A fault that came since then (the PF was lost
    /// meanwhile) is not made good by that: the function stays out of service.
    pub(crate) fn recover(&self, begun: FaultMark) {
        let mut state = self.state();
        if state.reason.is_none() || state.faults != begun.0 {
            return;
        }
        state.reason = None;
        self.faulted.store(false, Ordering::Release);
        tracing::info!(device = self.name, "function is back in service after a reset");
        self.tell(FaultChange::Recovered);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the function is out of service.
    pub(crate) fn is_faulted(&self) -> bool {
        self.faulted.load(Ordering::Acquire)
    }

    /// Why the function is out of service, if it is.
    pub(crate) fn reason(&self) -> Option<String> {
        self.state().reason.clone()
    }

    /// Failures so far.
    pub(crate) fn counts(&self) -> RegisterFailures {
        RegisterFailures::new(self.counters.counts())
    }
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
