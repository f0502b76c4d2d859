// SPDX-License-Identifier: Apache-2.0
//! What one function counts, since power-on: a reset does not undo what happened. All of it is atomic, so that whoever
//! reads it waits for no lock of the device.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

/// Told that storage of the host began to fail, in words.
pub type HostErrorListener = Box<dyn Fn(&str) + Send + Sync>;

/// Counts of one function.
#[derive(Default)]
pub(super) struct Figures {
    /// The function's name, for messages.
    name: String,
    buffers: AtomicU64,
    dma_faults: AtomicU64,
    last_dma_fault: AtomicU64,
    rings_broken: AtomicU64,
    host_errors: AtomicU64,
    last_host_error: ArcSwapOption<String>,
    listener: OnceLock<HostErrorListener>,
}

/// Accesses to addresses that nothing is mapped at: what an IOMMU logs for hardware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DmaFaults {
    /// How many.
    pub count: u64,
    /// Address (IOVA) of the last access.
    pub last: Option<u64>,
}

impl Figures {
    /// All 0, of the function `name`.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The function's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Who is told of the host's errors; only the first one is.
    pub(super) fn listen(&self, listener: HostErrorListener) {
        let _ = self.listener.set(listener);
    }

    /// Tells of an error of the host.
    pub(super) fn tell(&self, what: &str) {
        if let Some(listener) = self.listener.get() {
            listener(what);
        }
    }

    /// The host could not do something.
    pub(super) fn count_host_error(&self, what: &str) {
        self.host_errors.fetch_add(1, Ordering::Relaxed);
        self.last_host_error.store(Some(Arc::new(what.to_owned())));
    }

    /// Errors of the host, and the last of them.
    pub(super) fn host_errors(&self) -> (u64, Option<String>) {
        let last = self.last_host_error.load().as_deref().cloned();
        (self.host_errors.load(Ordering::Relaxed), last)
    }

    /// One buffer went back to the driver.
    pub(super) fn count_buffer(&self) {
        self.buffers.fetch_add(1, Ordering::Relaxed);
    }

    /// An access to `address` found nothing mapped.
    pub(super) fn count_dma_fault(&self, address: u64) {
        self.last_dma_fault.store(address, Ordering::Relaxed);
        // Release, so that whoever sees the count sees an address, too.
        if self.dma_faults.fetch_add(1, Ordering::Release) == 0 {
            let address = format_args!("{address:#x}");
            tracing::warn!(device = self.name, %address, "DMA fault: nothing is mapped there; later ones are counted only");
        }
    }

    /// The driver broke a queue: rings that are not in memory, chains that loop, indices that jump.
    pub(super) fn count_broken_ring(&self) {
        self.rings_broken.fetch_add(1, Ordering::Relaxed);
    }

    /// Buffers given back to the driver.
    pub(super) fn buffers(&self) -> u64 {
        self.buffers.load(Ordering::Relaxed)
    }

    /// Accesses to memory that was not mapped.
    pub(super) fn dma_faults(&self) -> DmaFaults {
        let count = self.dma_faults.load(Ordering::Acquire);
        DmaFaults { count, last: (count > 0).then(|| self.last_dma_fault.load(Ordering::Relaxed)) }
    }

    /// How often the driver broke a queue.
    pub(super) fn rings_broken(&self) -> u64 {
        self.rings_broken.load(Ordering::Relaxed)
    }
}
