// SPDX-License-Identifier: Apache-2.0
//! News from inside a machine as events, and counts of them that outlive the machine. Never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use devices::transitional::{FaultChange, Tracer};

use super::{EventBus, EventKind};
use crate::machine::Observer;
use crate::trace::TraceHub;

/// Counts since the engine was started.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) boots: AtomicU64,
    pub(super) guest_resets: AtomicU64,
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

/// What a machine tells.
pub(super) struct News {
    pub(super) events: Arc<EventBus>,
    pub(super) tally: Arc<Tally>,
    pub(super) traces: Arc<TraceHub>,
}

impl Observer for News {
    fn device(&self, id: &str, change: FaultChange<'_>) {
        let id = id.to_owned();
        match change {
            FaultChange::Faulted(reason) => {
                count(&self.tally.faults);
                self.events.publish(EventKind::DeviceFaulted { id, reason: reason.to_owned() });
            }
            FaultChange::Recovered => {
                count(&self.tally.recoveries);
                self.events.publish(EventKind::DeviceRecovered { id });
            }
        }
    }

    fn pf_lost(&self, pf: &str, reason: &str) {
        count(&self.tally.pf_losses);
        self.events.publish(EventKind::PfLost { pf: pf.to_owned(), reason: reason.to_owned() });
    }

    fn pf_returned(&self, pf: &str) {
        count(&self.tally.pf_restarts);
        self.events.publish(EventKind::PfReturned { pf: pf.to_owned() });
    }

    fn tracer(&self) -> Option<&Arc<Tracer>> {
        Some(self.traces.tracer())
    }
}
