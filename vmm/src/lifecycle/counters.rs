// SPDX-License-Identifier: Apache-2.0
//! Counts that outlive a machine.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the engine was started.
#[derive(Debug, Default)]
pub(super) struct EngineCounters {
    pub(super) boots: AtomicU64,
    pub(super) guest_resets: AtomicU64,
    pub(super) delayed_resets: AtomicU64,
    pub(super) crashes: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) recoveries: AtomicU64,
    pub(super) pf_losses: AtomicU64,
    pub(super) pf_restarts: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
