// SPDX-License-Identifier: Apache-2.0
//! Exit counters of one vCPU. Only its own thread counts, anybody may look.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters; share them with an `Arc`.
#[derive(Debug, Default)]
pub struct VcpuStats {
    port_in: AtomicU64,
    port_out: AtomicU64,
    mmio_read: AtomicU64,
    mmio_write: AtomicU64,
    hlt: AtomicU64,
    interrupted: AtomicU64,
    other: AtomicU64,
}

/// Exits since the vCPU's thread was started. A string instruction with many elements may be one exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitCounts {
    /// Port reads.
    pub port_in: u64,
    /// Port writes; those that signal an eventfd do not exit.
    pub port_out: u64,
    /// Reads of memory addresses.
    pub mmio_read: u64,
    /// Writes to memory addresses.
    pub mmio_write: u64,
    /// `hlt`; 0 as long as the kernel emulates the local APIC.
    pub hlt: u64,
    /// Kicks and other signals.
    pub interrupted: u64,
    /// Everything else: shutdown, errors.
    pub other: u64,
}

/// Kinds of exits that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExitKind {
    PortIn,
    PortOut,
    MmioRead,
    MmioWrite,
    Hlt,
    Interrupted,
    Other,
}

impl VcpuStats {
    pub(super) fn count(&self, kind: ExitKind) {
        let counter = match kind {
            ExitKind::PortIn => &self.port_in,
            ExitKind::PortOut => &self.port_out,
            ExitKind::MmioRead => &self.mmio_read,
            ExitKind::MmioWrite => &self.mmio_write,
            ExitKind::Hlt => &self.hlt,
            ExitKind::Interrupted => &self.interrupted,
            ExitKind::Other => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters as they are; each for itself, not as of one moment.
    pub fn counts(&self) -> ExitCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ExitCounts {
            port_in: get(&self.port_in),
            port_out: get(&self.port_out),
            mmio_read: get(&self.mmio_read),
            mmio_write: get(&self.mmio_write),
            hlt: get(&self.hlt),
            interrupted: get(&self.interrupted),
            other: get(&self.other),
        }
    }
}
