//! The protocol of Redis, RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), as far as commands
//! with one value for an answer need it. Arrays are refused. Nothing here waits.

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

/// A line beyond this is not from Redis: errors are the longest, and are short sentences.
const LINE_LEN_MAX: usize = 1024;

/// A bulk string beyond this is refused, so that nobody's word makes us keep more.
const BULK_LEN_MAX: usize = 64 * 1024;

/// What Redis answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
}

/// Not RESP2, or more of it than we keep. The connection cannot go on: nobody knows where the next reply begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Malformed(pub &'static str);

/// Appends a command, an array of bulk strings.
pub fn write_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    write_head(out, '*', words.len());
    for word in words {
        write_head(out, '$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_head(out: &mut Vec<u8>, kind: char, len: usize) {
    let mut text = String::new();
    write!(text, "{kind}{len}\r\n").expect("a string takes everything");
    out.extend_from_slice(text.as_bytes());
}

/// Takes a reply from the beginning of `bytes`: it and its length, or `None` while a part is missing.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let Some((line, len)) = split_line(bytes)? else { return Ok(None) };
    let (kind, text) = line.split_at_checked(1).ok_or(Malformed("an empty line"))?;
    let reply = match kind {
        b"+" => Reply::Simple(String::from_utf8_lossy(text).into_owned()),
        b"-" => Reply::Error(String::from_utf8_lossy(text).into_owned()),
        b":" => Reply::Integer(number(text)?),
        b"$" if text == b"-1" => Reply::Nil,
        b"$" => return parse_bulk(bytes, len, number(text)?),
        _ => return Err(Malformed("a reply of a kind that was not asked for")),
    };
    Ok(Some((reply, len)))
}

/// The line without its end, and its length with it.
fn split_line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    let head = &bytes[..bytes.len().min(LINE_LEN_MAX)];
    match head.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some((&head[..end], end + 2))),
        None if bytes.len() >= LINE_LEN_MAX => Err(Malformed("a line without end")),
        None => Ok(None),
    }
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    let parsed = core::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or(Malformed("something else where a number belongs"))
}

fn parse_bulk(bytes: &[u8], start: usize, len: i64) -> Result<Option<(Reply, usize)>, Malformed> {
    let len = usize::try_from(len).ok().filter(|len| *len <= BULK_LEN_MAX);
    let len = len.ok_or(Malformed("a string of impossible length"))?;
    let end = start + len;
    match bytes.get(end..end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((Reply::Bulk(bytes[start..end].to_vec()), end + 2))),
        Some(_) => Err(Malformed("a string that is longer than it says")),
    }
}
