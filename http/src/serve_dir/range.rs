//! Byte ranges (RFC 9110, 14).

use super::Form;
use crate::{Body, Response, Status, parse::framing::elements};
use alloc::{format, string::String, vec, vec::Vec};
use bytes::Bytes;
use core::ops::Range;

/// A request for more ranges gets the whole file: viewers of documents ask for a few.
const RANGES_MAX: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// No range that has to be heeded.
    All,
    Some(Vec<Range<u64>>),
    NotSatisfiable,
}

/// Reads a `Range` field for a file of `len` bytes. A field that is not understood is ignored (RFC 9110, 14.2), and
/// so is one that asks for more than the file in total: overlapping ranges are an attack (RFC 9110, 17.15).
pub(super) fn parse(field: &[u8], len: u64) -> Ranges {
    let Some(list) = field.get(..6).filter(|unit| unit.eq_ignore_ascii_case(b"bytes=")).map(|_| &field[6..]) else {
        return Ranges::All;
    };
    let mut ranges = Vec::new();
    let mut count = 0;
    for element in elements(list) {
        count += 1;
        match parse_range(element, len) {
            _ if count > RANGES_MAX => return Ranges::All,
            None => return Ranges::All,
            Some(range) if range.is_empty() => {}
            Some(range) => ranges.push(range),
        }
    }
    let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    match ranges.len() {
        _ if count == 0 => Ranges::All,
        0 => Ranges::NotSatisfiable,
        1 => Ranges::Some(ranges),
        _ if total > len => Ranges::All,
        _ => Ranges::Some(ranges),
    }
}

/// `first-last`, `first-` or `-suffix`. Empty when it is beyond the end, `None` when it is none of these.
fn parse_range(text: &[u8], len: u64) -> Option<Range<u64>> {
    let dash = text.iter().position(|&byte| byte == b'-')?;
    match (&text[..dash], &text[dash + 1..]) {
        (b"", suffix) => Some(len - number(suffix)?.min(len)..len),
        (first, b"") => Some(number(first)?.min(len)..len),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first.min(len)..last.saturating_add(1).min(len))
        }
    }
}

/// Digits and nothing else. What is too large for any file is as good as the largest number.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        text.iter().fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add((digit - b'0').into()))
    })
}

/// 206, with one range or with several as multipart/byteranges (RFC 9110, 14.6). `body` makes the body of a sequence of
/// parts, which are so many bytes together.
pub(super) fn partial<F: Form>(
    form: &F,
    ranges: Vec<Range<u64>>,
    body: impl FnOnce(u64, Vec<Part>) -> Body,
) -> Response {
    let len = form.len();
    if let [range] = &ranges[..] {
        let content_range = content_range(range, len);
        let body = body(range.end - range.start, vec![Part::Range(range.clone())]);
        return Response::with_lines(Status::PARTIAL_CONTENT, form.lines(), body)
            .with_header("Content-Range", &content_range);
    }
    // The tag is a hash of the file, so a file that holds its own boundary would have to be made to.
    let boundary: String = form.etag().chars().filter(|letter| letter.is_ascii_alphanumeric()).collect();
    let boundary = if boundary.is_empty() { String::from("3d6b6a416f9b5") } else { boundary };
    let mut response = Response::with_lines(Status::PARTIAL_CONTENT, form.lines(), Body::empty());
    let content_type = response.header("content-type").map(|kind| String::from_utf8_lossy(kind).into_owned());
    let content_type = content_type.unwrap_or_default();
    let mut parts = Vec::with_capacity(ranges.len() * 2 + 1);
    for range in ranges {
        let content_range = content_range(&range, len);
        parts.push(Part::Text(Bytes::from(format!(
            "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n"
        ))));
        parts.push(Part::Range(range));
    }
    parts.push(Part::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    let total = parts.iter().map(Part::len).sum();
    response.set_header("Content-Type", &format!("multipart/byteranges; boundary={boundary}"));
    response.map_body(|_| body(total, parts))
}

/// A part of a body: text between ranges, or a range of the file.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(Bytes),
    Range(Range<u64>),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Text(text) => text.len() as u64,
            Part::Range(range) => range.end - range.start,
        }
    }
}

fn content_range(range: &Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", range.start, range.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of ranges, of which some have one")]
    fn fields_and_their_ranges() {
        let some = |ranges: &[Range<u64>]| Ranges::Some(ranges.to_vec());
        for (field, expected) in [
            ("bytes=0-0", some(&[0..1])),
            ("bytes=0-99", some(&[0..100])),
            ("bytes=90-1000", some(&[90..100])),
            ("bytes=50-", some(&[50..100])),
            ("bytes=-1", some(&[99..100])),
            ("bytes=-1000", some(&[0..100])),
            ("Bytes=1-2, 4-5 ,-1", some(&[1..3, 4..6, 99..100])),
            ("bytes=99999999999999999999999-", Ranges::NotSatisfiable),
            ("bytes=0-99999999999999999999999", some(&[0..100])),
            ("bytes=100-", Ranges::NotSatisfiable),
            ("bytes=-0", Ranges::NotSatisfiable),
            ("bytes=100-200,300-", Ranges::NotSatisfiable),
            ("bytes=1-2,100-", some(&[1..3])),
            ("bytes=2-1", Ranges::All),
            ("bytes=", Ranges::All),
            ("bytes=-", Ranges::All),
            ("bytes=a-b", Ranges::All),
            ("bytes=1-2,x", Ranges::All),
            ("bytes=+1-2", Ranges::All),
            ("bytes 1-2", Ranges::All),
            ("lines=1-2", Ranges::All),
            ("bytes=0-,0-", Ranges::All),
            ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-10,11-11,12-12,13-13,14-14,15-15,16-16", Ranges::All),
        ] {
            assert_eq!(parse(field.as_bytes(), 100), expected, "{field}");
        }
        assert_eq!(parse(b"bytes=0-", 0), Ranges::NotSatisfiable);
        assert_eq!(parse(b"bytes=-5", 0), Ranges::NotSatisfiable);
    }
}
