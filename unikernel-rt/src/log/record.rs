//! Log lines taken apart again, for sinks that write them in their own way.

use super::{
    entry::INDENT,
    tail::{Kind, Level},
};
use crate::time::Instant;
use alloc::string::String;

/// A log line as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was logged.
    pub at: Instant,
    /// How much it matters.
    pub level: Level,
    /// The module that logged it; of records of the `log` crate, their target. Without spaces.
    pub target: String,
    /// The message, which may have several lines.
    pub message: String,
}

impl Record {
    /// Reads what [`Entry::write`](super::entry::Entry::write) wrote; `None` for anything else.
    pub(super) fn parse(kind: Kind, level: Option<Level>, line: &[u8]) -> Option<Record> {
        let line = core::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
        let (micros, target, message) = match kind {
            Kind::Text => parse_text(line)?,
            Kind::Json => parse_json(line)?,
            Kind::Frame => return None,
        };
        Some(Record { at: Instant::from_micros(micros), level: level?, target, message })
    }
}

fn parse_text(line: &str) -> Option<(u64, String, String)> {
    let (time, rest) = line.trim_start().split_once(' ')?;
    // The level, in five columns.
    let (target, message) = rest.get(6..)?.split_once(": ")?;
    Some((parse_micros(time)?, target.into(), message.replace(INDENT, "\n")))
}

/// Keys cannot be found inside of a string, where quotes have a backslash before them.
fn parse_json(line: &str) -> Option<(u64, String, String)> {
    let (_, rest) = line.split_once("\"uptime\":")?;
    let (uptime, rest) = rest.split_once(',')?;
    let (_, rest) = rest.split_once("\"target\":\"")?;
    let (target, rest) = unescape(rest)?;
    let (_, rest) = rest.split_once("\"message\":\"")?;
    let (message, _) = unescape(rest)?;
    Some((parse_micros(uptime)?, target, message))
}

/// Seconds with six places.
fn parse_micros(text: &str) -> Option<u64> {
    let (seconds, micros) = text.split_once('.')?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)
}

/// The string up to its closing quote, and what follows.
fn unescape(text: &str) -> Option<(String, &str)> {
    let (mut out, mut rest) = (String::new(), text);
    loop {
        let (plain, special) = rest.split_at(rest.find(['"', '\\'])?);
        out.push_str(plain);
        let Some(escape) = special.strip_prefix('\\') else { return Some((out, &special[1..])) };
        let (c, len) = match escape.as_bytes().first()? {
            b'n' => ('\n', 1),
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            b'u' => (char::from_u32(u32::from_str_radix(escape.get(1..5)?, 16).ok()?)?, 5),
            other @ (b'"' | b'\\') => ((*other).into(), 1),
            _ => return None,
        };
        out.push(c);
        rest = &escape[len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entry::{Entry, Format, Origin};

    const ORIGIN: Origin<'_> = Origin { app: "shop", hostname: Some("web \"1\"") };

    /// The line of a message, and the message that is read from it again.
    fn write(format: Format, micros: u64, level: Level, target: &str, message: &str) -> (String, Record) {
        let at = Instant::from_micros(micros);
        let mut line = String::new();
        let entry = Entry { at, level, target, text: format_args!("{message}") };
        entry.write(format, &ORIGIN, &mut line).unwrap();
        let record = Record::parse(format.kind(), Some(level), line.as_bytes());
        (line.clone(), record.unwrap_or_else(|| panic!("cannot be read: {line:?}")))
    }

    fn check_text(micros: u64, level: Level, target: &str, message: &str, expected: &str) -> Record {
        let (line, record) = write(Format::Text, micros, level, target, message);
        assert_eq!(line, expected.to_owned() + "\r\n");
        assert_eq!((record.at, record.level), (Instant::from_micros(micros), level));
        record
    }

    #[test]
    fn text_has_time_level_target_and_message() {
        let record = check_text(
            12_345,
            Level::Info,
            "shop::cart",
            "3 items: paid",
            "   0.012345 info  shop::cart: 3 items: paid",
        );
        assert_eq!((&*record.target, &*record.message), ("shop::cart", "3 items: paid"));
        check_text(86_400_000_001, Level::Error, "a", "", "86400.000001 error a: ");
        check_text(0, Level::Trace, "a", "müsli ☃", "   0.000000 trace a: müsli ☃");
    }

    #[test]
    fn no_message_can_pose_as_a_line_or_move_the_cursor() {
        let forged = "one\n   9.000000 error bank: robbed";
        let expected = "   0.000000 warn  a: one\r\n                     9.000000 error bank: robbed";
        assert_eq!(check_text(0, Level::Warn, "a", forged, expected).message, forged);
        let record = check_text(
            0,
            Level::Warn,
            "a",
            "\x1b[2J\r\x7f\u{9b}\t",
            "   0.000000 warn  a: \\u{1b}[2J\\r\\u{7f}\\u{9b}\t",
        );
        assert_eq!(record.message, "\\u{1b}[2J\\r\\u{7f}\\u{9b}\t");
        let record = check_text(0, Level::Warn, "odd target: x\n", "m", "   0.000000 warn  odd_target:_x_: m");
        assert_eq!((&*record.target, &*record.message), ("odd_target:_x_", "m"));
    }

    fn check_json(target: &str, message: &str, expected_target: &str, expected_message: &str) {
        crate::sim::run("", {
            let (target, message) = (String::from(target), String::from(message));
            let expected = std::format!(
                "{{\"time\":\"2026-01-01T00:01:01.000001Z\",\"uptime\":61.000001,\"level\":\"warn\",\"target\":\"{expected_target}\",\
                 \"app\":\"shop\",\"hostname\":\"web \\\"1\\\"\",\"message\":\"{expected_message}\"}}\r\n"
            );
            async move {
                let (line, record) = write(Format::Json, 61_000_001, Level::Warn, &target, &message);
                assert_eq!(line, expected);
                assert_eq!((record.at, record.level), (Instant::from_micros(61_000_001), Level::Warn));
                assert_eq!((record.target, record.message), (target.replace(' ', "_"), message));
            }
        });
    }

    #[test]
    fn json_is_escaped_and_read_again() {
        check_json("shop", "plain", "shop", "plain");
        check_json("shop", "", "shop", "");
        check_json("shop", "\"\\\n\r\t\0\x1f\x7f\u{9f}é☃𝄞", "shop", "\\\"\\\\\\n\\r\\t\\u0000\\u001f\\u007f\\u009fé☃𝄞");
        check_json("shop", "\",\"message\":\"forged", "shop", "\\\",\\\"message\\\":\\\"forged");
        check_json("a \"message\":\"b", "m", "a_\\\"message\\\":\\\"b", "m");
    }

    #[test]
    fn a_machine_without_a_date_says_how_long_it_runs() {
        crate::sim::run("", async {
            crate::time::set_unix_time(core::time::Duration::ZERO);
            let mut line = String::new();
            let entry = Entry { at: Instant::from_micros(5), level: Level::Info, target: "a", text: format_args!("b") };
            entry.write(Format::Json, &Origin::default(), &mut line).unwrap();
            assert_eq!(line, "{\"uptime\":0.000005,\"level\":\"info\",\"target\":\"a\",\"message\":\"b\"}\r\n");
        });
    }

    #[test]
    fn what_is_no_line_of_ours_is_not_read() {
        for line in
            ["", "\r\n", "x\r\n", "1 info\r\n", "1.x info  a: b\r\n", "1.000000 info  ab\r\n", "1.000000 info  a: b"]
        {
            assert_eq!(Record::parse(Kind::Text, Some(Level::Info), line.as_bytes()), None, "{line:?}");
        }
        for line in
            ["{}\r\n", "{\"uptime\":1.0,\"target\":\"\\", "{\"uptime\":1.0,\"target\":\"\\u12\",\"message\":\"\"}\r\n"]
        {
            assert_eq!(Record::parse(Kind::Json, Some(Level::Info), line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(Record::parse(Kind::Frame, None, b"\xc0\xc1"), None);
    }
}
