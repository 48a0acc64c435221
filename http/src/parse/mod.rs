//! Reads the head of a request (RFC 9112, 3 and 5) in one pass, without copying, and refuses whatever another
//! parser might read differently.
//!
//! The first wrong byte decides, so the verdict is the same however the bytes arrive: [`parse`] is simply called
//! again with more of them. Only what takes the whole head to judge (Host, framing) is checked at its end, in
//! [`framing`].

pub(crate) mod class;
pub(crate) mod framing;
mod target;
#[cfg(test)]
mod tests;

use crate::{Limits, Method, Status};
use alloc::vec::Vec;
use class::{PATH, QUERY, TOKEN, end_of, end_of_value};
use framing::Framing;

/// A part of a head, as offsets from its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= u16::MAX as usize, "heads are bounded by Limits::head_len_max");
        Span { start: start as u16, end: end as u16 }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn len(self) -> usize {
        self.end() - self.start()
    }

    /// The bytes it stands for.
    #[inline(always)]
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }
}

/// A header field: where its name and its value are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// What a head says, as places in it. Used again for every request of a connection.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) method: Method,
    /// HTTP/1.0, whose rules for connections differ (RFC 9112, 9.3).
    pub(crate) is_http_10: bool,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    /// The authority of a target in absolute form, which stands in for Host (RFC 9112, 3.2.2).
    pub(crate) authority: Option<Span>,
    pub(crate) fields: Vec<Field>,
    pub(crate) framing: Framing,
    /// The length of the head.
    pub(crate) len: usize,
}

impl Default for Parsed {
    fn default() -> Parsed {
        Parsed {
            method: Method::Get,
            is_http_10: false,
            path: Span::default(),
            query: None,
            authority: None,
            fields: Vec::new(),
            framing: Framing::default(),
            len: 0,
        }
    }
}

/// Why a request is refused. The connection ends after that: where the next request starts is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    /// Tells the client's author what to change.
    pub(crate) reason: &'static str,
}

pub(crate) const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: Status::BAD_REQUEST, reason }
}

const HEAD_TOO_LARGE: Refusal =
    Refusal { status: Status::HEADER_FIELDS_TOO_LARGE, reason: "the header fields are too long; send fewer cookies" };
const TOO_MANY_FIELDS: Refusal =
    Refusal { status: Status::HEADER_FIELDS_TOO_LARGE, reason: "there are too many header fields" };
const URI_TOO_LONG: Refusal =
    Refusal { status: Status::URI_TOO_LONG, reason: "the request target is too long; send the data in the body" };
const UNKNOWN_VERSION: Refusal =
    Refusal { status: Status::VERSION_NOT_SUPPORTED, reason: "this server speaks HTTP/1.1 and HTTP/1.0" };
const UNKNOWN_METHOD: Refusal =
    Refusal { status: Status::NOT_IMPLEMENTED, reason: "this server does not know the request method" };

/// A longer method is refused before its end is seen; the longest registered one has 17 letters.
const METHOD_LEN_MAX: usize = 32;

/// Reads a head from the start of `input` into `parsed`. `false` when the head is not complete yet: call again with
/// the same bytes and more.
pub(crate) fn parse(input: &[u8], parsed: &mut Parsed, limits: &Limits) -> Result<bool, Refusal> {
    let limited = &input[..input.len().min(limits.head_len_max)];
    let complete = parse_limited(limited, parsed, limits)?;
    if !complete && limited.len() == limits.head_len_max {
        return Err(HEAD_TOO_LARGE);
    }
    Ok(complete)
}

fn parse_limited(input: &[u8], parsed: &mut Parsed, limits: &Limits) -> Result<bool, Refusal> {
    let at = match usual_request_line(input, parsed, limits) {
        Some(at) => at,
        None => match parse_start(input, parsed, limits)? {
            Some(at) => at,
            None => return Ok(false),
        },
    };
    let Some(len) = parse_fields(input, at, parsed, limits)? else { return Ok(false) };
    parsed.len = len;
    framing::finish(input, parsed, limits)?;
    Ok(true)
}

/// `GET /path HTTP/1.1 CRLF` in one pass. `None` leaves the line to the ordinary way, whatever it is.
#[inline(always)]
fn usual_request_line(input: &[u8], parsed: &mut Parsed, limits: &Limits) -> Option<usize> {
    const END: &[u8; 11] = b" HTTP/1.1\r\n";
    const TARGET: usize = 4;
    if !input.starts_with(b"GET /") {
        return None;
    }
    let end = end_of(PATH, input, TARGET);
    if end > TARGET + limits.uri_len_max || input.get(end..)?.first_chunk::<11>() != Some(END) {
        return None;
    }
    parsed.is_http_10 = false;
    parsed.method = Method::Get;
    parsed.path = Span::new(TARGET, end);
    (parsed.query, parsed.authority) = (None, None);
    Some(end + END.len())
}

/// Everything before the fields. Returns where they start.
fn parse_start(input: &[u8], parsed: &mut Parsed, limits: &Limits) -> Result<Option<usize>, Refusal> {
    // RFC 9112, 2.2: ignore at least one empty line before the request; old clients sent one after a body.
    let start = match input {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] => return Ok(None),
        _ => 0,
    };
    parse_request_line(input, start, parsed, limits)
}

/// `method SP request-target SP HTTP-version CRLF`. Returns where the next line starts.
fn parse_request_line(
    input: &[u8],
    start: usize,
    parsed: &mut Parsed,
    limits: &Limits,
) -> Result<Option<usize>, Refusal> {
    let method_end = end_of(TOKEN, input, start);
    if method_end - start > METHOD_LEN_MAX {
        return Err(UNKNOWN_METHOD);
    }
    match input.get(method_end) {
        None => return Ok(None),
        Some(b' ') if method_end > start => {}
        Some(_) => return Err(bad("the request line does not start with a method and a space")),
    }
    let method = Method::from_bytes(&input[start..method_end]);

    let target = method_end + 1;
    let path_end = end_of(PATH, input, target);
    let target_end = match input.get(path_end) {
        Some(b'?') => end_of(QUERY, input, path_end + 1),
        _ => path_end,
    };
    if target_end - target > limits.uri_len_max {
        return Err(URI_TOO_LONG);
    }
    match input.get(target_end) {
        None => return Ok(None),
        Some(b' ') if target_end > target => {}
        Some(_) => return Err(bad("the request target is empty or holds a character that has to be escaped")),
    }

    let Some(minor) = parse_version(&input[target_end + 1..])? else { return Ok(None) };
    parsed.is_http_10 = minor == 0;
    parsed.method = method.ok_or(UNKNOWN_METHOD)?;
    parsed.path = Span::new(target, path_end);
    parsed.query = (path_end < target_end).then(|| Span::new(path_end + 1, target_end));
    parsed.authority = None;
    // Most targets are paths; the other forms are rare.
    if input[target] != b'/' {
        target::resolve(input, parsed)?;
    }
    Ok(Some(target_end + 1 + VERSION_LINE_LEN))
}

const VERSION_LINE_LEN: usize = b"HTTP/1.1\r\n".len();

/// The minor version of `HTTP/1.minor CRLF`; every 1.x above 0 is read as 1.1 (RFC 9110, 2.5).
fn parse_version(input: &[u8]) -> Result<Option<u8>, Refusal> {
    if input.starts_with(b"HTTP/1.1\r\n") {
        return Ok(Some(1));
    }
    for (&byte, &pattern) in input.iter().zip(b"HTTP/0.0\r\n") {
        let fits = if pattern == b'0' { byte.is_ascii_digit() } else { byte == pattern };
        if !fits {
            return Err(bad("the request line does not end with `HTTP/1.1` and CR LF"));
        }
    }
    match input {
        [_, _, _, _, _, b'1', _, minor, _, _, ..] => Ok(Some(minor - b'0')),
        [_, _, _, _, _, _, _, _, _, _, ..] => Err(UNKNOWN_VERSION),
        _ => Ok(None),
    }
}

/// `*( field-line CRLF ) CRLF`. Returns the end of the head.
fn parse_fields(input: &[u8], start: usize, parsed: &mut Parsed, limits: &Limits) -> Result<Option<usize>, Refusal> {
    parsed.fields.clear();
    parsed.framing = Framing::default();
    let mut at = framing::usual_host(input, start, parsed).unwrap_or(start);
    loop {
        if input[at..].starts_with(b"\r\n") {
            return Ok(Some(at + 2));
        }
        let (field, end) = match parse_line(input, at).map_err(bad)? {
            Line::Field(field, end) => (field, end),
            Line::Empty(end) => return Ok(Some(end)),
            Line::Incomplete => return Ok(None),
        };
        if parsed.fields.len() == limits.fields_max {
            return Err(TOO_MANY_FIELDS);
        }
        framing::note(input, field, parsed)?;
        parsed.fields.push(field);
        at = end;
    }
}

/// A line of a header section.
pub(crate) enum Line {
    /// A field, and where the next line starts.
    Field(Field, usize),
    /// The empty line that ends the section, and where what follows starts.
    Empty(usize),
    /// Its end is not there yet.
    Incomplete,
}

/// The line at `at`: `field-line CRLF` or `CRLF`. An error says what is wrong with it.
#[inline(always)]
pub(crate) fn parse_line(input: &[u8], at: usize) -> Result<Line, &'static str> {
    let name_end = end_of(TOKEN, input, at);
    let Some(&byte) = input.get(name_end) else { return Ok(Line::Incomplete) };
    if byte != b':' || name_end == at {
        return if name_end == at { end_of_fields(input, at) } else { Err(AFTER_NAME) };
    }
    let mut value = name_end + 1;
    while matches!(input.get(value), Some(b' ' | b'\t')) {
        value += 1;
    }
    let value_end = end_of_value(input, value);
    match input.get(value_end..) {
        Some([b'\r', b'\n', ..]) => {}
        Some([] | [b'\r']) | None => return Ok(Line::Incomplete),
        Some(_) => return Err("a header field holds a control character, or its line ends without CR LF"),
    }
    let field = Field { name: Span::new(at, name_end), value: trimmed(input, value, value_end) };
    Ok(Line::Field(field, value_end + 2))
}

const AFTER_NAME: &str = "a header field's name is not followed by a colon at once";

/// An empty line, or a line that is no field: obs-fold, a bare LF, a line without a name (RFC 9112, 5.1, 5.2, 2.2).
#[cold]
fn not_a_field(input: &[u8], at: usize) -> &'static str {
    match input[at] {
        b' ' | b'\t' => "a header field is continued on a second line; put it on one",
        b'\n' => "a line ends with LF alone; send CR LF",
        _ => "a header line does not start with a field name",
    }
}

fn end_of_fields(input: &[u8], at: usize) -> Result<Line, &'static str> {
    match &input[at..] {
        [b'\r', b'\n', ..] => Ok(Line::Empty(at + 2)),
        [b'\r'] => Ok(Line::Incomplete),
        _ => Err(not_a_field(input, at)),
    }
}

/// Without the white space at its end; that at its start has been skipped.
fn trimmed(input: &[u8], start: usize, mut end: usize) -> Span {
    while end > start && matches!(input[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    Span::new(start, end)
}
