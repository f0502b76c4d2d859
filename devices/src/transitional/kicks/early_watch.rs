// SPDX-License-Identifier: Apache-2.0
//! Notices a driver that kicked before DRIVER_OK and seems to wait in vain: it hangs without a message of its own
//! (hazard H12). Pure; somebody else has the clock.

use std::time::Duration;

/// How long such a driver may wait before that is told.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// What is known of a function at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Kicks before DRIVER_OK so far.
    pub early_kicks: u64,
    /// Interrupts so far, as far as they are seen: those of MSI-X go past the VMM.
    pub interrupts: u64,
    /// Resets by the guest so far.
    pub resets: u64,
    /// Whether the guest has written DRIVER_OK.
    pub is_ready: bool,
}

/// The watch over one function.
#[derive(Debug, Default)]
pub(crate) struct EarlyWatch {
    seen: Seen,
    waits_since: Option<Duration>,
    is_told: bool,
}

impl EarlyWatch {
    /// A look at `now`, which only ever grows. Whether to tell of it: once in the function's life.
    pub(crate) fn look(&mut self, now: Duration, seen: Seen) -> bool {
        let before = std::mem::replace(&mut self.seen, seen);
        if seen.is_ready || seen.interrupts != before.interrupts {
            self.waits_since = None;
        } else if seen.early_kicks != before.early_kicks {
            self.waits_since = Some(now);
        } else if seen.resets != before.resets {
            self.waits_since = None;
        }
        let waits = self.waits_since.is_some_and(|since| now.saturating_sub(since) >= LIMIT);
        let tells = waits && !self.is_told;
        self.is_told |= waits;
        tells
    }
}

#[cfg(test)]
#[path = "early_watch_tests.rs"]
mod tests;
