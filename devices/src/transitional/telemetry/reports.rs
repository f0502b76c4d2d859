// SPDX-License-Identifier: Apache-2.0
//! The report of one function, for `vm.info`. Pure.

use serde::Serialize;

use crate::contract::RegisterFailures;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::settings::EarlyKicks;

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
    pub errors: RegisterFailures,
    /// Why the function answers no more, if so.
    pub faulted: Option<String>,
}
