// SPDX-License-Identifier: Apache-2.0
//! A PF's history: how often it was lost and restarted, and why it was last lost. The watchdog
//! writes it, reports read it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::contract::{Counts, Family};

static LOSSES: Family =
    Family { name: "heirloom_pf_machine_losses_total", help: "Times the PF was lost since the boot.", label: None };
static RESTARTS: Family = Family {
    name: "heirloom_pf_machine_restarts_total",
    help: "Times the PF was restarted since the boot.",
    label: None,
};
static FAILED_RESTARTS: Family = Family {
    name: "heirloom_pf_failed_restarts_total",
    help: "Failed attempts to restart the PF since the boot.",
    label: None,
};

crate::contract::counter_kinds! {
    /// What is counted of a PF.
    pub enum PfCounter;
    "Times that it was lost." Losses = "losses" as LOSSES "";
    "Times that it was started again." Restarts = "restarts" as RESTARTS "";
    "Attempts to start it again that failed." FailedRestarts = "failed_restarts" as FAILED_RESTARTS "";
}

/// What was counted of a PF.
pub type PfCounts = Counts<PfCounter, { PfCounter::COUNT }>;

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
    /// How often.
    #[serde(flatten)]
    pub counts: PfCounts,
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
        report.counts.add(PfCounter::Losses);
        report.last_loss = Some(PfLoss { after_ms, reason: reason.to_owned(), back_after_ms: None });
    }

    pub(super) fn restarted(&self, now: Instant) {
        let now = self.since_begin(now);
        let mut report = self.lock();
        report.counts.add(PfCounter::Restarts);
        if let Some(loss) = &mut report.last_loss {
            loss.back_after_ms = Some(now.saturating_sub(loss.after_ms));
        }
    }

    pub(super) fn restart_failed(&self) {
        self.lock().counts.add(PfCounter::FailedRestarts);
    }

    fn since_begin(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, PfReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "pf_log_tests.rs"]
mod tests;
