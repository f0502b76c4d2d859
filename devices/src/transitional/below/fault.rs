// SPDX-License-Identifier: Apache-2.0
//! Failures of the register path: what kind, how many, and which of them end the function's service.
//! Reset brings a function back; nothing else does.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::contract::{FailureKind, RegisterError, RegisterFailures};
use crate::transitional::telemetry::counter::Counter;
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

/// Who wants to know. Called on vCPU threads with the function's lock held: it must not wait.
pub type FaultObserver = Box<dyn Fn(FaultChange<'_>) + Send + Sync>;

/// The failures of one function.
pub struct Faults {
    name: String,
    counters: [Counter; FailureKind::COUNT],
    logged: AtomicU32,
    faulted: AtomicBool,
    reason: Mutex<Option<String>>,
    /// The latest reason, also after the function came back.
    last_reason: Mutex<Option<String>>,
    times_faulted: Counter,
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
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            counters: Default::default(),
            logged: AtomicU32::new(0),
            faulted: AtomicBool::new(false),
            reason: Mutex::new(None),
            last_reason: Mutex::new(None),
            times_faulted: Counter::default(),
            observer: OnceLock::new(),
            trace: OnceLock::new(),
        }
    }

    /// Has `observer` told of each change. The one that comes first stays.
    pub fn observe(&self, observer: FaultObserver) {
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
    pub fn history(&self) -> (u64, Option<String>) {
        let last = self.last_reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.times_faulted.get(), last)
    }

    /// Counts a failed register access, and takes the function out of service if it was fatal.
    pub fn register(&self, error: &RegisterError) {
        self.count(error.kind(), error);
        if is_fatal(error) {
            self.fault(error.to_string());
        }
    }

    /// Counts a failed operation on the function.
    pub fn function(&self, error: &dyn std::fmt::Display) {
        self.count(FailureKind::Function, error);
    }

    /// A guest can cause failures at will, so each kind is logged once in the function's life.
    fn count(&self, kind: FailureKind, error: &dyn std::fmt::Display) {
        if let Some(counter) = self.counters.get(kind as usize) {
            counter.add();
        }
        let bit = 1 << kind as u32;
        if self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0 && kind != FailureKind::Cancelled {
            tracing::warn!(device = self.name, %error, "register access failed; more of this kind are counted, not logged");
        }
    }

    /// Takes the function out of service. The first reason stays.
    pub fn fault(&self, reason: String) {
        let is_news = {
            let mut slot = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            let is_news = slot.is_none();
            if is_news {
                tracing::error!(device = self.name, reason, "function is out of service until the guest resets it");
                *slot = Some(reason.clone());
            }
            is_news
        };
        self.faulted.store(true, Ordering::Release);
        if is_news {
            self.times_faulted.add();
            *self.last_reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
            self.tell(FaultChange::Faulted(&reason));
        }
    }

    /// Back in service, after a reset that worked.
    pub fn recover(&self) {
        if self.faulted.swap(false, Ordering::AcqRel) {
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tracing::info!(device = self.name, "function is back in service after a reset");
            self.tell(FaultChange::Recovered);
        }
    }

    /// Whether the function is out of service.
    pub fn is_faulted(&self) -> bool {
        self.faulted.load(Ordering::Acquire)
    }

    /// Why the function is out of service, if it is.
    pub fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Failures so far.
    pub fn counts(&self) -> RegisterFailures {
        RegisterFailures::new(self.counters.each_ref().map(Counter::get))
    }
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
