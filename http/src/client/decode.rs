//! Compressed bodies (RFC 9110, 8.4.1): gzip (RFC 1952) and deflate, which is the zlib format (RFC 1950).

use super::Error;
use alloc::{boxed::Box, vec, vec::Vec};
use bytes::Bytes;
use miniz_oxide::{
    DataFormat, MZFlush, MZStatus,
    inflate::stream::{InflateState, MinReset, inflate},
};

/// Bytes put out at once.
const PIECE_LEN: usize = 16 * 1024;
/// The ratio counts from here on: short texts of one letter are no attack.
const FREE_LEN: u64 = 64 * 1024;
/// The longest gzip header that is taken; servers send 10 to some 100 bytes.
const HEADER_LEN_MAX: usize = 4 * 1024;

const DAMAGED: Error = Error::Decode("its data is no valid deflate stream");

/// Decodes a body piece by piece.
pub(super) struct Decoder {
    state: Box<InflateState>,
    step: Step,
    is_gzip: bool,
    /// Header and trailer of gzip, as far as they have come.
    frame: Vec<u8>,
    /// Input that is not decoded yet.
    input: Bytes,
    crc: Crc,
    /// What this member of a gzip stream holds.
    member_len: u64,
    taken: u64,
    given: u64,
    expansion_max: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Header,
    Data,
    Trailer,
    Done,
}

impl Decoder {
    /// The decoder for the value of a `Content-Encoding` field. `None` for what was not asked for: the body stays as
    /// it is.
    pub(super) fn of(encoding: &str, expansion_max: u64) -> Option<Decoder> {
        let is_gzip = match encoding {
            _ if encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip") => true,
            _ if encoding.eq_ignore_ascii_case("deflate") => false,
            _ => return None,
        };
        let (format, step) = match is_gzip {
            true => (DataFormat::Raw, Step::Header),
            false => (DataFormat::Zlib, Step::Data),
        };
        Some(Decoder {
            state: InflateState::new_boxed(format),
            step,
            is_gzip,
            frame: Vec::new(),
            input: Bytes::new(),
            crc: Crc::new(),
            member_len: 0,
            taken: 0,
            given: 0,
            expansion_max,
        })
    }

    /// More of the body. Only when [`next`](Self::next) had nothing more to give.
    pub(super) fn put(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "everything that was put in has been decoded");
        self.taken += input.len() as u64;
        self.input = input;
    }

    /// The next decoded piece; `None` when that takes more input.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.step {
                _ if self.input.is_empty() && self.step != Step::Data => return Ok(None),
                Step::Header => self.read_header()?,
                Step::Data => {
                    let output = self.inflate()?;
                    if !output.is_empty() || self.step == Step::Data {
                        return Ok((!output.is_empty()).then(|| output.into()));
                    }
                }
                Step::Trailer => self.read_trailer()?,
                Step::Done if self.is_gzip => self.start_member(),
                Step::Done => return Err(Error::Decode("there is more after its end")),
            }
        }
    }

    /// The body has ended: whether it was all there. An empty body is none at all, and right (RFC 9110 allows it for
    /// HEAD; servers do it elsewhere).
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.step == Step::Done || self.taken == 0 { Ok(()) } else { Err(Error::Decode("its end is missing")) }
    }

    fn inflate(&mut self) -> Result<Vec<u8>, Error> {
        let mut output = vec![0; PIECE_LEN];
        let result = inflate(&mut self.state, &self.input, &mut output, MZFlush::None);
        drop(self.input.split_to(result.bytes_consumed));
        output.truncate(result.bytes_written);
        self.member_len += result.bytes_written as u64;
        self.given += result.bytes_written as u64;
        if self.given > FREE_LEN.max(self.taken.saturating_mul(self.expansion_max)) {
            return Err(Error::Decode("it grows beyond `Limits::expansion_max`; is it made to fill the memory?"));
        }
        if self.is_gzip {
            self.crc.update(&output);
        }
        match result.status {
            Ok(MZStatus::StreamEnd) => self.step = if self.is_gzip { Step::Trailer } else { Step::Done },
            Ok(_) => {}
            // More input is needed.
            Err(miniz_oxide::MZError::Buf) if self.input.is_empty() => {}
            Err(_) => return Err(DAMAGED),
        }
        Ok(output)
    }

    /// A gzip stream may be made of several, one after the other (RFC 1952, 2.2).
    fn start_member(&mut self) {
        // What is left in the window came out of the same body, so it tells nobody anything.
        self.state.reset_as(MinReset);
        (self.step, self.crc, self.member_len) = (Step::Header, Crc::new(), 0);
        self.frame.clear();
    }

    fn read_header(&mut self) -> Result<(), Error> {
        let before = self.frame.len();
        self.frame.extend_from_slice(&self.input);
        match gzip_header_len(&self.frame)? {
            Some(len) if len <= HEADER_LEN_MAX => {
                drop(self.input.split_to(len - before));
                self.frame.clear();
                self.step = Step::Data;
            }
            None if self.frame.len() <= HEADER_LEN_MAX => self.input.clear(),
            _ => return Err(Error::Decode("its gzip header is too long")),
        }
        Ok(())
    }

    /// CRC-32 and length (RFC 1952, 2.3.1).
    fn read_trailer(&mut self) -> Result<(), Error> {
        let len = self.input.len().min(8 - self.frame.len());
        self.frame.extend_from_slice(&self.input.split_to(len));
        let Some(trailer) = self.frame.first_chunk::<8>() else { return Ok(()) };
        let expected = (self.member_len as u32 as u64) << 32 | self.crc.value() as u64;
        if u64::from_le_bytes(*trailer) != expected {
            return Err(Error::Decode("its checksum is wrong"));
        }
        self.step = Step::Done;
        Ok(())
    }
}

/// The length of the header at the start of `bytes` (RFC 1952, 2.3); `None` when it is not complete.
fn gzip_header_len(bytes: &[u8]) -> Result<Option<usize>, Error> {
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    if bytes.iter().zip(b"\x1f\x8b\x08").any(|(byte, expected)| byte != expected) {
        return Err(Error::Decode("it does not start as gzip does"));
    }
    let Some(&flags) = bytes.get(3) else { return Ok(None) };
    if flags & 0xe0 != 0 {
        return Err(Error::Decode("its gzip header has unknown flags"));
    }
    let mut at = 10;
    if flags & EXTRA != 0 {
        let Some(len) = bytes.get(at..at + 2) else { return Ok(None) };
        at += 2 + u16::from_le_bytes([len[0], len[1]]) as usize;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let end = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0));
            let Some(end) = end else { return Ok(None) };
            at += end + 1;
        }
    }
    if flags & HEADER_CRC != 0 {
        at += 2;
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// CRC-32 as in RFC 1952, 8.
struct Crc(u32);

static CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ value >> 1 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

impl Crc {
    fn new() -> Crc {
        Crc(u32::MAX)
    }

    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = CRC_TABLE[(self.0 as u8 ^ byte) as usize] ^ self.0 >> 8;
        }
    }

    fn value(&self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    fn gzip(data: &[u8], flags: u8, fields: &[u8]) -> Vec<u8> {
        let mut crc = Crc::new();
        crc.update(data);
        let mut all = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
        all.extend_from_slice(fields);
        all.extend(compress_to_vec(data, 6));
        all.extend_from_slice(&crc.value().to_le_bytes());
        all.extend_from_slice(&(data.len() as u32).to_le_bytes());
        all
    }

    fn decode(encoding: &str, input: &[u8], step: usize) -> Result<Vec<u8>, String> {
        let mut decoder = Decoder::of(encoding, 100).unwrap();
        let mut all = Vec::new();
        for piece in input.chunks(step) {
            decoder.put(Bytes::copy_from_slice(piece));
            while let Some(piece) = decoder.next().map_err(|error| format!("{error}"))? {
                all.extend_from_slice(&piece);
            }
        }
        decoder.finish().map_err(|error| format!("{error}"))?;
        Ok(all)
    }

    fn text() -> Vec<u8> {
        (0..20_000u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()[..1 + n as usize % 4].to_vec()).collect()
    }

    #[test]
    fn the_check_value_of_crc_32() {
        let mut crc = Crc::new();
        crc.update(b"123456789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }

    #[test]
    fn bodies_in_pieces_of_every_size() {
        let text = text();
        let forms = [
            ("gzip", gzip(&text, 0, b"")),
            ("GZIP", gzip(&text, 4 | 8 | 16 | 2, b"\x03\x00abcname\0comment\0xx")),
            ("x-gzip", gzip(b"", 0, b"")),
            ("deflate", compress_to_vec_zlib(&text, 9)),
            ("deflate", compress_to_vec_zlib(b"hello", 0)),
            ("gzip", Vec::new()),
            ("gzip", [gzip(b"one, ", 0, b""), gzip(b"", 8, b"n\0"), gzip(b"two", 0, b"")].concat()),
        ];
        for (index, (encoding, body)) in forms.iter().enumerate() {
            let expected = [&text[..], &text, b"", &text, b"hello", b"", b"one, two"][index];
            for step in [1, 2, 3, 7, 100, 4096, usize::MAX] {
                assert!(decode(encoding, body, step).as_deref() == Ok(expected), "{index} in steps of {step}");
            }
        }
    }

    #[test]
    fn damaged_bodies() {
        let whole = gzip(&text(), 0, b"");
        let changed = |at: usize| {
            let mut body = whole.clone();
            body[at] ^= 1;
            body
        };
        let more = [&whole[..], b"x"].concat();
        for (body, expected) in [
            (changed(0), "it does not start as gzip does"),
            (changed(2), "it does not start as gzip does"),
            (gzip(b"x", 0x20, b""), "its gzip header has unknown flags"),
            (gzip(b"x", 8, &[b'n'; 5000]), "its gzip header is too long"),
            (changed(whole.len() - 1), "its checksum is wrong"),
            (changed(whole.len() - 8), "its checksum is wrong"),
            (more, "it does not start as gzip does"),
            (whole[..whole.len() - 1].to_vec(), "its end is missing"),
            (whole[..whole.len() / 2].to_vec(), "its end is missing"),
            (whole[..5].to_vec(), "its end is missing"),
            (gzip(&vec![0; 10 << 20], 0, b""), "it grows beyond"),
        ] {
            for step in [1, 10, usize::MAX] {
                let error = decode("gzip", &body, step).unwrap_err();
                assert!(error.contains(expected), "{error} instead of {expected}");
            }
        }
        for wrong in [&b"hello"[..], b"\x78\x9c\xff\xff\xff", &compress_to_vec(b"raw deflate", 6)] {
            assert!(decode("deflate", wrong, 3).is_err());
        }
    }

    /// Any single damage is found, or the output is what it was.
    #[test]
    fn every_bit_flipped() {
        let data = b"the quick brown fox jumps over the lazy dog, and again the quick brown fox";
        let whole = gzip(data, 0, b"");
        for bit in 0..whole.len() * 8 {
            let mut body = whole.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            if let Ok(decoded) = decode("gzip", &body, 9) {
                assert_eq!(decoded, data, "bit {bit}");
            }
        }
    }
}
