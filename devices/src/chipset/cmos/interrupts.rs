// SPDX-License-Identifier: Apache-2.0
//! The clock's three interrupts: which have come about since somebody looked last, and when the next one will. Pure.
//!
//! Flags come about whether or not their interrupts are enabled. Everything is worked out from the host's clock when
//! it is looked at, so nobody has to count periods, and a clock that the host sets costs one flag at most.

use std::time::Duration;

use super::register::*;
use super::state::{CmosState, until_second};
use crate::chipset::calendar::DAY_SECONDS;

/// Hz of the crystal.
const CRYSTAL: u128 = 32_768;
const SECOND_NANOS: u128 = 1_000_000_000;

impl CmosState {
    /// Sets the flags of all that has happened up to `clock`.
    pub(super) fn look(&mut self, clock: Duration) {
        let before = std::mem::replace(&mut self.looked, clock);
        if let Some(shift) = self.period()
            && periods(before, shift) != periods(clock, shift)
        {
            self.flags |= C_PERIODIC;
        }
        let (last, now) = (self.guest_seconds(before), self.guest_seconds(clock));
        if self.ticks() && last != now {
            self.flags |= C_UPDATED;
            // The host's clock was set back: the second that it shows now is a new one.
            let last = if now < last { now - 1 } else { last };
            if self.until_alarm(last).is_some_and(|seconds| last.saturating_add(seconds) <= now) {
                self.flags |= C_ALARM;
            }
        }
    }

    /// Whether IRQ 8 is high.
    pub(super) fn wants_interrupt(&self) -> bool {
        self.flags & self.enabled() != 0
    }

    /// Interrupts that are enabled, as flags of status C.
    pub(super) fn enabled(&self) -> u8 {
        self.status_b() & B_INTERRUPTS
    }

    /// After what time the line rises if nobody changes anything. `None`: never.
    pub(super) fn until_interrupt(&self, clock: Duration) -> Option<Duration> {
        if self.wants_interrupt() {
            return None;
        }
        let enabled = self.enabled();
        let to_second = until_second(clock);
        let periodic = (enabled & C_PERIODIC != 0).then(|| self.period()).flatten();
        let periodic = periodic.map(|shift| until_period(clock, shift));
        let update = (enabled & C_UPDATED != 0 && self.ticks()).then_some(to_second);
        let alarm = (enabled & C_ALARM != 0 && self.ticks()).then(|| self.until_alarm(self.guest_seconds(clock)));
        let alarm = alarm.flatten().map(|seconds| {
            to_second.saturating_add(Duration::from_secs(seconds.saturating_sub(1).try_into().unwrap_or(0)))
        });
        [periodic, update, alarm].into_iter().flatten().min()
    }

    /// By what power of two the crystal's frequency is divided for the periodic interrupt.
    fn period(&self) -> Option<u32> {
        if !self.divider_runs() {
            return None;
        }
        match self.status_a() & A_RATE {
            0 => None,
            // With a 32 kHz crystal, the two fastest rates are the same as 8 and 9.
            rate @ 1..=2 => Some(u32::from(rate) + 6),
            rate => Some(u32::from(rate) - 1),
        }
    }

    /// Seconds from guest time `after` to the next one that is the alarm's, 1 to 86400. `None`: it never is.
    fn until_alarm(&self, after: i64) -> Option<i64> {
        let [hour, minute, second] = [HOUR_ALARM, MINUTE_ALARM, SECOND_ALARM].map(|index| self.alarm(index));
        let fits = |wanted: Option<u8>, value: i64| wanted.is_none_or(|wanted| i64::from(wanted) == value);
        let mut seconds = 1;
        while seconds <= DAY_SECONDS {
            let time = (after.rem_euclid(DAY_SECONDS) + seconds) % DAY_SECONDS;
            // To the next hour, minute or second: at most 24, 60 and 60 steps.
            seconds += if !fits(hour, time / 3600) {
                3600 - time % 3600
            } else if !fits(minute, time / 60 % 60) {
                60 - time % 60
            } else if !fits(second, time % 60) {
                1
            } else {
                return Some(seconds);
            };
        }
        None
    }
}

/// Whole periods of `2^shift` of the crystal's oscillations since 1970.
fn periods(clock: Duration, shift: u32) -> u128 {
    (clock.as_nanos() * CRYSTAL / SECOND_NANOS) >> shift
}

/// Time until one more of them is whole.
fn until_period(clock: Duration, shift: u32) -> Duration {
    let end = (((periods(clock, shift) + 1) << shift) * SECOND_NANOS).div_ceil(CRYSTAL);
    Duration::from_nanos(u64::try_from(end.saturating_sub(clock.as_nanos())).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "interrupts_tests.rs"]
mod tests;
