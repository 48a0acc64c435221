//! Dates as text.

use super::{Duration, Instant};
use crate::platform::with_core;
use core::fmt;

/// 2025-01-01: a wall clock that shows less was never set, as nothing here is older.
const KNOWN_SINCE: Duration = Duration::from_secs(1_735_689_600);
/// 10000-01-01, which RFC 3339 cannot say.
const END: Duration = Duration::from_secs(253_402_300_800);

/// What the wall clock showed at `moment`, as far as it is known now: a machine without a clock learns the date from a
/// time server. `None` while it is not known.
pub fn unix_time_at(moment: Instant) -> Option<Duration> {
    let time = with_core(|core| core.wall.get()).at(moment);
    (KNOWN_SINCE..END).contains(&time).then_some(time)
}

/// A time since 1970 as RFC 3339 has it, in UTC and to the microsecond: `2026-01-01T00:00:00.000000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339(pub Duration);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0.as_secs(), self.0.subsec_micros());
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Year, month and day of a day since 1970-01-01. Years are counted from March here, so that the odd day is the last.
#[doc(hidden)]
pub fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From 0000-03-01.
    let days = days + 719_468;
    let (cycle, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March have 31, 30, 31, 30, 31 days, over and over: 153 days in five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * cycle + year + next_year, month, day)
}

/// The day since 1970-01-01 of a date from then on: the inverse of [`civil`]. Months from 1 to 12.
#[doc(hidden)]
pub fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, year) = (year / 400, year % 400);
    let day = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    cycle * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// Expected values are those of `date -u -d @SECONDS +%FT%TZ`.
    #[test]
    fn dates_are_written_as_rfc_3339_has_them() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
            (1_767_225_600_000_001, "2026-01-01T00:00:00.000001Z"),
            (1_767_225_599_000_000, "2025-12-31T23:59:59.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (253_402_300_799_000_000, "9999-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(Rfc3339(Duration::from_micros(micros)).to_string(), expected);
        }
    }

    #[test]
    fn every_day_of_400_years_follows_the_one_before() {
        let mut last = civil(0);
        for day in 1..146_097 {
            let (year, month, day_of_month) = civil(day);
            assert_eq!(days_of(year, month, day_of_month), day);
            let next = match last {
                (last_year, 12, 31) => (last_year + 1, 1, 1),
                (last_year, last_month, _) if day_of_month == 1 => (last_year, last_month + 1, 1),
                (last_year, last_month, last_day) => (last_year, last_month, last_day + 1),
            };
            assert_eq!((year, month, day_of_month), next);
            assert!(day_of_month <= 31);
            last = next;
        }
        assert_eq!(last, (2369, 12, 31));
    }

    #[test]
    fn a_clock_that_was_never_set_is_not_believed() {
        crate::sim::run("", async {
            let boot = Instant::from_micros(0);
            assert_eq!(unix_time_at(boot).map(|time| time.as_secs()), Some(1_767_225_600));
            for unknown in [Duration::ZERO, KNOWN_SINCE - Duration::from_secs(1), END] {
                crate::time::set_unix_time(unknown);
                assert_eq!(unix_time_at(Instant::now()), None);
            }
        });
    }
}
