//! Reads the head of a response (RFC 9112, 4 and 5), with the line parser of requests and its strictness: a length
//! that two readers could understand differently is an error.

use super::Limits;
use crate::{
    Status,
    parse::{
        Field, Line, Span,
        class::{VALUE, end_of},
        framing::{self, Framing},
        parse_line,
    },
};
use alloc::vec::Vec;

/// What a response's head says.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) code: u16,
    pub(super) is_http_10: bool,
    pub(super) fields: Vec<Field>,
    pub(super) framing: Framing,
    /// The length of the head.
    pub(super) len: usize,
}

impl Parsed {
    /// Whether the server takes another request on this connection (RFC 9112, 9.3).
    pub(super) fn keeps_alive(&self) -> bool {
        !self.framing.asks_to_close && (!self.is_http_10 || self.framing.asks_to_keep)
    }
}

/// What is wrong with a head.
pub(super) type Wrong = &'static str;

/// Reads a head from the start of `input`. `None` when it is not complete yet: call again with the same bytes and more.
pub(super) fn parse(input: &[u8], limits: &Limits) -> Result<Option<Parsed>, Wrong> {
    let limited = &input[..input.len().min(limits.head_len_max)];
    let parsed = parse_limited(limited, limits)?;
    if parsed.is_none() && limited.len() == limits.head_len_max {
        return Err("its head is longer than `Limits::head_len_max`");
    }
    Ok(parsed)
}

fn parse_limited(input: &[u8], limits: &Limits) -> Result<Option<Parsed>, Wrong> {
    let mut parsed = Parsed::default();
    let Some(mut at) = parse_status_line(input, &mut parsed)? else { return Ok(None) };
    loop {
        match parse_line(input, at)? {
            Line::Incomplete => return Ok(None),
            Line::Empty(end) => {
                parsed.len = end;
                return check(parsed).map(Some);
            }
            Line::Field(field, end) => {
                if parsed.fields.len() == limits.fields_max {
                    return Err("it has more header fields than `Limits::fields_max`");
                }
                note(input, field, &mut parsed.framing)?;
                parsed.fields.push(field);
                at = end;
            }
        }
    }
}

/// `HTTP/1.minor SP 3DIGIT [SP reason] CRLF`. Returns where the next line starts. The space before an empty reason is
/// left out by some servers, and nothing depends on it.
fn parse_status_line(input: &[u8], parsed: &mut Parsed) -> Result<Option<usize>, Wrong> {
    const PATTERN: &[u8] = b"HTTP/1.0 000";
    for (&byte, &pattern) in input.iter().zip(PATTERN) {
        let fits = if pattern == b'0' { byte.is_ascii_digit() } else { byte == pattern };
        if !fits {
            return Err("it does not start with `HTTP/1.1`, a space and a status code");
        }
    }
    let (Some(line), Some(rest)) = (input.get(..PATTERN.len()), input.get(PATTERN.len()..)) else { return Ok(None) };
    parsed.is_http_10 = line[7] == b'0';
    parsed.code = line[9..].iter().fold(0, |code, digit| code * 10 + (digit - b'0') as u16);
    if !matches!(parsed.code, 100..=599) {
        return Err("its status code is not between 100 and 599");
    }
    let end = match rest {
        [] => return Ok(None),
        [b' ', ..] => end_of(VALUE, input, PATTERN.len()),
        _ => PATTERN.len(),
    };
    match &input[end..] {
        [b'\r', b'\n', ..] => Ok(Some(end + 2)),
        [] | [b'\r'] => Ok(None),
        _ => Err("its status line holds a control character, or ends without CR LF"),
    }
}

fn note(input: &[u8], field: Field, framing: &mut Framing) -> Result<(), Wrong> {
    let (name, value) = (field.name.of(input), field.value.of(input));
    let noted = match name.len() {
        10 if name.eq_ignore_ascii_case(b"connection") => framing::note_connection(value, framing),
        14 if name.eq_ignore_ascii_case(b"content-length") => framing::note_content_length(value, framing),
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => framing::note_transfer_encoding(value, framing),
        _ => Ok(()),
    };
    noted.map_err(|refusal| match refusal.status {
        Status::CONTENT_TOO_LARGE => "its Content-Length does not fit 64 bits",
        _ => refusal.reason,
    })
}

/// What can only be judged when every field is known.
fn check(parsed: Parsed) -> Result<Parsed, Wrong> {
    let Framing { is_chunked, has_other_coding, content_length, .. } = parsed.framing;
    if has_other_coding {
        return Err("it has a transfer coding that was not asked for");
    }
    if is_chunked && parsed.is_http_10 {
        return Err("it is HTTP/1.0 and has a Transfer-Encoding");
    }
    if is_chunked && content_length.is_some() {
        return Err("it has both a Content-Length and a Transfer-Encoding");
    }
    // RFC 9110, 8.6 and RFC 9112, 6.1.
    if (parsed.code < 200 || parsed.code == 204) && (is_chunked || content_length.is_some_and(|length| length > 0)) {
        return Err("it has no body by its status, and announces one");
    }
    Ok(parsed)
}

/// The fields of a trailer section, as it was sent without the empty line at its end.
pub(super) fn parse_trailers(text: &[u8]) -> Vec<(Span, Span)> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while let Ok(Line::Field(field, end)) = parse_line(text, at) {
        fields.push((field.name, field.value));
        at = end;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    fn limits() -> Limits {
        Limits { head_len_max: 200, fields_max: 3, ..Limits::default() }
    }

    /// The verdict, which has to be the same for every way to cut the input.
    fn verdict(input: &str) -> String {
        let input = input.as_bytes();
        let first = (0..=input.len()).find_map(|end| parse(&input[..end], &limits()).transpose());
        let (whole, cut) = (describe(parse(input, &limits()).transpose()), describe(first));
        assert_eq!(whole, cut, "{}", input.escape_ascii());
        whole
    }

    fn describe(parsed: Option<Result<Parsed, Wrong>>) -> String {
        match parsed {
            None => "more".into(),
            Some(Err(wrong)) => wrong.into(),
            Some(Ok(parsed)) => {
                let Parsed { code, fields, framing, len, .. } = &parsed;
                let keeps = if parsed.keeps_alive() { "keeps" } else { "closes" };
                let length = framing.content_length.map_or("-".into(), |length| format!("{length}"));
                format!("{code} {} {length} {} {keeps} {len}", fields.len(), framing.is_chunked)
            }
        }
    }

    #[test]
    fn heads_and_what_they_say() {
        for (input, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "200 0 - false keeps 19"),
            ("HTTP/1.1 200 OK\r\n\r\nbody", "200 0 - false keeps 19"),
            ("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", "200 1 5 false keeps 36"),
            ("HTTP/1.1 200\r\n\r\n", "200 0 - false keeps 16"),
            ("HTTP/1.7 404 Not Found\r\nConnection: close\r\n\r\n", "404 1 - false closes 45"),
            ("HTTP/1.0 200 OK\r\n\r\n", "200 0 - false closes 19"),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", "200 1 - false keeps 43"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200 1 - true keeps 47"),
            ("HTTP/1.1 100 Continue\r\n\r\n", "100 0 - false keeps 25"),
            ("HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n", "204 1 0 false keeps 37"),
            ("HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n", "304 1 9 false keeps 37"),
            ("HTTP/1.1 200 \u{e9}t\u{e9}\r\n\r\n", "200 0 - false keeps 22"),
            ("HTTP/1.1 20", "more"),
            ("HTTP/1.1 200 OK\r", "more"),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", "more"),
        ] {
            assert_eq!(verdict(input), expected, "{input:?}");
        }
    }

    #[test]
    fn what_readers_disagree_about_is_an_error() {
        let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        for (fields, expected) in [
            ("Content-Length: 5\r\nContent-Length: 5", "there are two Content-Length fields"),
            ("Content-Length: 5, 5", "the Content-Length is not a number"),
            ("Content-Length: +5", "the Content-Length is not a number"),
            ("Content-Length:", "the Content-Length is not a number"),
            ("Content-Length: 99999999999999999999", "its Content-Length does not fit 64 bits"),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", "it has both a Content-Length and a Transfer-Encoding"),
            ("Transfer-Encoding: gzip, chunked", "it has a transfer coding that was not asked for"),
            ("Transfer-Encoding: identity", "it has a transfer coding that was not asked for"),
            ("Transfer-Encoding: chunked, chunked", "the transfer coding chunked is not the last one"),
            ("Transfer-Encoding: \"chunked\"", "the Transfer-Encoding is not a list of codings"),
            ("A : b", "a header field's name is not followed by a colon at once"),
            ("A: b\r\n c", "a header field is continued on a second line; put it on one"),
            ("A: b\nC: d", "a header field holds a control character, or its line ends without CR LF"),
            ("A: b\0", "a header field holds a control character, or its line ends without CR LF"),
            (": b", "a header line does not start with a field name"),
            ("A: b\r\nB: c\r\nC: d\r\nD: e", "it has more header fields than `Limits::fields_max`"),
        ] {
            assert_eq!(verdict(&head(fields)), expected, "{fields}");
        }
        for (input, expected) in [
            ("HTTP/2 200 OK\r\n\r\n", "it does not start with `HTTP/1.1`, a space and a status code"),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", "it does not start with `HTTP/1.1`, a space and a status code"),
            ("<html>", "it does not start with `HTTP/1.1`, a space and a status code"),
            ("HTTP/1.1  200 OK\r\n\r\n", "it does not start with `HTTP/1.1`, a space and a status code"),
            ("HTTP/1.1 2000\r\n\r\n", "its status line holds a control character, or ends without CR LF"),
            ("HTTP/1.1 200 OK\n\n", "its status line holds a control character, or ends without CR LF"),
            ("HTTP/1.1 099 X\r\n\r\n", "its status code is not between 100 and 599"),
            ("HTTP/1.1 600 X\r\n\r\n", "its status code is not between 100 and 599"),
            ("HTTP/1.0 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", "it is HTTP/1.0 and has a Transfer-Encoding"),
            ("HTTP/1.1 103 X\r\nContent-Length: 3\r\n\r\n", "it has no body by its status, and announces one"),
            ("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", "it has no body by its status, and announces one"),
        ] {
            assert_eq!(verdict(input), expected, "{input:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(200));
        assert_eq!(verdict(&long), "its head is longer than `Limits::head_len_max`");
    }
}
