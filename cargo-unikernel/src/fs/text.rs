//! How names, times and results are shown.

use std::io::{self, ErrorKind, Write};

use anyhow::Result;

/// What a process ends with whose output nobody reads: as if SIGPIPE had ended it.
const UNHEARD: u8 = 141;

/// A pipe that was closed early, by `head` for one, is no failure worth a message.
pub fn unless_unheard(result: Result<u8>) -> Result<u8> {
    match result {
        Err(error) if is_unheard(&error) => Ok(UNHEARD),
        result => result,
    }
}

/// Whether the output was closed.
pub fn is_unheard(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|e| e.kind() == ErrorKind::BrokenPipe)
}

/// Prints a line, which may be many.
///
/// # Errors
///
/// The output is closed.
pub fn print(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Text of strangers as a terminal may see it: control characters are escaped.
pub fn printable(text: &str) -> String {
    escaped(text, &[])
}

/// The same, but for those of `kept`.
pub fn escaped(text: &str, kept: &[char]) -> String {
    let is_shown = |c: char| !c.is_control() || kept.contains(&c);
    text.chars().map(|c| if is_shown(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

/// Seconds since 1970 as a date and a time of UTC.
pub fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day since 1970. Years begin in March here, so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01 on; eras of 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_767_225_600, "2026-01-01 00:00:00"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("ü\x1b[2J\n"), "ü\\u{1b}[2J\\n");
    }
}
