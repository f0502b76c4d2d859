// SPDX-License-Identifier: Apache-2.0
//! Hidden vectors: MSI-X vectors of the VF that the VMM uses for itself while the guest has MSI-X
//! off, and the event loop's part that turns their signals into INTx.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Instant;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};
use vmm_sys_util::timerfd::TimerFd;

use super::throttle::Throttle;
use crate::function::eventfds;
use crate::transitional::below::back_end::BackEnd;
use crate::transitional::guest_config::space::{GuestConfig, ISR_CONFIG, ISR_QUEUE};
use crate::transitional::layout::queue_set::MAX_QUEUES;
use crate::transitional::telemetry::stats::DeviceCounter;

/// The vector for configuration changes.
pub(crate) const CONFIG_VECTOR: u16 = 0;

/// Events of the hidden vectors: number 0 for configuration changes, the others for queues. With one
/// vector, it is for both.
pub(crate) struct HiddenVectors {
    events: Vec<EventFd>,
    /// The vector that configuration changes really use: the device may have refused the first.
    config: AtomicU16,
    /// Whether a signal of some of them would not be noticed.
    unwatched: AtomicBool,
}

impl HiddenVectors {
    /// Vectors for `queues` queues (at least one is assumed) of a function that has `available`.
    pub(crate) fn new(queues: u16, available: u16) -> io::Result<Self> {
        let wanted = queues.clamp(1, MAX_QUEUES) + 1;
        let events =
            (0..wanted.min(available)).map(|_| EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)).collect::<io::Result<_>>()?;
        Ok(Self { events, config: AtomicU16::new(CONFIG_VECTOR), unwatched: AtomicBool::new(false) })
    }

    /// What to hand to the function: vector `n` signals element `n`.
    pub(crate) fn events(&self) -> Vec<Option<&EventFd>> {
        self.events.iter().map(Some).collect()
    }

    /// Number of vectors; 0 if the function has none.
    pub(crate) fn len(&self) -> u16 {
        self.events.len() as u16
    }

    /// Vectors to try for configuration changes, best first.
    pub(crate) fn config_candidates(&self) -> impl Iterator<Item = u16> + use<> {
        let count = self.len();
        [CONFIG_VECTOR, CONFIG_VECTOR + 1].into_iter().filter(move |vector| *vector < count)
    }

    /// The device accepted `vector` for configuration changes.
    pub(crate) fn set_config(&self, vector: u16) {
        self.config.store(vector, Ordering::Release);
    }

    /// The vector that configuration changes use.
    pub(crate) fn config(&self) -> u16 {
        self.config.load(Ordering::Acquire)
    }

    /// Whether the event loop could not watch one of them: a guest must not rely on them.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.unwatched.load(Ordering::Acquire)
    }

    /// Interrupt status bits that a signal of `vector` sets.
    fn isr_bits(&self, vector: usize) -> u8 {
        let is_config = vector == usize::from(self.config.load(Ordering::Acquire));
        if is_config { ISR_CONFIG } else { ISR_QUEUE }
    }

    /// Vectors to try for `queue`, best first: its own or its share, then any queue's, then the one
    /// for configuration changes. A device may refuse some.
    pub(crate) fn candidates(&self, queue: u16) -> impl Iterator<Item = u16> + use<> {
        let count = self.len();
        let own = 1 + queue % count.saturating_sub(1).max(1);
        let tried = [Some(own), (own != 1).then_some(1), Some(CONFIG_VECTOR)];
        tried.into_iter().flatten().filter(move |vector| *vector < count)
    }

    /// Forgets signals that nobody took.
    pub(crate) fn drain(&self) {
        for event in &self.events {
            eventfds::take(event);
        }
    }
}

/// Event data of the timer; vectors have their numbers.
const TIMER: u32 = u32::MAX;

/// Raises INTx when a hidden vector is signalled. The event loop runs it.
pub struct InterruptPump {
    vectors: Arc<HiddenVectors>,
    guest_config: Arc<GuestConfig>,
    back_end: Arc<BackEnd>,
    throttle: Throttle,
    /// Made when the event loop has the pump.
    timer: Option<TimerFd>,
    /// Whether the timer runs: no vector is looked at before it ends.
    paused: bool,
    /// Vectors that were signalled meanwhile, which the event loop does not watch.
    put_off: Vec<u32>,
}

impl InterruptPump {
    /// From `vectors` to the line of `guest_config`, counted by `back_end`.
    pub(super) fn new(vectors: &Arc<HiddenVectors>, guest_config: &Arc<GuestConfig>, back_end: &Arc<BackEnd>) -> Self {
        Self {
            vectors: Arc::clone(vectors),
            guest_config: Arc::clone(guest_config),
            back_end: Arc::clone(back_end),
            throttle: Throttle::default(),
            timer: None,
            paused: false,
            put_off: Vec::new(),
        }
    }

    /// The event is read under the lock of the status: a reset that clears the status and drains the
    /// events then finds either the event or the bit, and no stale interrupt comes after it. Says whether the guest
    /// was told something new.
    fn pump(&self, vector: u32) -> bool {
        let Some(event) = self.vectors.events.get(vector as usize) else { return false };
        let bits = self.vectors.isr_bits(vector as usize);
        let Some(before) = self.guest_config.raise_if(bits, || eventfds::take(event).is_some()) else { return false };
        self.back_end.trace().interrupt(bits, false);
        match bits {
            ISR_CONFIG => self.back_end.stats().add(DeviceCounter::ConfigInterrupts),
            _ => self.back_end.stats().add(DeviceCounter::QueueInterrupts),
        }
        before & bits != bits
    }

    /// A VF that signals without end costs a part of the event loop's time, not all of it.
    fn pause(&mut self, pause: std::time::Duration) {
        let timer = self.timer.as_mut().map(|timer| timer.reset(pause, None));
        self.paused = matches!(timer, Some(Ok(())));
        let stats = self.back_end.stats();
        stats.add(DeviceCounter::Throttled);
        if stats.counters().get(DeviceCounter::Throttled) == 1 {
            let device = self.back_end.faults().name();
            tracing::warn!(device, "the VF never stops signalling; its interrupts are now passed on at intervals");
        }
    }

    fn watch(&self, vector: u32, ops: &mut EventOps<'_>) {
        let Some(event) = self.vectors.events.get(vector as usize) else { return };
        if let Err(error) = ops.add(Events::with_data(event, vector, EventSet::IN)) {
            self.lost(&format!("vector {vector}: {error}"));
        }
    }

    /// A function that goes on without interrupts would be a guest that hangs and says nothing.
    fn lost(&self, what: &str) {
        tracing::error!(device = self.back_end.faults().name(), what, "cannot watch interrupts");
        self.back_end.faults().function(&format_args!("cannot watch interrupts: {what}"));
        self.vectors.unwatched.store(true, Ordering::Release);
    }

    fn resume(&mut self, ops: &mut EventOps<'_>) {
        // It is readable, so this does not wait.
        let _ = self.timer.as_mut().map(TimerFd::wait);
        self.paused = false;
        for vector in std::mem::take(&mut self.put_off) {
            self.watch(vector, ops);
        }
    }

    fn put_off(&mut self, vector: u32, ops: &mut EventOps<'_>) {
        let Some(event) = self.vectors.events.get(vector as usize) else { return };
        if ops.remove(Events::with_data(event, vector, EventSet::IN)).is_ok() {
            self.put_off.push(vector);
        }
    }
}

impl MutEventSubscriber for InterruptPump {
    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.data() {
            TIMER => self.resume(ops),
            vector if self.paused => self.put_off(vector, ops),
            vector => {
                let useful = self.pump(vector);
                if let Some(pause) = self.throttle.note(Instant::now(), useful) {
                    self.pause(pause);
                }
            }
        }
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        let timer = TimerFd::new().map_err(|error| error.to_string());
        let watched = timer.and_then(|timer| {
            let added = ops.add(Events::with_data(&timer, TIMER, EventSet::IN));
            added.map(|()| timer).map_err(|error| error.to_string())
        });
        match watched {
            Ok(timer) => self.timer = Some(timer),
            Err(error) => self.lost(&format!("the timer: {error}")),
        }
        (0..u32::from(self.vectors.len())).for_each(|vector| self.watch(vector, ops));
    }
}

#[cfg(test)]
#[path = "vectors_tests.rs"]
mod tests;
