// SPDX-License-Identifier: Apache-2.0
//! The report of one function, for `vm.info`.

use super::TransitionalDevice;
use crate::transitional::below::fault::FaultChange;
use crate::transitional::telemetry::access_counts::RegisterAccesses;
use crate::transitional::telemetry::reports::{AccessReport, DeviceReport, InterruptReport, IntxReport, KickReport};

impl TransitionalDevice {
    /// Has `observer` told when the function goes out of service, and when it is back; once in its life. It is
    /// called on vCPU threads and must not wait.
    pub fn observe_faults(&self, observer: impl Fn(FaultChange<'_>) + Send + Sync + 'static) {
        self.back_end.faults().observe(Box::new(observer));
    }

    /// The guest's accesses to BAR0 by register.
    pub fn register_accesses(&self) -> Vec<RegisterAccesses> {
        self.back_end.stats().by_register.snapshot()
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
        DeviceReport {
            id: self.config.id.clone(),
            device: self.registers.layout().device,
            function: self.vf_name.clone(),
            interrupts: match (guest_msix, self.interrupts.offers_intx()) {
                (true, _) => InterruptReport::Msix,
                (false, true) => InterruptReport::Intx,
                (false, false) => InterruptReport::None,
            },
            status,
            queues: self.kicks.configured(),
            notify: self.kicks.describe(),
            early: self.config.early_kicks,
            kicks: KickReport {
                store: stats.kicks_stored.get(),
                ioeventfd: ioeventfds.kicks,
                ioeventfd_queues: ioeventfds.live,
                ioeventfd_uncounted: ioeventfds.uncounted,
                admin: stats.kicks_commanded.get(),
                dropped: stats.kicks_dropped.get(),
                early: stats.kicks_early.get(),
                replayed: stats.kicks_replayed.get(),
                early_starts: stats.early_starts.get(),
            },
            intx: IntxReport {
                queue: stats.queue_interrupts.get(),
                config: stats.config_interrupts.get(),
                spurious: stats.spurious_interrupts.get(),
            },
            accesses: AccessReport {
                reads: stats.reads.get(),
                writes: stats.writes.get(),
                isr_reads: stats.isr_reads.get(),
                shadow_reads: stats.shadow_reads.get(),
                commands: stats.commands.get(),
            },
            resets: stats.resets.get(),
            function_resets: stats.function_resets.get(),
            errors: self.back_end.faults().counts(),
            faulted: self.back_end.faults().reason(),
        }
    }
}
