// SPDX-License-Identifier: Apache-2.0
//! Seconds since 1970 to a date of the proleptic Gregorian calendar and back, UTC without leap
//! seconds, for years 0 to 9999. Pure.

use serde::{Deserialize, Serialize};

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;
/// Days of 400 years: the calendar repeats after that.
const DAYS_400: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

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

impl DateTime {
    /// The moment `seconds` after 1970-01-01 00:00:00; the nearest one this type has if that is out
    /// of range.
    pub fn from_unix(seconds: i64) -> Self {
        const FIRST: i64 = -62_167_219_200;
        const LAST: i64 = 253_402_300_799;
        let seconds = seconds.clamp(FIRST, LAST);
        let time = seconds.rem_euclid(DAY_SECONDS);
        let (year, month, day) = date_of(seconds.div_euclid(DAY_SECONDS));
        Self {
            year: year as u16,
            month: month as u8,
            day: day as u8,
            hour: (time / 3600) as u8,
            minute: (time / 60 % 60) as u8,
            second: (time % 60) as u8,
        }
    }

    /// Seconds since 1970-01-01 00:00:00; `None` if there is no such date or time.
    pub fn to_unix(self) -> Option<i64> {
        let days = days_of(self.year.into(), self.month.into(), self.day.into());
        let exists = self.year <= 9999
            && (1..=12).contains(&self.month)
            && date_of(days) == (self.year.into(), self.month.into(), self.day.into())
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        let time = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        exists.then_some(days * DAY_SECONDS + time)
    }

    /// Day of the week, 1 = Sunday to 7 = Saturday; `None` if there is no such date.
    pub fn weekday(self) -> Option<u8> {
        // 1970-01-01 was a Thursday, day 5.
        Some(((self.to_unix()?.div_euclid(DAY_SECONDS) + 4).rem_euclid(7) + 1) as u8)
    }
}

/// Years are counted from 1 March here, so that the leap day is the last of its year and months have
/// lengths 31, 30, 31, 30, 31 over and over: 153 days for five of them.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - EPOCH
}

/// Year, month and day of a number of days since 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let (cycle, day) = (days.div_euclid(DAYS_400), days.rem_euclid(DAYS_400));
    // Take away the leap days before `day`, then all years have 365 days: one each 1461 days, none
    // at the end of each 36524, and again one on the very last day of the 400 years.
    let years = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * years + years / 4 - years / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + years;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
