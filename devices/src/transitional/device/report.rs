// SPDX-License-Identifier: Apache-2.0
//! The report of one function, for `vm.info`.

use super::TransitionalDevice;
use crate::transitional::below::fault::FaultChange;
use crate::transitional::telemetry::access_counts::RegisterAccesses;
use crate::transitional::telemetry::reports::DeviceReport;
use crate::transitional::telemetry::stats::DeviceCounter;

impl TransitionalDevice {
    /// Has `observer` told when the function goes out of service, and when it is back; once in its life. It is
    /// called on vCPU threads and must not wait.
    pub fn observe_faults(&self, observer: impl Fn(FaultChange<'_>) + Send + Sync + 'static) {
        self.back_end.faults().observe(Box::new(observer));
    }

    /// The guest's accesses to BAR0 by register.
    pub fn register_accesses(&self) -> Vec<RegisterAccesses> {
        self.back_end.stats().by_register().snapshot()
    }

    /// How often the function went out of service, and why it did last.
    pub fn fault_history(&self) -> (u64, Option<String>) {
        self.back_end.faults().history()
    }

    /// The state of the function and what it counted. Never waits for a register access, so that a
    /// function with a dead PF can be looked at.
    pub fn report(&self) -> DeviceReport {
        let (status, guest_msix) = self.published();
        let stats = self.back_end.stats();
        let ioeventfds = self.kicks.without_exits();
        let (interrupts_used, interrupts_used_left_out) = self.interrupt_log.report(self.intx_made());
        DeviceReport {
            id: self.config.id.clone(),
            device: self.registers.layout().device,
            function: self.vf_name.clone(),
            interrupts: self.interrupts_now(guest_msix),
            status,
            queues: self.kicks.configured(),
            notify: self.kicks.describe(),
            early: self.config.kicks.early,
            counts: (stats.counters().counts())
                .with(DeviceCounter::KicksByIoeventfd, ioeventfds.kicks)
                .with(DeviceCounter::QueuesByIoeventfd, ioeventfds.live as u64)
                .with(DeviceCounter::UncountedIoeventfds, ioeventfds.uncounted),
            interrupts_used,
            interrupts_used_left_out,
            errors: self.back_end.faults().counts(),
            faulted: self.back_end.faults().reason(),
        }
    }
}
