//! The chunked transfer coding (RFC 9112, 7.1), strict: what another decoder could read differently is an error.

use crate::parse::class::{self, TOKEN, VALUE};
use alloc::vec::Vec;
use core::ops::Range;

/// Extensions and trailers carry nothing this server uses; so much of them per body is read over, then it is an
/// error. One byte of data with a long extension each is a known way to waste a server's time.
const OVERHEAD_LEN_MAX: usize = 16 * 1024;
/// Digits of a chunk size. More are either an overflow or zeros that hide something.
const SIZE_DIGITS_MAX: u8 = 15;

/// Finds the data in a chunked body. Bytes go in as they come, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    /// What is left of this chunk, or the size as read so far.
    size: u64,
    digits: u8,
    overhead: usize,
    /// The trailer section without its last line, for who wants it.
    trailers: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// What a piece of input held first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Body data: these bytes of the input, which is used up to their end.
    Data(Range<usize>),
    /// The whole input was framing.
    NeedMore,
    /// The body ended; so many bytes of the input belonged to it.
    End(usize),
}

/// The body is not in chunks as RFC 9112, 7.1 defines them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Decoder {
    /// A decoder that keeps the trailer section.
    pub(crate) fn with_trailers() -> Decoder {
        Decoder { trailers: Some(Vec::new()), ..Decoder::default() }
    }

    /// The trailer section as it was sent; at most 16 KiB.
    pub(crate) fn take_trailers(&mut self) -> Vec<u8> {
        self.trailers.take().unwrap_or_default()
    }

    /// Looks for the next data in `input`. Not to be called again after [`Piece::End`] or an error.
    pub(crate) fn decode(&mut self, input: &[u8]) -> Result<Piece, Malformed> {
        let mut at = 0;
        while at < input.len() {
            if self.state == State::Data {
                let len = self.size.min((input.len() - at) as u64);
                self.size -= len;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece::Data(at..at + len as usize));
            }
            self.state = self.step(input[at])?;
            if let Some(trailers) = &mut self.trailers
                && matches!(self.state, State::TrailerName | State::TrailerValue | State::TrailerLf | State::Trailer)
            {
                keep(trailers, input[at]);
            }
            at += 1;
            if self.state == State::Done {
                return Ok(Piece::End(at));
            }
        }
        Ok(Piece::NeedMore)
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        match (self.state, byte) {
            (State::Size, byte) if byte.is_ascii_hexdigit() => self.size_digit(byte),
            // RFC 9112, 7.1.1 permits white space before an extension; llhttp and others refuse it, and so do we.
            (State::Size, b';') if self.digits > 0 => self.count(State::Extension),
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, byte) if class::is(byte, VALUE) => self.count(State::Extension),
            (State::SizeLf, b'\n') => Ok(self.start_chunk()),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::Trailer, b'\r') => Ok(State::EndLf),
            (State::Trailer | State::TrailerName, byte) if class::is(byte, TOKEN) => self.count(State::TrailerName),
            (State::TrailerName, b':') => self.count(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if class::is(byte, VALUE) => self.count(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(Malformed),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<State, Malformed> {
        if self.digits == SIZE_DIGITS_MAX {
            return Err(Malformed);
        }
        let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
        self.digits += 1;
        self.size = self.size << 4 | digit as u64;
        Ok(State::Size)
    }

    fn start_chunk(&mut self) -> State {
        self.digits = 0;
        if self.size == 0 { State::Trailer } else { State::Data }
    }

    fn count(&mut self, state: State) -> Result<State, Malformed> {
        self.overhead += 1;
        if self.overhead > OVERHEAD_LEN_MAX { Err(Malformed) } else { Ok(state) }
    }
}

/// The line end after the last chunk's size is no part of the trailers.
#[cold]
fn keep(trailers: &mut Vec<u8>, byte: u8) {
    if !(trailers.is_empty() && byte == b'\n') {
        trailers.push(byte);
    }
}

/// What goes before and after `len` bytes of data: `size CRLF` into `line`; a bare CR LF follows the data.
pub(crate) fn size_line(len: usize, line: &mut [u8; 18]) -> &[u8] {
    let mut at = line.len() - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut rest = len;
    loop {
        at -= 1;
        line[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
        if rest == 0 {
            return &line[at..];
        }
    }
}

/// The last chunk, with no trailers.
pub(crate) const END: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    /// Decodes `input` in pieces of `step` bytes. "data|rest", or "error", or "more".
    fn decode(input: &[u8], step: usize) -> String {
        let (mut decoder, mut data, mut used) = (Decoder::default(), Vec::new(), 0);
        while used < input.len() {
            let piece = &input[used..input.len().min(used + step)];
            match decoder.decode(piece) {
                Ok(Piece::Data(range)) => {
                    data.extend_from_slice(&piece[range.clone()]);
                    used += range.end;
                }
                Ok(Piece::NeedMore) => used += piece.len(),
                Ok(Piece::End(len)) => {
                    let rest = String::from_utf8_lossy(&input[used + len..]).into_owned();
                    return format!("{}|{rest}", String::from_utf8_lossy(&data));
                }
                Err(Malformed) => return "error".into(),
            }
        }
        "more".into()
    }

    #[track_caller]
    fn check(input: &str, expected: &str) {
        for step in 1..=input.len() {
            assert_eq!(decode(input.as_bytes(), step), expected, "{input:?} in steps of {step}");
        }
    }

    #[test]
    fn bodies_in_pieces_of_every_size() {
        check("5\r\nhello\r\n0\r\n\r\nGET", "hello|GET");
        check("A\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\n", "0123456789!|");
        check("0\r\n\r\n", "|");
        check("00005\r\nhello\r\n000\r\n\r\n", "hello|");
        check("5;name=value;x=\"y z\"\r\nhello\r\n0;last\r\n\r\n", "hello|");
        check("1\r\na\r\n0\r\nChecksum: abc\r\nB:\r\n\r\nrest", "a|rest");
        check("5\r\nhel", "more");
        check("0\r\n", "more");
    }

    #[test]
    fn trailers_are_kept_for_who_wants_them() {
        let input = b"1\r\na\r\n0;x\r\nChecksum: abc\r\nB:\r\n\r\nrest";
        for step in 1..=input.len() {
            let (mut decoder, mut used) = (Decoder::with_trailers(), 0);
            loop {
                let piece = &input[used..input.len().min(used + step)];
                match decoder.decode(piece).unwrap() {
                    Piece::Data(range) => used += range.end,
                    Piece::NeedMore => used += piece.len(),
                    Piece::End(_) => break,
                }
            }
            assert_eq!(decoder.take_trailers(), b"Checksum: abc\r\nB:\r\n", "in steps of {step}");
        }
    }

    #[test]
    fn what_decoders_disagree_about_is_an_error() {
        for wrong in [
            "\r\n",
            ";x\r\n",
            "g\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-1\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\t;x\r\n",
            "5\nhello\n0\n\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello\rX0\r\n",
            "5;a\nhello\r\n0\r\n\r\n",
            "5;a\0\r\n",
            "5\rhello\r\n",
            "5\r\r\nhello",
            "fffffffffffffffff\r\n",
            "0000000000000000\r\n\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\n a: x\r\n\r\n",
            "0\r\na : x\r\n\r\n",
            "0\r\na: x\n\r\n",
            "0\r\na\r\n\r\n",
            "0\r\n\n",
            "0\r\n\rX",
        ] {
            check(wrong, "error");
        }
    }

    #[test]
    fn endless_extensions_and_trailers_are_an_error() {
        let long = "x".repeat(OVERHEAD_LEN_MAX);
        assert_eq!(decode(format!("5;{long}\r\nhello\r\n").as_bytes(), 999), "error");
        assert_eq!(decode(format!("0\r\na:{long}\r\n\r\n").as_bytes(), 999), "error");
        assert_eq!(decode("1;a\r\nx\r\n".repeat(OVERHEAD_LEN_MAX / 2 + 1).as_bytes(), 999), "error");
    }

    #[test]
    fn sizes_are_written_in_hexadecimal() {
        for (len, expected) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (usize::MAX, "ffffffffffffffff\r\n")] {
            assert_eq!(size_line(len, &mut [0; 18]), expected.as_bytes());
        }
    }
}
