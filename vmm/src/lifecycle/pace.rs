// SPDX-License-Identifier: Apache-2.0
//! How soon a guest that resets itself starts again. At once, until it does nothing but reset: then it waits, longer
//! each time, so that a guest that cannot start costs neither a core of the host nor files full of its starts.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::timerfd::TimerFd;

/// A guest that ran for so long is none that does nothing but reset.
const LONG_RUN: Duration = Duration::from_secs(10);
/// Shorter runs in a row that cost nothing: firmware and boot loaders reset more than once on purpose.
const FREE: u32 = 10;
/// The first wait; each is twice the one before.
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(10);

/// The pace of one virtual machine.
pub(super) struct ResetPace {
    short_runs: u32,
    started: Option<Instant>,
    /// The guest reset itself, and starts again then.
    pending: Option<Instant>,
    timer: Arc<Mutex<TimerFd>>,
}

impl ResetPace {
    /// With a timer that is to become part of the main loop, which looks at the guest when it rings.
    ///
    /// # Errors
    /// When the system has no timer to give.
    pub(super) fn new() -> io::Result<(Self, Box<dyn MutEventSubscriber + Send>)> {
        let timer = Arc::new(Mutex::new(TimerFd::new()?));
        let pace = Self { short_runs: 0, started: None, pending: None, timer: Arc::clone(&timer) };
        Ok((pace, Box::new(Ring(timer))))
    }

    /// The guest starts, for whatever reason.
    pub(super) fn started(&mut self, now: Instant) {
        (self.started, self.pending) = (Some(now), None);
    }

    /// The guest is off, or another one: nothing is remembered.
    pub(super) fn forget(&mut self) {
        (self.short_runs, self.started, self.pending) = (0, None, None);
    }

    /// When the guest that has reset itself starts again, if it is to wait for that.
    pub(super) fn pending(&self) -> Option<Instant> {
        self.pending
    }

    /// The guest has reset itself: for how long it is to wait.
    pub(super) fn reset(&mut self, now: Instant) -> Option<Duration> {
        let ran = self.started.map_or(Duration::ZERO, |started| now.saturating_duration_since(started));
        self.short_runs = if ran >= LONG_RUN { 0 } else { self.short_runs.saturating_add(1) };
        let wait = wait(self.short_runs)?;
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        match timer.reset(wait, None) {
            Ok(()) => {
                self.pending = Some(now + wait);
                Some(wait)
            }
            Err(error) => {
                tracing::warn!("cannot slow down a guest that does nothing but reset: {error}");
                None
            }
        }
    }
}

/// The wait after this many short runs in a row.
fn wait(short_runs: u32) -> Option<Duration> {
    let steps = short_runs.checked_sub(FREE + 1)?;
    Some(2u32.checked_pow(steps).map_or(LONGEST, |factor| FIRST.saturating_mul(factor).min(LONGEST)))
}

/// Wakes the main loop.
struct Ring(Arc<Mutex<TimerFd>>);

impl MutEventSubscriber for Ring {
    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        // It is readable, so this does not block.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }

    fn init(&mut self, ops: &mut EventOps) {
        let timer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = ops.add(Events::new(&*timer, EventSet::IN)) {
            tracing::error!("cannot watch the timer of resets: {error:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f21_a_reset_loop_slows_down_and_a_guest_that_runs_does_not() {
        let (mut pace, _ring) = ResetPace::new().unwrap();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..20 {
            pace.started(now);
            now += Duration::from_millis(40);
            let wait = pace.reset(now).unwrap_or_default();
            assert_eq!(pace.pending(), (!wait.is_zero()).then(|| now + wait));
            now += wait;
            waits.push(wait.as_millis());
        }
        assert_eq!(waits[..FREE as usize], [0; FREE as usize]);
        assert_eq!(waits[FREE as usize..], [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        pace.started(now);
        assert_eq!(pace.reset(now + LONG_RUN), None, "it has run: it may reset itself");
        pace.forget();
        assert_eq!(pace.pending(), None);
        assert_eq!(wait(u32::MAX), Some(LONGEST));
    }
}
