//! Writes the head of a response, and small bodies behind it, as the bytes that are sent.

use super::Response;
use crate::{
    Body, Method, Status, chunked, date,
    out::{Out, Room},
    parse::Parsed,
};
use unikernel_rt::time::{Duration, Instant};

/// Bodies up to this length are copied behind the head: one write, and with the head they fit one TCP segment.
const COPIED_BODY_LEN_MAX: usize = 1024;

const OK_AND_DATE: &[u8; 17 + 6 + date::LEN + 2] = b"HTTP/1.1 200 OK\r\nDate: Ddd, 00 Mmm 0000 00:00:00 GMT\r\n";
const OK_LEN: usize = b"HTTP/1.1 200 OK\r\n".len();
const DATE_LEN: usize = b"Date: ".len() + date::LEN + 2;

/// The start of nearly every response, renewed once a second.
pub(crate) struct Start {
    text: [u8; OK_LEN + DATE_LEN],
    /// When the text is wrong. Zero at first.
    until: Instant,
}

impl Start {
    pub(crate) fn new() -> Start {
        Start { text: *OK_AND_DATE, until: Instant::from_micros(0) }
    }

    /// Makes the text right for `now`; `unix_time` is asked for once a second.
    #[inline(always)]
    pub(crate) fn refresh(&mut self, now: Instant, unix_time: impl FnOnce() -> Duration) {
        if now >= self.until {
            self.renew(now, unix_time());
        }
    }

    #[cold]
    fn renew(&mut self, now: Instant, unix_time: Duration) {
        let at = OK_LEN + b"Date: ".len();
        self.text[at..at + date::LEN].copy_from_slice(&date::format(unix_time.as_secs()));
        self.until = now + Duration::from_micros(1_000_000 - unix_time.subsec_micros() as u64);
    }
}

/// What follows the bytes that [`response`] wrote.
pub(crate) enum Rest {
    /// Nothing: the response is complete.
    None,
    /// This, which is there.
    Bytes(Body),
    /// These pieces, as many bytes as were announced.
    Sized(Body),
    /// These pieces, in chunks.
    Chunked(Body),
    /// These pieces, and then the end of the connection: HTTP/1.0 has no chunks.
    UntilClose(Body),
}

/// The request, as far as it decides how the response is sent.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) is_http_10: bool,
}

impl Asked {
    pub(crate) fn new(parsed: &Parsed) -> Asked {
        Asked { method: parsed.method, is_http_10: parsed.is_http_10 }
    }
}

/// Appends the response to `out`. `keeps_alive` is cleared when the response can only end with the connection.
#[inline]
pub(crate) fn response(out: &mut Out, start: &Start, response: Response, asked: Asked, keeps_alive: &mut bool) -> Rest {
    let is_usual = response.status == Status::OK && response.lines.is_empty();
    if is_usual
        && *keeps_alive
        && !asked.is_http_10
        && asked.method != Method::Head
        && let Some(bytes) = response.body.0.as_bytes().filter(|bytes| bytes.len() <= COPIED_BODY_LEN_MAX)
    {
        usual(out, start, response.ready_lines.as_bytes(), bytes);
        return Rest::None;
    }
    any(out, start, response, asked, keeps_alive)
}

/// 200 with a small body, on a connection that goes on.
#[inline(always)]
fn usual(out: &mut Out, start: &Start, lines: &[u8], body: &[u8]) {
    out.append(start.text.len() + lines.len() + LENGTH_LINE_LEN_MAX + body.len(), |room| {
        room.put(&start.text);
        room.put(lines);
        put_length(room, body.len() as u64);
        room.put(body);
    });
}

/// Any response.
fn any(out: &mut Out, start: &Start, response: Response, asked: Asked, keeps_alive: &mut bool) -> Rest {
    let Response { status, ready_lines, lines, body } = response;
    if status == Status::OK {
        out.push(&start.text);
    } else {
        push_status(out, status);
        out.push(&start.text[OK_LEN..]);
    }
    out.push(ready_lines.as_bytes());
    out.push(&lines);
    // RFC 9112, 9.3: persistence is the default of 1.1 and the exception of 1.0.
    *keeps_alive &= !asked.is_http_10 || body.len().is_some();
    if !*keeps_alive {
        out.push(b"Connection: close\r\n");
    } else if asked.is_http_10 {
        out.push(b"Connection: keep-alive\r\n");
    }
    // RFC 9110, 8.6: no Content-Length with 204; with 304 it would be that of the 200.
    if status.has_no_content() {
        out.push(b"\r\n");
        return Rest::None;
    }
    let Some(bytes) = body.0.as_bytes() else { return streamed(out, body, &asked) };
    push_length(out, bytes.len() as u64);
    if asked.method == Method::Head {
        return Rest::None;
    }
    if bytes.len() > COPIED_BODY_LEN_MAX {
        return Rest::Bytes(body);
    }
    out.push(bytes);
    Rest::None
}

#[cold]
fn streamed(out: &mut Out, body: Body, asked: &Asked) -> Rest {
    let rest = match body.len() {
        Some(len) => {
            push_length(out, len);
            Rest::Sized(body)
        }
        None if asked.is_http_10 => {
            out.push(b"\r\n");
            Rest::UntilClose(body)
        }
        None => {
            out.push(b"Transfer-Encoding: chunked\r\n\r\n");
            Rest::Chunked(body)
        }
    };
    if asked.method == Method::Head { Rest::None } else { rest }
}

#[cold]
fn push_status(out: &mut Out, status: Status) {
    let code = status.code();
    let digits = [b'0' + (code / 100) as u8, b'0' + (code / 10 % 10) as u8, b'0' + (code % 10) as u8];
    out.push(b"HTTP/1.1 ");
    out.push(&digits);
    out.push(b" ");
    out.push(status.reason().as_bytes());
    out.push(b"\r\n");
}

/// The longest last line, and the empty one.
const LENGTH_LINE_LEN_MAX: usize = b"Content-Length: 18446744073709551615\r\n\r\n".len();

fn push_length(out: &mut Out, len: u64) {
    out.append(LENGTH_LINE_LEN_MAX, |room| put_length(room, len));
}

/// The last header line and the empty line.
#[inline(always)]
fn put_length(room: &mut Room<'_>, len: u64) {
    room.put(b"Content-Length: ");
    put_number(room, len);
    room.put_word(*b"\r\n\r\n", 4);
}

/// In decimal; without `core::fmt`, whose machinery costs more than the rest of the head.
#[inline(always)]
fn put_number(room: &mut Room<'_>, number: u64) {
    match u32::try_from(number) {
        Ok(small) if small < 10_000 => put_small_number(room, small),
        _ => put_large_number(room, number),
    }
}

/// All four digits in one go, without those that are not needed.
#[inline(always)]
fn put_small_number(room: &mut Room<'_>, number: u32) {
    let (high, low) = ((number / 100) as usize, (number % 100) as usize);
    let digits = (DIGITS[high] as u32) | (DIGITS[low] as u32) << 16;
    let leading = match number {
        0..10 => 3,
        10..100 => 2,
        100..1000 => 1,
        _ => 0,
    };
    room.put_word((digits >> (leading * 8)).to_le_bytes(), 4 - leading);
}

/// The two digits of each number below 100, the first one in the low byte.
static DIGITS: [u16; 100] = digits();

const fn digits() -> [u16; 100] {
    let mut table = [0; 100];
    let mut number = 0;
    while number < 100 {
        table[number] = u16::from_le_bytes([b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
        number += 1;
    }
    table
}

#[cold]
fn put_large_number(room: &mut Room<'_>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    room.put(&digits[at..]);
}

/// A piece of a chunked body. Empty pieces are left out: an empty chunk is the end.
pub(crate) fn push_chunk(out: &mut Out, piece: &[u8]) {
    if !piece.is_empty() {
        out.push(chunked::size_line(piece.len(), &mut [0; 18]));
        out.push(piece);
        out.push(b"\r\n");
    }
}

/// The interim response that asks for the body (RFC 9110, 15.2.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn numbers_in_decimal() {
        let edges = [10_000, 10_001, 65_535, 99_999, 100_000, u32::MAX as u64, 1 << 40, u64::MAX];
        for number in (0..10_000).chain(edges) {
            let mut out = Out::default();
            out.append(20, |room| put_number(room, number));
            assert_eq!(core::str::from_utf8(&out), Ok(&*format!("{number}")));
        }
    }
}
