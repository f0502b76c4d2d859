// SPDX-License-Identifier: Apache-2.0
//! Interrupt throttling: when a VF signals its hidden vectors so much that the main loop must look away for a moment.
//! Nothing is lost by that, as a signal stays in its eventfd; many become one. Pure; somebody else has the clock.

use std::time::{Duration, Instant};

/// After this time the count starts again.
const ROUND: Duration = Duration::from_millis(10);
/// Signals that may be handled in a round. A network card that moderates its interrupts makes 200.
const MOST: u32 = 1000;
/// What a signal counts that tells the guest nothing, as it has not looked since the one before. A guest's driver has
/// such signals suppressed while it has not, so an honest device makes few.
const REDUNDANT: u32 = 16;
/// The first pause, and the longest one. They double from round to round that is too much.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(32));

/// The throttle of one function.
#[derive(Debug)]
pub(super) struct Throttle {
    begun: Option<Instant>,
    spent: u32,
    pause: Duration,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { begun: None, spent: 0, pause: PAUSES.0 }
    }
}

impl Throttle {
    /// A signal was handled at `now`, which never goes back; `useful` if it told the guest something. How long not to
    /// look for the next one, if that is needed.
    pub(super) fn note(&mut self, now: Instant, useful: bool) -> Option<Duration> {
        match self.begun {
            Some(begun) if now.saturating_duration_since(begun) < ROUND => {}
            before => {
                if before.is_some() {
                    // A whole round within what is allowed.
                    self.pause = PAUSES.0;
                }
                (self.begun, self.spent) = (Some(now), 0);
            }
        }
        self.spent += if useful { 1 } else { REDUNDANT };
        if self.spent <= MOST {
            return None;
        }
        self.begun = None;
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        Some(pause)
    }
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
