// SPDX-License-Identifier: Apache-2.0
//! Counts that outlive a machine. The metric of each is `heirloom_NAME_total`.

use devices::contract::Counters;

devices::contract::counter_kinds! {
    /// What is counted since the engine was started.
    pub(super) enum EngineCounter;
    "Machines that were started, reboots included." Boots = "boots";
    "Resets of the machine by its guest." GuestResets = "guest_resets";
    "Resets that were delayed, because the guest did nothing but reset." DelayedResets = "delayed_resets";
    "Guests that crashed." Crashes = "crashes";
    "Times a device went out of service." Faults = "device_faults";
    "Times a device came back into service." Recoveries = "device_recoveries";
    "Times the PF was lost." PfLosses = "pf_losses";
    "Times the PF was restarted." PfRestarts = "pf_restarts";
}

/// Counts since the engine was started.
pub(super) type EngineCounters = Counters<EngineCounter, { EngineCounter::COUNT }>;
