// SPDX-License-Identifier: Apache-2.0
//! Tells of a driver that kicked before DRIVER_OK and hears nothing (hazard H12). It changes nothing.

use std::sync::PoisonError;
use std::time::Duration;

use super::TransitionalDevice;
use crate::transitional::kicks::early_watch::{LIMIT, Seen};
use crate::transitional::registers::cache::STATUS_DRIVER_OK;
use crate::transitional::settings::EarlyKicks;
use crate::transitional::telemetry::stats::DeviceCounter;

impl TransitionalDevice {
    /// To be called from time to time, by one thread, with a clock that only ever grows: tells once of a driver that
    /// kicked before DRIVER_OK and hears nothing.
    pub fn look_at_early_kicks(&self, now: Duration) {
        let stats = self.back_end.stats();
        let seen = Seen {
            early_kicks: stats.counters().get(DeviceCounter::KicksEarly),
            interrupts: stats.counters().get(DeviceCounter::QueueInterrupts),
            resets: stats.counters().get(DeviceCounter::Resets),
            is_ready: self.published().0 & STATUS_DRIVER_OK != 0,
        };
        if !self.early_watch.lock().unwrap_or_else(PoisonError::into_inner).look(now, seen) {
            return;
        }
        tracing::warn!(
            device = self.config.id,
            "the guest kicked before DRIVER_OK, and for {} s neither DRIVER_OK nor an interrupt was seen: if it hangs, try early={} (now early={})",
            LIMIT.as_secs(),
            self.other_mode().name(),
            self.config.kicks.early.name()
        );
    }

    /// What may help where the present mode does not.
    fn other_mode(&self) -> EarlyKicks {
        match self.config.kicks.early {
            EarlyKicks::Pass => EarlyKicks::Auto,
            EarlyKicks::Auto if !self.kicks.is_started() => EarlyKicks::Start,
            EarlyKicks::Auto | EarlyKicks::Start => EarlyKicks::Pass,
        }
    }
}

#[cfg(test)]
#[path = "waits_tests.rs"]
mod tests;
