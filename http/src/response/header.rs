//! Header lines of a response, kept as the text that is sent.

use crate::parse::class::{self, TOKEN, VALUE};
use alloc::vec::Vec;
use core::fmt;

/// The server decides these by the body and the connection (RFC 9112, 6); a second opinion would split the message.
const SERVERS_OWN: [&str; 4] = ["connection", "content-length", "date", "transfer-encoding"];

/// A header field that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHeader {
    /// The name is no token (RFC 9110, 5.1).
    Name,
    /// The value holds a control character, or white space at an end (RFC 9110, 5.5).
    Value,
    /// The server, or the client, writes this field itself.
    ServersOwn,
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidHeader::Name => "a header name is made of letters, digits and `-`",
            InvalidHeader::Value => "a header value is one line without control characters; encode what it carries",
            InvalidHeader::ServersOwn => "this header is written from the body and the connection; leave it out",
        })
    }
}

impl core::error::Error for InvalidHeader {}

pub(super) fn check(name: &str, value: &[u8]) -> Result<(), InvalidHeader> {
    check_field(name, value, &SERVERS_OWN)
}

/// Whether the field can be sent as it is, and is none of those in `own`.
pub(crate) fn check_field(name: &str, value: &[u8], own: &[&str]) -> Result<(), InvalidHeader> {
    if !class::all(name.as_bytes(), TOKEN) {
        return Err(InvalidHeader::Name);
    }
    if own.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(InvalidHeader::ServersOwn);
    }
    if !value.iter().all(|&byte| class::is(byte, VALUE)) || value.trim_ascii().len() != value.len() {
        return Err(InvalidHeader::Value);
    }
    Ok(())
}

/// Appends a line.
pub(crate) fn push(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.reserve(name.len() + value.len() + 4);
    lines.extend_from_slice(name);
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value);
    lines.extend_from_slice(b"\r\n");
}

/// The fields in such text: name and value.
pub(crate) struct Lines<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.0.iter().position(|&byte| byte == b'\r')?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 2..];
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..colon], &line[colon + 2..]))
    }
}
