// SPDX-License-Identifier: Apache-2.0
//! What the real-time clock shows before a guest sets it.

use api::RtcBase;

use super::ConfigError;

/// Seconds from UTC to what the clock shows.
///
/// # Errors
/// When the host's time zone is unknown.
pub(super) fn offset(base: RtcBase) -> Result<i64, ConfigError> {
    match base {
        RtcBase::Utc => Ok(0),
        RtcBase::Localtime => {
            let unknown = |error: tz::Error| ConfigError::Value {
                field: "rtc",
                text: format!(
                    "cannot find out the host's local time: {error}. Set TZ or /etc/localtime (Debian: apt install \
                     tzdata), or let the clock show UTC"
                ),
            };
            let zone = tz::TimeZone::local().map_err(unknown)?;
            let time = zone.find_current_local_time_type().map_err(|error| unknown(error.into()))?;
            Ok(time.ut_offset().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e15_utc_is_no_offset_and_local_time_is_what_date_says() {
        assert_eq!(offset(RtcBase::Utc).unwrap(), 0);
        let said = std::process::Command::new("date").arg("+%z").output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let (sign, digits) = said.trim().split_at(1);
        let (hours, minutes): (i64, i64) = (digits[..2].parse().unwrap(), digits[2..].parse().unwrap());
        let seconds = (hours * 60 + minutes) * 60 * if sign == "-" { -1 } else { 1 };
        assert_eq!(offset(RtcBase::Localtime).unwrap(), seconds);
    }
}
