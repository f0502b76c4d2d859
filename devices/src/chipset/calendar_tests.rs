// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

fn at(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> DateTime {
    DateTime { year, month, day, hour, minute, second }
}

/// From `date -u -d ... +%s` and `date -u +%w`.
#[test]
fn known_moments() {
    for (moment, seconds, weekday) in [
        (at(1970, 1, 1, 0, 0, 0), 0, 5),
        (at(1969, 12, 31, 23, 59, 59), -1, 4),
        (at(2000, 2, 29, 12, 0, 0), 951_825_600, 3),
        (at(2000, 3, 1, 0, 0, 0), 951_868_800, 4),
        (at(2038, 1, 19, 3, 14, 8), 2_147_483_648, 3),
        (at(2100, 2, 28, 23, 59, 59), 4_107_542_399, 1),
        (at(2100, 3, 1, 0, 0, 0), 4_107_542_400, 2),
        (at(2026, 11, 22, 13, 7, 23), 1_795_352_843, 1),
        (at(9999, 12, 31, 23, 59, 59), 253_402_300_799, 6),
        (at(0, 1, 1, 0, 0, 0), -62_167_219_200, 7),
    ] {
        assert_eq!(moment.to_unix(), Some(seconds), "{moment:?}");
        assert_eq!(DateTime::from_unix(seconds), moment);
        assert_eq!(moment.weekday(), Some(weekday), "{moment:?}");
    }
}

#[test]
fn every_day_of_400_years_follows_the_one_before() {
    let mut previous = DateTime::from_unix(-3600);
    for day in 0..146_097 {
        let now = DateTime::from_unix(day * DAY_SECONDS);
        let next_day = now.day == previous.day + 1 && now.month == previous.month && now.year == previous.year;
        let next_month = now.day == 1 && now.month == previous.month + 1 && now.year == previous.year;
        let next_year = (now.day, now.month, previous.month) == (1, 1, 12) && now.year == previous.year + 1;
        assert!(next_day || next_month || next_year, "{previous:?} {now:?}");
        let leap = now.year.is_multiple_of(4) && (!now.year.is_multiple_of(100) || now.year.is_multiple_of(400));
        if next_month {
            let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            assert_eq!(previous.day, length[usize::from(previous.month) - 1], "{previous:?}");
        }
        assert_eq!(now.to_unix(), Some(day * DAY_SECONDS));
        previous = now;
    }
    assert_eq!((previous.year, previous.month, previous.day), (2369, 12, 31));
}

#[test]
fn dates_that_do_not_exist() {
    for moment in [
        at(2001, 2, 29, 0, 0, 0),
        at(2100, 2, 29, 0, 0, 0),
        at(2000, 4, 31, 0, 0, 0),
        at(2000, 0, 1, 0, 0, 0),
        at(2000, 13, 1, 0, 0, 0),
        at(2000, 255, 255, 0, 0, 0),
        at(2000, 1, 0, 0, 0, 0),
        at(2000, 1, 1, 24, 0, 0),
        at(2000, 1, 1, 0, 60, 0),
        at(2000, 1, 1, 0, 0, 60),
        at(10_000, 1, 1, 0, 0, 0),
    ] {
        assert_eq!(moment.to_unix(), None, "{moment:?}");
        assert_eq!(moment.weekday(), None);
    }
}

proptest! {
    #[test]
    fn there_and_back(seconds in -62_167_219_200..=253_402_300_799_i64) {
        prop_assert_eq!(DateTime::from_unix(seconds).to_unix(), Some(seconds));
    }

    #[test]
    fn nothing_panics(seconds in any::<i64>(), year in any::<u16>(), rest in any::<[u8; 5]>()) {
        prop_assert!(DateTime::from_unix(seconds).to_unix().is_some());
        let [month, day, hour, minute, second] = rest;
        let moment = at(year, month, day, hour, minute, second);
        if let Some(seconds) = moment.to_unix() {
            prop_assert_eq!(DateTime::from_unix(seconds), moment);
        }
    }
}
