// SPDX-License-Identifier: Apache-2.0
//! Moments as text.

use std::time::{Duration, SystemTime};

/// A moment as RFC 3339 writes it, in UTC, with nanoseconds.
pub fn rfc3339(time: SystemTime) -> String {
    // It knows no year before 1970 and none after 9999; a clock that is set so gets the nearest it knows.
    let time = time.max(SystemTime::UNIX_EPOCH);
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_nanos(time.min(last)).to_string()
}
