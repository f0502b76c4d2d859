// SPDX-License-Identifier: Apache-2.0
//! What a machine tells, as events and counts. Never waits.

use std::sync::Arc;

use devices::transitional::{FaultChange, Tracer};

use super::counters::{EngineCounter, EngineCounters};
use super::{EventBus, EventKind};
use crate::machine::Observer;
use crate::trace::TraceHub;

/// Publishes what a machine tells.
pub(super) struct EventPublisher {
    pub(super) events: Arc<EventBus>,
    pub(super) counters: Arc<EngineCounters>,
    pub(super) traces: Arc<TraceHub>,
}

impl Observer for EventPublisher {
    fn device(&self, id: &str, change: FaultChange<'_>) {
        let id = id.to_owned();
        match change {
            FaultChange::Faulted(reason) => {
                self.counters.add(EngineCounter::Faults);
                self.events.publish(EventKind::DeviceFaulted { id, reason: reason.to_owned() });
            }
            FaultChange::Recovered => {
                self.counters.add(EngineCounter::Recoveries);
                self.events.publish(EventKind::DeviceRecovered { id });
            }
        }
    }

    fn host_error(&self, id: &str, what: &str) {
        self.events.publish(EventKind::HostError { id: id.to_owned(), reason: what.to_owned() });
    }

    fn pf_lost(&self, pf: &str, reason: &str) {
        self.counters.add(EngineCounter::PfLosses);
        self.events.publish(EventKind::PfLost { pf: pf.to_owned(), reason: reason.to_owned() });
    }

    fn pf_returned(&self, pf: &str) {
        self.counters.add(EngineCounter::PfRestarts);
        self.events.publish(EventKind::PfReturned { pf: pf.to_owned() });
    }

    fn tracer(&self) -> Option<&Arc<Tracer>> {
        Some(self.traces.tracer())
    }
}
