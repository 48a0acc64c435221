//! What is logged, and how it is written: as text, or as JSON.

use super::{ring::Kind, tail::Level};
use crate::time::{Instant, Rfc3339, unix_time_at};
use core::fmt::{self, Write};

/// Before the second line of a message and those after it, so that none can pose as a log line.
pub(super) const INDENT: &str = "\r\n                  ";

/// A log call.
pub(crate) struct Entry<'a> {
    pub(crate) at: Instant,
    pub(crate) level: Level,
    /// The module, or what else a crate says.
    pub(crate) target: &'a str,
    pub(crate) text: fmt::Arguments<'a>,
}

/// Who logs, for lines of JSON.
#[derive(Debug, Default)]
pub(crate) struct Origin<'a> {
    pub(crate) app: &'a str,
    pub(crate) hostname: Option<&'a str>,
}

/// How the lines of the console are written.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

impl core::str::FromStr for Format {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Format, &'static str> {
        match word {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("expected `text` or `json`"),
        }
    }
}

impl Format {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Format::Text => Kind::Text,
            Format::Json => Kind::Json,
        }
    }
}

impl Entry<'_> {
    /// Writes the line with its end.
    pub(crate) fn write(&self, format: Format, origin: &Origin<'_>, out: &mut impl Write) -> fmt::Result {
        match format {
            Format::Text => self.write_text(out)?,
            Format::Json => self.write_json(origin, out)?,
        }
        out.write_str("\r\n")
    }

    /// `   0.012345 info  app::module: message`.
    fn write_text(&self, out: &mut impl Write) -> fmt::Result {
        out.write_str(Uptime::new(self.at).padded())?;
        out.write_str(match self.level {
            Level::Error => " error ",
            Level::Warn => " warn  ",
            Level::Info => " info  ",
            Level::Debug => " debug ",
            Level::Trace => " trace ",
        })?;
        write_target(self.target, out)?;
        out.write_str(": ")?;
        Plain(out).write_fmt(self.text)
    }

    /// One object, without a line break. `time` is there when the date is known.
    fn write_json(&self, origin: &Origin<'_>, out: &mut impl Write) -> fmt::Result {
        out.write_str("{")?;
        if let Some(time) = unix_time_at(self.at) {
            write!(out, "\"time\":\"{}\",", Rfc3339(time))?;
        }
        out.write_str("\"uptime\":")?;
        out.write_str(Uptime::new(self.at).bare())?;
        out.write_str(",\"level\":\"")?;
        out.write_str(self.level.name())?;
        out.write_str("\",\"target\":\"")?;
        write_target(self.target, &mut Json(out))?;
        for (key, value) in [("app", Some(origin.app)), ("hostname", origin.hostname)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                write!(out, "\",\"{key}\":\"")?;
                Json(out).write_str(value)?;
            }
        }
        out.write_str("\",\"message\":\"")?;
        Json(out).write_fmt(self.text)?;
        out.write_str("\"}")
    }
}

/// A moment as seconds with six places, by hand: what the formatting machinery does for it costs more than the rest of a line.
struct Uptime {
    /// Digits at the end.
    text: [u8; Uptime::LEN],
    start: usize,
}

impl Uptime {
    /// The longest: 2^64 microseconds.
    const LEN: usize = "18446744073709.551615".len();
    const PLACES: usize = 6;
    /// Of the seconds, in columns.
    const WIDTH: usize = 4;

    fn new(at: Instant) -> Uptime {
        let (mut text, mut rest, mut start) = ([b' '; Uptime::LEN], at.as_micros(), Uptime::LEN);
        let point = Uptime::LEN - Uptime::PLACES - 1;
        while start >= point || rest > 0 {
            start -= 1;
            if start == point {
                text[start] = b'.';
                continue;
            }
            // Below 10.
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Uptime { text, start }
    }

    fn bare(&self) -> &str {
        self.digits(self.start)
    }

    /// With spaces before it, so that the points of lines are one below the other for some hours.
    fn padded(&self) -> &str {
        self.digits(self.start.min(Uptime::LEN - Uptime::PLACES - 1 - Uptime::WIDTH))
    }

    fn digits(&self, start: usize) -> &str {
        core::str::from_utf8(&self.text[start..]).unwrap_or_default()
    }
}

/// Without spaces, which end it.
fn write_target(target: &str, out: &mut impl Write) -> fmt::Result {
    if target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return out.write_str(target);
    }
    target.chars().try_for_each(|c| out.write_char(if c.is_whitespace() || c.is_control() { '_' } else { c }))
}

/// Writes `text` in pieces; `replace` writes each character that is `odd` in another way. All of these are ASCII, or in
/// the two-byte characters that begin with 0xC2, where U+0080 to U+009F are.
fn write_pieces<W: Write>(
    text: &str,
    out: &mut W,
    odd: impl Fn(char) -> bool,
    replace: impl Fn(char, &mut W) -> fmt::Result,
) -> fmt::Result {
    let may_be_odd = |byte: &u8| !(b' '..=b'~').contains(byte) || matches!(byte, b'"' | b'\\');
    if !text.as_bytes().iter().any(may_be_odd) {
        return out.write_str(text);
    }
    let mut from = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| odd(*c)) {
        out.write_str(&text[from..at])?;
        replace(c, out)?;
        from = at + c.len_utf8();
    }
    out.write_str(&text[from..])
}

/// Shows control characters, which would do something to a terminal.
struct Plain<'a, W>(&'a mut W);

impl<W: Write> Write for Plain<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_pieces(
            text,
            self.0,
            |c| c.is_control() && c != '\t',
            |c, out| match c {
                '\n' => out.write_str(INDENT),
                _ => write!(out, "{}", c.escape_default()),
            },
        )
    }
}

/// The inside of a JSON string (RFC 8259, 7).
struct Json<'a, W>(&'a mut W);

impl<W: Write> Write for Json<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_pieces(
            text,
            self.0,
            |c| c.is_control() || matches!(c, '"' | '\\'),
            |c, out| match c {
                '"' => out.write_str("\\\""),
                '\\' => out.write_str("\\\\"),
                '\n' => out.write_str("\\n"),
                '\r' => out.write_str("\\r"),
                '\t' => out.write_str("\\t"),
                _ => write!(out, "\\u{:04x}", c as u32),
            },
        )
    }
}
