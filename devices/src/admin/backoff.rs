// SPDX-License-Identifier: Apache-2.0
//! How a thread waits for a device without hopping to another thread.

use std::hint;
use std::thread;
use std::time::{Duration, Instant};

use crate::contract::{Wait, WaitOver};

/// Rounds of processor pauses before the processor is offered to others. Short: on a machine with few
/// cores the device may be software that waits for this very core.
const SPINS: u32 = 16;
const PAUSES: u32 = 8;
/// Yields between two looks at the clock.
const YIELDS: u32 = 64;
/// A device that takes this long is slow by any measure; naps cost it little and save a core.
const PATIENCE: Duration = Duration::from_millis(20);
const NAP: Duration = Duration::from_micros(50);
/// Longest sleep that does not look at the reasons to leave.
const SLICE: Duration = Duration::from_micros(500);

/// Grows from processor pauses over yields to naps. Whoever uses it asks [`Wait::over`] in each round.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    rounds: u32,
    yielding_since: Option<Instant>,
    napping: bool,
}

impl Backoff {
    /// Waits a little.
    pub(super) fn pause(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        if self.napping {
            thread::sleep(NAP);
        } else if self.rounds <= SPINS {
            for _ in 0..PAUSES {
                hint::spin_loop();
            }
        } else {
            thread::yield_now();
            if self.rounds.is_multiple_of(YIELDS) {
                let since = *self.yielding_since.get_or_insert_with(Instant::now);
                self.napping = since.elapsed() > PATIENCE;
            }
        }
    }
}

/// Sleeps for `time`, or until there is a reason to leave.
pub(super) fn sleep(time: Duration, wait: &Wait<'_>) -> Option<WaitOver> {
    let end = Instant::now().checked_add(time);
    loop {
        if let Some(reason) = wait.over() {
            return Some(reason);
        }
        let now = Instant::now();
        let left = end.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
        if left.is_zero() {
            return None;
        }
        let until_deadline = wait.deadline.saturating_duration_since(now);
        thread::sleep(left.min(SLICE).min(until_deadline));
    }
}
