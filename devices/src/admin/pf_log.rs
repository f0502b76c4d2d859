// SPDX-License-Identifier: Apache-2.0
//! A PF's history: how often it was lost and restarted, and why it was last lost. The watchdog
//! writes it, reports read it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

/// The last time that a PF was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PfLoss {
    /// Milliseconds from the start of the log to the moment when it was noticed.
    pub after_ms: u64,
    /// What was noticed.
    pub reason: String,
    /// Milliseconds until it worked again; `None` if it does not.
    pub back_after_ms: Option<u64>,
}

/// What became of a PF so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PfReport {
    /// Times that it was lost.
    pub losses: u64,
    /// Times that it was started again.
    pub restarts: u64,
    /// Attempts to start it again that failed.
    pub failed_restarts: u64,
    /// The last loss.
    pub last_loss: Option<PfLoss>,
}

/// Collects for one PF, from its creation on.
#[derive(Debug)]
pub struct PfLog {
    begun: Instant,
    report: Mutex<PfReport>,
}

impl Default for PfLog {
    fn default() -> Self {
        Self { begun: Instant::now(), report: Mutex::default() }
    }
}

impl PfLog {
    /// A copy of everything.
    pub fn report(&self) -> PfReport {
        self.lock().clone()
    }

    pub(super) fn lost(&self, reason: &str, now: Instant) {
        let after_ms = self.since_begin(now);
        let mut report = self.lock();
        report.losses += 1;
        report.last_loss = Some(PfLoss { after_ms, reason: reason.to_owned(), back_after_ms: None });
    }

    pub(super) fn restarted(&self, now: Instant) {
        let now = self.since_begin(now);
        let mut report = self.lock();
        report.restarts += 1;
        if let Some(loss) = &mut report.last_loss {
            loss.back_after_ms = Some(now.saturating_sub(loss.after_ms));
        }
    }

    pub(super) fn restart_failed(&self) {
        self.lock().failed_restarts += 1;
    }

    fn since_begin(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, PfReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
