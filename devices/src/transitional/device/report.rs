// SPDX-License-Identifier: Apache-2.0
//! The report of one function, for `vm.info`.

use crate::transitional::below::fault::FaultChange;
use crate::transitional::device::TransitionalDevice;
use crate::transitional::telemetry::access_counts::RegisterAccesses;
use crate::transitional::telemetry::stats::{AccessReport, DeviceReport, InterruptReport, IntxReport, KickReport};

impl TransitionalDevice {
    /// Has `observer` told when the function goes out of service, and when it is back; once in its life. It is
    /// called on vCPU threads and must not wait.
    pub fn observe_faults(&self, observer: impl Fn(FaultChange<'_>) + Send + Sync + 'static) {
        self.faults.observe(Box::new(observer));
    }

    /// The guest's accesses to BAR0 by register.
    pub fn register_accesses(&self) -> Vec<RegisterAccesses> {
        self.stats.by_register.snapshot()
    }

    /// How often the function went out of service, and why it did last.
    pub fn fault_history(&self) -> (u64, Option<String>) {
        self.faults.history()
    }

    /// The state of the function and what it counted. Never waits for a register access, so that a
    /// function with a dead PF can be looked at.
    pub fn report(&self) -> DeviceReport {
        let (status, guest_msix) = self.published();
        let stats = &self.stats;
        let links = self.notifier.linked();
        DeviceReport {
            id: self.config.id.clone(),
            device: self.layout.device,
            function: self.vf.name().to_owned(),
            interrupts: match (guest_msix, self.intx) {
                (true, _) => InterruptReport::Msix,
                (false, true) => InterruptReport::Intx,
                (false, false) => InterruptReport::None,
            },
            status,
            queues: self.notifier.configured(),
            notify: self.notifier.describe(),
            early: self.config.early_kicks,
            kicks: KickReport {
                store: stats.kicks_stored.get(),
                ioeventfd: links.kicks,
                ioeventfd_queues: links.live,
                ioeventfd_uncounted: links.uncounted,
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
            errors: self.faults.counts(),
            faulted: self.faults.reason(),
        }
    }
}
