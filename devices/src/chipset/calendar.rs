// SPDX-License-Identifier: Apache-2.0
//! Seconds since 1970 to a date of the proleptic Gregorian calendar and back, UTC without leap
//! seconds, for years 0 to 9999. Pure.

use serde::{Deserialize, Serialize};
use tz::UtcDateTime;

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;
/// A moment, as calendars and wall clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateTime {
    /// 0..=9999
    pub year: u16,
    /// 1..=12
    pub month: u8,
    /// 1..=31
    pub day: u8,
    /// 0..=23
    pub hour: u8,
    /// 0..=59
    pub minute: u8,
    /// 0..=59
    pub second: u8,
}

impl From<UtcDateTime> for DateTime {
    fn from(moment: UtcDateTime) -> Self {
        Self {
            year: moment.year() as u16,
            month: moment.month(),
            day: moment.month_day(),
            hour: moment.hour(),
            minute: moment.minute(),
            second: moment.second(),
        }
    }
}

impl DateTime {
    const EPOCH: Self = Self { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0 };

    /// The moment `seconds` after 1970-01-01 00:00:00; the nearest one this type has if that is out
    /// of range.
    pub fn from_unix(seconds: i64) -> Self {
        const FIRST: i64 = -62_167_219_200;
        const LAST: i64 = 253_402_300_799;
        // It does not fail: the crate knows more years than these.
        UtcDateTime::from_timespec(seconds.clamp(FIRST, LAST), 0).map_or(Self::EPOCH, Self::from)
    }

    /// Seconds since 1970-01-01 00:00:00; `None` if there is no such date or time.
    pub fn to_unix(self) -> Option<i64> {
        self.moment().map(|moment| moment.unix_time())
    }

    /// Day of the week, 1 = Sunday to 7 = Saturday; `None` if there is no such date.
    pub fn weekday(self) -> Option<u8> {
        self.moment().map(|moment| moment.week_day() + 1)
    }

    fn moment(self) -> Option<UtcDateTime> {
        let Self { year, month, day, hour, minute, second } = self;
        // The crate knows more years, and leap seconds.
        let exists = year <= 9999 && second < 60;
        UtcDateTime::new(year.into(), month, day, hour, minute, second, 0).ok().filter(|_| exists)
    }
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
