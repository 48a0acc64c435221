//! What the head says about the connection and the length of the body (RFC 9112, 6 and 9), read so that no other
//! parser can come to a different end of the message: that difference is what request smuggling lives on.

use super::{Field, Parsed, Refusal, Span, bad, class};
use crate::{Limits, Status};

/// The meaning of the fields that concern the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing {
    pub(crate) content_length: Option<u64>,
    /// The body is in chunks.
    pub(crate) is_chunked: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    pub(crate) asks_to_close: bool,
    pub(crate) asks_to_keep: bool,
    has_host: bool,
    pub(crate) has_other_coding: bool,
    has_unknown_expectation: bool,
}

impl Framing {
    /// Whether there is no body.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_chunked && self.content_length.unwrap_or(0) == 0
    }
}

const UNKNOWN_CODING: Refusal =
    Refusal { status: Status::NOT_IMPLEMENTED, reason: "the only transfer coding this server knows is chunked" };
const UNKNOWN_EXPECTATION: Refusal =
    Refusal { status: Status::EXPECTATION_FAILED, reason: "the only expectation this server knows is 100-continue" };
/// A body beyond what the server takes.
pub(crate) const BODY_TOO_LARGE: Refusal =
    Refusal { status: Status::CONTENT_TOO_LARGE, reason: "the body is longer than this server takes" };

/// Looks at one field. Lengths first: most fields are decided by theirs.
#[inline(always)]
pub(super) fn note(input: &[u8], field: Field, parsed: &mut Parsed) -> Result<(), Refusal> {
    let name = field.name.of(input);
    let value = field.value.of(input);
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => note_host(value, parsed),
        6 if name.eq_ignore_ascii_case(b"expect") => note_expect(value, parsed),
        10 if name.eq_ignore_ascii_case(b"connection") => note_connection(value, &mut parsed.framing),
        14 if name.eq_ignore_ascii_case(b"content-length") => note_content_length(value, &mut parsed.framing),
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => note_transfer_encoding(value, &mut parsed.framing),
        _ => Ok(()),
    }
}

/// `Host: name CRLF`, spelled as nearly every client spells it, in one pass. Returns where the next line starts; `None`
/// leaves the line to the ordinary way, whatever it is.
#[inline(always)]
pub(super) fn usual_host(input: &[u8], at: usize, parsed: &mut Parsed) -> Option<usize> {
    const START: &[u8; 6] = b"Host: ";
    // For the first field only: then no limit on the number of fields has to be looked at.
    if !input.get(at..)?.starts_with(START) {
        return None;
    }
    let value = at + START.len();
    let end = class::end_of(class::HOST, input, value);
    if end == value || !input[end..].starts_with(b"\r\n") {
        return None;
    }
    parsed.framing.has_host = true;
    parsed.fields.push(Field { name: Span::new(at, at + 4), value: Span::new(value, end) });
    Some(end + 2)
}

/// RFC 9112, 3.2: more than one Host, or one that is no host, is answered with 400.
fn note_host(value: &[u8], parsed: &mut Parsed) -> Result<(), Refusal> {
    if parsed.framing.has_host {
        return Err(bad("there are two Host fields"));
    }
    // An empty value is right where the target has no authority.
    if !value.is_empty() && !class::all(value, class::HOST) {
        return Err(bad("the Host field does not hold a host"));
    }
    parsed.framing.has_host = true;
    Ok(())
}

/// RFC 9110, 10.1.1. Judged when the head is complete: a wrong head matters more.
#[cold]
fn note_expect(value: &[u8], parsed: &mut Parsed) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"100-continue") {
        parsed.framing.expects_continue = true;
    } else {
        parsed.framing.has_unknown_expectation = true;
    }
    Ok(())
}

/// RFC 9110, 7.6.1; options without a meaning here are ignored.
pub(crate) fn note_connection(value: &[u8], framing: &mut Framing) -> Result<(), Refusal> {
    for option in elements(value) {
        framing.asks_to_close |= option.eq_ignore_ascii_case(b"close");
        framing.asks_to_keep |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    Ok(())
}

/// RFC 9110, 8.6: digits and nothing else. Repeating it is refused even when the values agree, which the RFC allows.
pub(crate) fn note_content_length(value: &[u8], framing: &mut Framing) -> Result<(), Refusal> {
    if framing.content_length.is_some() {
        return Err(bad("there are two Content-Length fields"));
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad("the Content-Length is not a number"));
    }
    let length = value
        .iter()
        .try_fold(0u64, |length, digit| length.checked_mul(10)?.checked_add((digit - b'0') as u64))
        .ok_or(BODY_TOO_LARGE)?;
    framing.content_length = Some(length);
    Ok(())
}

/// RFC 9112, 6.1: `chunked` comes last and once.
#[cold]
pub(crate) fn note_transfer_encoding(value: &[u8], framing: &mut Framing) -> Result<(), Refusal> {
    for coding in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if !class::all(coding, class::TOKEN) {
            return Err(bad("the Transfer-Encoding is not a list of codings"));
        }
        if framing.is_chunked {
            return Err(bad("the transfer coding chunked is not the last one"));
        }
        if coding.eq_ignore_ascii_case(b"chunked") {
            framing.is_chunked = true;
        } else {
            framing.has_other_coding = true;
        }
    }
    Ok(())
}

/// What can only be judged when every field is known.
pub(super) fn finish(input: &[u8], parsed: &mut Parsed, limits: &Limits) -> Result<(), Refusal> {
    let framing = &mut parsed.framing;
    if !framing.has_host && !parsed.is_http_10 {
        return Err(bad("there is no Host field"));
    }
    if framing.is_chunked || framing.has_other_coding {
        check_transfer_encoding(framing, parsed.is_http_10)?;
    }
    if framing.has_unknown_expectation {
        return Err(UNKNOWN_EXPECTATION);
    }
    if framing.content_length.is_some_and(|length| length > limits.body_len_max) {
        return Err(BODY_TOO_LARGE);
    }
    // RFC 9110, 10.1.1: an expectation of an HTTP/1.0 client, or without a body, means nothing.
    framing.expects_continue &= !parsed.is_http_10 && !framing.is_empty();
    debug_assert!(parsed.len <= input.len(), "the head is part of the input");
    Ok(())
}

#[cold]
fn check_transfer_encoding(framing: &Framing, is_http_10: bool) -> Result<(), Refusal> {
    if is_http_10 {
        return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
    }
    if framing.content_length.is_some() {
        return Err(bad("there are both a Content-Length and a Transfer-Encoding"));
    }
    if framing.has_other_coding {
        return Err(UNKNOWN_CODING);
    }
    Ok(())
}

impl Parsed {
    /// Whether the client wants another exchange on this connection (RFC 9112, 9.3).
    pub(crate) fn keeps_alive(&self) -> bool {
        !self.framing.asks_to_close && (!self.is_http_10 || self.framing.asks_to_keep)
    }
}

/// The elements of a comma-separated list (RFC 9110, 5.6.1).
pub(crate) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
