//! Dates and times as FAT has them: local time without saying where. We take it for UTC.

const DAY_LEN: u64 = 86400;
/// FAT counts years from here.
const YEAR_FIRST: u64 = 1980;
const YEAR_LAST: u64 = YEAR_FIRST + 127;
/// 1980-01-01 in seconds since 1970.
const FIRST: u64 = 3652 * DAY_LEN;

/// Seconds since 1970 of a date and a time, if there is such a date.
pub(super) fn decode(date: u16, time: u16) -> Option<u64> {
    let (date, time) = (u64::from(date), u64::from(time));
    let (year, month, day) = (YEAR_FIRST + (date >> 9), date >> 5 & 15, date & 31);
    let (hour, minute, second) = (time >> 11, time >> 5 & 63, (time & 31) * 2);
    let is_there = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    (is_there && hour < 24 && minute < 60 && second < 60)
        .then(|| (days_before(year, month) + day - 1) * DAY_LEN + hour * 3600 + minute * 60 + second)
}

/// The date, the time, and the hundredths of a second that go with it. What FAT cannot say becomes its first or last day.
pub(super) fn encode(seconds: u64) -> (u16, u16, u8) {
    let end = days_before(YEAR_LAST + 1, 1) * DAY_LEN;
    let seconds = seconds.clamp(FIRST, end - 1);
    let (days, second) = (seconds / DAY_LEN, seconds % DAY_LEN);
    let year = (YEAR_FIRST..=YEAR_LAST).rev().find(|year| days_before(*year, 1) <= days).unwrap_or(YEAR_FIRST);
    let month = (1..=12).rev().find(|month| days_before(year, *month) <= days).unwrap_or(1);
    let day = days - days_before(year, month) + 1;
    let date = (year - YEAR_FIRST) << 9 | month << 5 | day;
    let time = (second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2);
    (date as u16, time as u16, (second % 2 * 100) as u8)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to the first of the month.
fn days_before(year: u64, month: u64) -> u64 {
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    (year - 1970) * 365 + leap_days + (1..month).map(|month| days_in(year, month)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let check = |seconds: u64, date: (u64, u64, u64), time: (u64, u64, u64)| {
            let encoded = encode(seconds);
            let expected_date = (date.0 - 1980) << 9 | date.1 << 5 | date.2;
            let expected_time = time.0 << 11 | time.1 << 5 | (time.2 / 2);
            assert_eq!((encoded.0.into(), encoded.1.into()), (expected_date, expected_time), "{seconds}");
            assert_eq!(decode(encoded.0, encoded.1), Some(seconds - seconds % 2), "{seconds}");
        };
        check(315_532_800, (1980, 1, 1), (0, 0, 0));
        check(951_782_399, (2000, 2, 28), (23, 59, 59));
        check(951_782_400, (2000, 2, 29), (0, 0, 0));
        check(1_709_251_199, (2024, 2, 29), (23, 59, 59));
        check(1_732_782_645, (2024, 11, 28), (8, 30, 45));
        check(4_107_542_399, (2100, 2, 28), (23, 59, 59));
        check(4_107_542_400, (2100, 3, 1), (0, 0, 0));
    }

    #[test]
    fn moments_that_fat_cannot_say() {
        assert_eq!(encode(0), encode(FIRST));
        assert_eq!(encode(u64::MAX).0, 127 << 9 | 12 << 5 | 31);
        for (date, time) in [(0, 0), (1 << 5, 0), (13 << 5 | 1, 0), (2 << 5 | 30, 0), (33, 24 << 11), (33, 60 << 5)] {
            assert_eq!(decode(date, time), None, "{date} {time}");
        }
    }
}
