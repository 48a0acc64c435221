//! Dates as HTTP writes them (RFC 9110, 5.6.7), from and to seconds since 1970. No clock is read here.

use unikernel_rt::time::{civil, days_of};

/// The length of `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) const LEN: usize = 29;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const SECONDS_PER_DAY: u64 = 86_400;
/// 9999-12-31 23:59:59: the year has four digits.
const SECONDS_MAX: u64 = 253_402_300_799;

/// The IMF-fixdate of a moment; later ones than the year 9999 are written as its end.
pub(crate) fn format(seconds: u64) -> [u8; LEN] {
    let seconds = seconds.min(SECONDS_MAX);
    let (days, second) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
    let (year, month, day) = civil(days);
    let mut text = *b"Ddd, 00 Mmm 0000 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    put(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    put(&mut text[12..14], year / 100);
    put(&mut text[14..16], year % 100);
    put(&mut text[17..19], second / 3600);
    put(&mut text[20..22], second / 60 % 60);
    put(&mut text[23..25], second % 60);
    text
}

/// Two digits.
fn put(text: &mut [u8], number: u64) {
    text[0] = b'0' + (number / 10) as u8;
    text[1] = b'0' + (number % 10) as u8;
}

/// The moment of an IMF-fixdate. `None` for anything else: the two obsolete forms have not been sent for decades,
/// and a date that is not understood is ignored (RFC 9110, 13.1.3), which costs a transfer, not correctness.
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let text: &[u8; LEN] = text.try_into().ok()?;
    let month = MONTHS.iter().position(|name| **name == text[8..11])? as u64 + 1;
    let year = number(&text[12..14])? * 100 + number(&text[14..16])?;
    let day = number(&text[5..7])?;
    let (hour, minute, second) = (number(&text[17..19])?, number(&text[20..22])?, number(&text[23..25])?);
    if year < 1970 || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // A leap second is the first of the next minute here. The exact form is compared, day of the week included.
    let seconds = days_of(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    (second == 60 || format(seconds) == *text).then_some(seconds)
}

fn number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + (byte - b'0') as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_their_dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(core::str::from_utf8(&format(seconds)), Ok(text));
            assert_eq!(parse(text.as_bytes()), Some(seconds), "{text}");
        }
        assert_eq!(format(u64::MAX), format(SECONDS_MAX));
    }

    #[test]
    fn every_day_of_four_centuries_there_and_back() {
        for day in 0..146_097 {
            assert_eq!(parse(&format(day * SECONDS_PER_DAY + 1)), Some(day * SECONDS_PER_DAY + 1));
        }
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 2000 00:00:00 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994  8:49:37 GMT",
            "Mon, 01 Jan 0000 00:00:00 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
