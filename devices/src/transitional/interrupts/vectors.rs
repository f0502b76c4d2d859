// SPDX-License-Identifier: Apache-2.0
//! Hidden vectors: MSI-X vectors of the VF that the VMM uses for itself while the guest has MSI-X
//! off, and the event loop's part that turns their signals into INTx.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::function::eventfds;
use crate::transitional::below::back_end::BackEnd;
use crate::transitional::guest_config::space::{GuestConfig, ISR_CONFIG, ISR_QUEUE};
use crate::transitional::layout::queue_set::MAX_QUEUES;
use crate::transitional::telemetry::stats::{DeviceCounter, Stats};
use crate::transitional::telemetry::trace::DeviceTrace;

/// The vector for configuration changes.
pub const CONFIG_VECTOR: u16 = 0;

/// Events of the hidden vectors: number 0 for configuration changes, the others for queues. With one
/// vector, it is for both.
pub struct HiddenVectors {
    events: Vec<EventFd>,
    /// The vector that configuration changes really use: the device may have refused the first.
    config: AtomicU16,
}

impl HiddenVectors {
    /// Vectors for `queues` queues (at least one is assumed) of a function that has `available`.
    pub fn new(queues: u16, available: u16) -> io::Result<Self> {
        let wanted = queues.clamp(1, MAX_QUEUES) + 1;
        let events =
            (0..wanted.min(available)).map(|_| EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)).collect::<io::Result<_>>()?;
        Ok(Self { events, config: AtomicU16::new(CONFIG_VECTOR) })
    }

    /// What to hand to the function: vector `n` signals element `n`.
    pub fn events(&self) -> Vec<Option<&EventFd>> {
        self.events.iter().map(Some).collect()
    }

    /// Number of vectors; 0 if the function has none.
    pub fn len(&self) -> u16 {
        self.events.len() as u16
    }

    /// Vectors to try for configuration changes, best first.
    pub fn config_candidates(&self) -> impl Iterator<Item = u16> + use<> {
        let count = self.len();
        [CONFIG_VECTOR, CONFIG_VECTOR + 1].into_iter().filter(move |vector| *vector < count)
    }

    /// The device accepted `vector` for configuration changes.
    pub fn set_config(&self, vector: u16) {
        self.config.store(vector, Ordering::Release);
    }

    /// The vector that configuration changes use.
    pub fn config(&self) -> u16 {
        self.config.load(Ordering::Acquire)
    }

    /// Interrupt status bits that a signal of `vector` sets.
    fn isr_bits(&self, vector: usize) -> u8 {
        let is_config = vector == usize::from(self.config.load(Ordering::Acquire));
        if is_config { ISR_CONFIG } else { ISR_QUEUE }
    }

    /// Vectors to try for `queue`, best first: its own or its share, then any queue's, then the one
    /// for configuration changes. A device may refuse some.
    pub fn candidates(&self, queue: u16) -> impl Iterator<Item = u16> + use<> {
        let count = self.len();
        let own = 1 + queue % count.saturating_sub(1).max(1);
        let tried = [Some(own), (own != 1).then_some(1), Some(CONFIG_VECTOR)];
        tried.into_iter().flatten().filter(move |vector| *vector < count)
    }

    /// Forgets signals that nobody took.
    pub fn drain(&self) {
        for event in &self.events {
            eventfds::take(event);
        }
    }
}

/// Raises INTx when a hidden vector is signalled. The event loop runs it.
pub struct InterruptPump {
    vectors: Arc<HiddenVectors>,
    guest_config: Arc<GuestConfig>,
    stats: Arc<Stats>,
    trace: Arc<DeviceTrace>,
}

impl InterruptPump {
    /// From `vectors` to the line of `guest_config`, counted by `back_end`.
    pub(super) fn new(vectors: &Arc<HiddenVectors>, guest_config: &Arc<GuestConfig>, back_end: &BackEnd) -> Self {
        Self {
            vectors: Arc::clone(vectors),
            guest_config: Arc::clone(guest_config),
            stats: Arc::clone(back_end.stats()),
            trace: Arc::clone(back_end.trace()),
        }
    }

    /// The event is read under the lock of the status: a reset that clears the status and drains the
    /// events then finds either the event or the bit, and no stale interrupt comes after it.
    fn pump(&self, vector: usize) {
        let Some(event) = self.vectors.events.get(vector) else { return };
        let bits = self.vectors.isr_bits(vector);
        if self.guest_config.raise_if(bits, || eventfds::take(event).is_some()) {
            self.trace.interrupt(bits, false);
            match bits {
                ISR_CONFIG => self.stats.add(DeviceCounter::ConfigInterrupts),
                _ => self.stats.add(DeviceCounter::QueueInterrupts),
            }
        }
    }
}

impl MutEventSubscriber for InterruptPump {
    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        self.pump(events.data() as usize);
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        for (number, event) in (0_u32..).zip(&self.vectors.events) {
            if let Err(error) = ops.add(Events::with_data(event, number, EventSet::IN)) {
                tracing::error!(vector = number, %error, "cannot watch a vector: its interrupts are lost");
            }
        }
    }
}

#[cfg(test)]
#[path = "vectors_tests.rs"]
mod tests;
