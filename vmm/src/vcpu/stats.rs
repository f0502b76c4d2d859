// SPDX-License-Identifier: Apache-2.0
//! Exit counters of one vCPU. Only its own thread counts, anybody may look.

use devices::contract::{Counters, Counts};

devices::contract::counter_kinds! {
    /// Kinds of exits that are counted.
    pub enum ExitKind;
    "Port reads." PortIn = "port_in";
    "Port writes; those that signal an eventfd do not exit." PortOut = "port_out";
    "Reads of memory addresses." MmioRead = "mmio_read";
    "Writes to memory addresses." MmioWrite = "mmio_write";
    "`hlt`; 0 as long as the kernel emulates the local APIC." Hlt = "hlt";
    "Kicks and other signals." Interrupted = "interrupted";
    "Everything else: shutdown, errors." Other = "other";
}

/// Counters; share them with an `Arc`.
pub type VcpuStats = Counters<ExitKind, { ExitKind::COUNT }>;

/// Exits since the vCPU's thread was started. A string instruction with many elements may be one exit.
pub type ExitCounts = Counts<ExitKind, { ExitKind::COUNT }>;
