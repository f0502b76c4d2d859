// SPDX-License-Identifier: Apache-2.0
//! Counters of one function, and the report made of them. Pure; counting never blocks.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::access_counts::AccessCounts;
use crate::transitional::below::fault::ErrorCounts;
use crate::transitional::kicks::early::EarlyKicks;
use crate::transitional::layout::identity::DeviceType;

/// An event counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

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

/// How the guest gets interrupts at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InterruptReport {
    /// The guest switched MSI-X on.
    Msix,
    /// INTx, made from the function's MSI-X.
    Intx,
    /// Not at all: MSI-X is off and there is no INTx.
    None,
}

/// Kicks by route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KickReport {
    /// An exit to the VMM and one store to the notify address.
    pub store: u64,
    /// Without an exit, as far as the function counts them.
    pub ioeventfd: u64,
    /// Queues that have the route without exit now.
    pub ioeventfd_queues: usize,
    /// How often a queue was given that route where nobody counts kicks: the kernel does not, for a
    /// function behind VFIO. Those kicks are in none of the figures.
    pub ioeventfd_uncounted: u64,
    /// An exit and a register write.
    pub admin: u64,
    /// Dropped: the queue was not set up.
    pub dropped: u64,
    /// Made before the function had DRIVER_OK, from the guest or from Heirloom.
    pub early: u64,
    /// Repeated at DRIVER_OK.
    pub replayed: u64,
    /// How often an early kick made Heirloom give the function DRIVER_OK before the guest did.
    pub early_starts: u64,
}

/// Synthetic interrupts by kind. MSI-X interrupts go from the function to the guest uncounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IntxReport {
    /// From queue vectors.
    pub queue: u64,
    /// From the configuration vector.
    pub config: u64,
    /// Raised in case one was lost.
    pub spurious: u64,
}

/// Guest accesses to BAR0, and what they cost below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessReport {
    /// Guest reads.
    pub reads: u64,
    /// Guest writes.
    pub writes: u64,
    /// Guest reads of the ISR among them, answered in software.
    pub isr_reads: u64,
    /// Guest reads among them that were answered from the shadow, the ISR not counted.
    pub shadow_reads: u64,
    /// Register accesses made below.
    pub commands: u64,
}

/// The state of one function, for `vm.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// The id from the configuration.
    pub id: String,
    /// Device type.
    pub device: DeviceType,
    /// Name of the function below.
    pub function: String,
    /// How the guest gets interrupts.
    pub interrupts: InterruptReport,
    /// The status byte the guest wrote last.
    pub status: u8,
    /// Queues that are set up through the legacy interface.
    pub queues: Vec<u16>,
    /// Where kicks are stored, such as `member BAR 2 + 0x1000`; `register` if by register writes.
    pub notify: String,
    /// What is done about kicks before DRIVER_OK, as configured.
    pub early: EarlyKicks,
    /// Kicks.
    pub kicks: KickReport,
    /// Synthetic interrupts.
    pub intx: IntxReport,
    /// Register accesses.
    pub accesses: AccessReport,
    /// Resets by the guest.
    pub resets: u64,
    /// Function-level resets that the VMM had to make for them.
    pub function_resets: u64,
    /// Failures by kind.
    pub errors: ErrorCounts,
    /// Why the function answers no more, if so.
    pub faulted: Option<String>,
}
