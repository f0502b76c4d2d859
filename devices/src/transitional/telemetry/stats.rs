// SPDX-License-Identifier: Apache-2.0
//! What is counted of one function. Pure; counting never blocks.

use super::access_counts::AccessCounts;
use super::counter::Counter;

/// What a function counts.
#[derive(Debug, Default)]
pub struct Stats {
    /// Guest reads of BAR0.
    pub reads: Counter,
    /// Guest writes of BAR0, kicks included.
    pub writes: Counter,
    /// Guest reads and writes by register.
    pub by_register: AccessCounts,
    /// Guest reads of the ISR, all answered in software.
    pub isr_reads: Counter,
    /// Guest reads answered from what is known, without an access below.
    pub shadow_reads: Counter,
    /// Accesses to the legacy registers below, successful or not.
    pub commands: Counter,
    /// Kicks by a store from the exit loop.
    pub kicks_stored: Counter,
    /// Kicks by a register write.
    pub kicks_commanded: Counter,
    /// Kicks for queues that are not set up, dropped.
    pub kicks_dropped: Counter,
    /// Kicks before the device had DRIVER_OK.
    pub kicks_early: Counter,
    /// Kicks repeated at DRIVER_OK, the guest's or ours.
    pub kicks_replayed: Counter,
    /// How often the device was given DRIVER_OK in its driver's place.
    pub early_starts: Counter,
    /// Queue interrupts turned into INTx.
    pub queue_interrupts: Counter,
    /// Configuration interrupts turned into INTx.
    pub config_interrupts: Counter,
    /// INTx raised without need, so that none is lost when MSI-X is switched off.
    pub spurious_interrupts: Counter,
    /// Resets the guest asked for.
    pub resets: Counter,
    /// Function-level resets made because a reset did not end.
    pub function_resets: Counter,
}
