//! The format of a message (RFC 5424).

use alloc::{string::String, vec::Vec};
use core::fmt::Write;
use unikernel_rt::{
    log::tail::Level,
    time::{Duration, Rfc3339},
};

/// A message before it is written.
///
/// ```
/// use unikernel_rt::time::Duration;
/// use unikernel_syslog::{Element, Facility, Message, Severity};
///
/// let message = Message {
///     facility: Facility::Daemon,
///     severity: Severity::Warning,
///     time: Some(Duration::from_secs(86_400)),
///     hostname: "web1",
///     app_name: "shop",
///     proc_id: "",
///     msg_id: "cart",
///     data: &[Element::new("order@32473").with("items", "3")],
///     text: "out of stock",
/// };
/// let mut line = String::new();
/// message.write(1024, &mut line);
/// assert_eq!(
///     line,
///     "<28>1 1970-01-02T00:00:00.000000Z web1 shop - cart [order@32473 items=\"3\"] \u{feff}out of stock"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// What kind of program it comes from.
    pub facility: Facility,
    /// How much it matters.
    pub severity: Severity,
    /// Time since 1970; `None` when the date is not known.
    pub time: Option<Duration>,
    /// The machine, by name or address; empty when it has none. So are the next three.
    pub hostname: &'a str,
    /// The app.
    pub app_name: &'a str,
    /// Which run of it.
    pub proc_id: &'a str,
    /// What kind of message.
    pub msg_id: &'a str,
    /// What programs read.
    pub data: &'a [Element],
    /// What people read.
    pub text: &'a str,
}

/// What kind of program messages come from (RFC 5424, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Facility {
    Kernel = 0,
    User = 1,
    Mail = 2,
    Daemon = 3,
    Auth = 4,
    Syslog = 5,
    Printer = 6,
    News = 7,
    Uucp = 8,
    Clock = 9,
    AuthPrivate = 10,
    Ftp = 11,
    Ntp = 12,
    Audit = 13,
    Alert = 14,
    ClockDaemon = 15,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

/// How much a message matters (RFC 5424, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Severity {
    Emergency = 0,
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Informational = 6,
    Debug = 7,
}

/// `trace` is `debug` here: there is nothing below that.
impl From<Level> for Severity {
    fn from(level: Level) -> Severity {
        match level {
            Level::Error => Severity::Error,
            Level::Warn => Severity::Warning,
            Level::Info => Severity::Informational,
            Level::Debug | Level::Trace => Severity::Debug,
        }
    }
}

/// An element of structured data (RFC 5424, 6.3): a name, which is `NAME@NUMBER` with the number of an enterprise where no RFC
/// defines it, and parameters. See [`Message`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub(crate) id: String,
    pub(crate) params: Vec<(String, String)>,
}

impl Element {
    /// An element without parameters.
    pub fn new(id: impl Into<String>) -> Element {
        Element { id: id.into(), params: Vec::new() }
    }

    /// Adds a parameter.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Element {
        self.params.push((name.into(), value.into()));
        self
    }
}

/// Before a message in UTF-8.
const BOM: &str = "\u{feff}";
/// Stands for a field that is not known.
const NIL: &str = "-";

impl Message<'_> {
    /// Appends the message to `out`, of `len_max` bytes at most: its text is cut at its end, between two characters. Fields
    /// that are too long are cut, characters that may not stand in them become `_`; control characters in the text are
    /// written as `\n` or `\u{1b}`.
    ///
    /// Elements of structured data that do not fit are left out. A header that is longer than `len_max` stands whole: at 480
    /// bytes there is room for any without structured data.
    pub fn write(&self, len_max: usize, out: &mut String) {
        let start = out.len();
        self.write_header(out);
        self.write_data(start.saturating_add(len_max), out);
        let header_end = out.len();
        out.push(' ');
        out.push_str(BOM);
        write_text(self.text, out);
        if out.len() - start > len_max {
            let end = (header_end..=start.saturating_add(len_max).min(out.len()))
                .rev()
                .find(|end| out.is_char_boundary(*end))
                .unwrap_or(header_end);
            // Half a mark is none.
            let end = if end < header_end + 1 + BOM.len() { header_end } else { end };
            out.truncate(end);
        }
    }

    fn write_header(&self, out: &mut String) {
        // A string takes all.
        let _ = write!(out, "<{}>1 ", self.facility as u16 * 8 + self.severity as u16);
        match self.time {
            Some(time) => drop(write!(out, "{}", Rfc3339(time))),
            None => out.push_str(NIL),
        }
        let fields = [(self.hostname, 255), (self.app_name, 48), (self.proc_id, 128), (self.msg_id, 32)];
        for (field, len_max) in fields {
            out.push(' ');
            write_name(field, len_max, |c| c.is_ascii_graphic(), out);
        }
        out.push(' ');
    }

    /// Leaves out what would not end before `end_max`.
    fn write_data(&self, end_max: usize, out: &mut String) {
        let start = out.len();
        for element in self.data {
            let end = out.len();
            element.write(out);
            if out.len() > end_max {
                out.truncate(end);
            }
        }
        if out.len() == start {
            out.push_str(NIL);
        }
    }
}

impl Element {
    fn write(&self, out: &mut String) {
        out.push('[');
        write_name(&self.id, 32, may_name_data, out);
        for (name, value) in &self.params {
            out.push(' ');
            write_name(name, 32, may_name_data, out);
            out.push_str("=\"");
            write_value(value, out);
            out.push('"');
        }
        out.push(']');
    }
}

/// RFC 5424, 6: SD-NAME.
fn may_name_data(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"')
}

fn write_name(text: &str, len_max: usize, may: impl Fn(char) -> bool, out: &mut String) {
    if text.is_empty() {
        return out.push_str(NIL);
    }
    out.extend(text.chars().take(len_max).map(|c| if may(c) { c } else { '_' }));
}

/// RFC 5424, 6.3.3.
fn write_value(value: &str, out: &mut String) {
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
            out.push(c);
        } else {
            write_char(c, out);
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    match text.chars().any(char::is_control) {
        false => out.push_str(text),
        true => text.chars().for_each(|c| write_char(c, out)),
    }
}

/// RFC 5424, 6.4: control characters should not be there, and may be replaced.
fn write_char(c: char, out: &mut String) {
    if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};

    fn message<'a>() -> Message<'a> {
        Message {
            facility: Facility::Local4,
            severity: Severity::Notice,
            time: Some(Duration::from_micros(1_767_225_600_000_003)),
            hostname: "web1.example.org",
            app_name: "shop",
            proc_id: "",
            msg_id: "ID47",
            data: &[],
            text: "paid",
        }
    }

    fn check(message: &Message<'_>, expected: &str) {
        check_cut(message, usize::MAX, expected);
    }

    fn check_cut(message: &Message<'_>, len_max: usize, expected: &str) {
        let mut out = String::from("before");
        message.write(len_max, &mut out);
        assert_eq!(out, format!("before{expected}"));
    }

    #[test]
    fn a_message_has_all_its_fields() {
        check(&message(), "<165>1 2026-01-01T00:00:00.000003Z web1.example.org shop - ID47 - \u{feff}paid");
        let all = Message { proc_id: "7", data: &[Element::new("meta").with("sequenceId", "1")], ..message() };
        check(
            &all,
            "<165>1 2026-01-01T00:00:00.000003Z web1.example.org shop 7 ID47 [meta sequenceId=\"1\"] \u{feff}paid",
        );
        let unknown = Message { time: None, hostname: "", app_name: "", msg_id: "", text: "", ..message() };
        check(&unknown, "<165>1 - - - - - - \u{feff}");
    }

    #[test]
    fn the_number_in_front_is_facility_and_severity() {
        for (facility, severity, expected) in [
            (Facility::Kernel, Severity::Emergency, "<0>1 "),
            (Facility::User, Severity::Debug, "<15>1 "),
            (Facility::Daemon, Severity::Error, "<27>1 "),
            (Facility::Local7, Severity::Debug, "<191>1 "),
        ] {
            let mut out = String::new();
            Message { facility, severity, ..message() }.write(480, &mut out);
            assert_eq!(&out[..expected.len()], expected);
        }
    }

    #[test]
    fn levels_are_severities() {
        for (level, number) in
            [(Level::Error, 3), (Level::Warn, 4), (Level::Info, 6), (Level::Debug, 7), (Level::Trace, 7)]
        {
            assert_eq!(Severity::from(level) as u8, number);
        }
    }

    #[test]
    fn fields_are_cut_and_hold_printable_ascii_only() {
        let long = "x".repeat(300);
        let odd = Message { hostname: "a b\u{e9}\n", app_name: &long, proc_id: &long, msg_id: &long, ..message() };
        let (app, process, id) = (&long[..48], &long[..128], &long[..32]);
        check(&odd, &format!("<165>1 2026-01-01T00:00:00.000003Z a_b__ {app} {process} {id} - \u{feff}paid"));
        let host = Message { hostname: &long, time: None, ..message() };
        check(&host, &format!("<165>1 - {} shop - ID47 - \u{feff}paid", &long[..255]));
    }

    fn check_data(data: Vec<Element>, expected: &str) {
        check(
            &Message { data: &data, time: None, ..message() },
            &format!("<165>1 - web1.example.org shop - ID47 {expected} \u{feff}paid"),
        );
    }

    #[test]
    fn structured_data_is_escaped() {
        check_data(vec![Element::new("a@32473"), Element::new("b").with("k", "")], "[a@32473][b k=\"\"]");
        check_data(vec![Element::new("a").with("k", "\\ \" ] [ =")], r#"[a k="\\ \" \] [ ="]"#);
        check_data(vec![Element::new("a=]\" b").with("k=]\" ü", "ü\n")], r#"[a____b k_____="ü\n"]"#);
        let long = "n".repeat(40);
        let cut = &long[..32];
        check_data(vec![Element::new(&*long).with(&*long, &*long)], &format!("[{cut} {cut}=\"{long}\"]"));
        check_data(vec![Element::new("")], "[-]");
    }

    #[test]
    fn structured_data_that_does_not_fit_is_left_out() {
        let data = [Element::new("a").with("k", "x".repeat(100)), Element::new("b")];
        let message = Message { data: &data, time: None, text: "", ..message() };
        let header = "<165>1 - web1.example.org shop - ID47";
        check_cut(&message, header.len() + 10, &format!("{header} [b] \u{feff}"));
        check_cut(&message, header.len(), &format!("{header} -"));
    }

    #[test]
    fn control_characters_do_not_reach_the_collector() {
        let text = "one\ntwo\r\t\0\x1b[2J\x7f\u{85} ü ☃ \\n";
        check(
            &Message { text, time: None, ..message() },
            "<165>1 - web1.example.org shop - ID47 - \u{feff}one\\ntwo\\r\\t\\u{0}\\u{1b}[2J\\u{7f}\\u{85} ü ☃ \\n",
        );
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let long = Message { time: None, text: "abü☃", ..message() };
        let header = "<165>1 - web1.example.org shop - ID47 -";
        let with = |text: &str| format!("{header} \u{feff}{text}");
        for (room, expected) in [
            (0, header.into()),
            (1, header.into()),
            (3, header.into()),
            (4, with("")),
            (5, with("a")),
            (7, with("ab")),
            (8, with("abü")),
            (10, with("abü")),
            (11, with("abü☃")),
        ] {
            check_cut(&long, header.len() + room, &expected);
        }
        check_cut(&long, 0, header);
    }
}
