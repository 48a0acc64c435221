//! A response's body as it comes in: finds its end, and what follows.

use super::{Error, head::Parsed};
use crate::chunked::{Decoder, Piece};
use alloc::vec::Vec;
use bytes::Bytes;

/// Bytes read at once.
const READ_LEN: usize = 16 * 1024;

/// Bytes read and not used.
#[derive(Default)]
pub(super) struct Raw {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Raw {
    pub(super) fn unused(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn advance(&mut self, len: usize) {
        self.start += len;
        debug_assert!(self.start <= self.end, "only what was read can be used");
    }

    /// Room to read into, at least a byte. What is unused never exceeds `head_len_max`, as then it is an error.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.data.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let len = READ_LEN.max(self.end * 2);
        self.data.resize(len, 0);
        &mut self.data[self.end..]
    }

    pub(super) fn filled(&mut self, len: usize) {
        self.end += len;
    }
}

/// How the end of a body is found (RFC 9112, 6.3).
#[derive(Debug)]
pub(super) enum Coding {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
}

/// What [`Coding::next`] found.
pub(super) enum Next {
    Data(Bytes),
    More,
    End,
}

impl Coding {
    /// The coding of the response with this head to a request that was, or was not, `HEAD`.
    pub(super) fn new(parsed: &Parsed, is_head: bool) -> Coding {
        let framing = &parsed.framing;
        match framing.content_length {
            _ if is_head || matches!(parsed.code, 204 | 304) => Coding::Length(0),
            Some(length) => Coding::Length(length),
            None if framing.is_chunked => Coding::Chunked(Decoder::with_trailers()),
            None => Coding::UntilClose,
        }
    }

    /// The length, where it is known before the body is read.
    pub(super) fn len(&self) -> Option<u64> {
        if let Coding::Length(length) = self { Some(*length) } else { None }
    }

    /// Takes the next piece of the body out of `raw`.
    pub(super) fn next(&mut self, raw: &mut Raw) -> Result<Next, Error> {
        let unused = raw.unused();
        let (data, used) = match self {
            Coding::Length(0) => return Ok(Next::End),
            Coding::Length(length) => {
                let len = (unused.len() as u64).min(*length) as usize;
                *length -= len as u64;
                (0..len, len)
            }
            Coding::Chunked(decoder) => {
                match decoder.decode(unused).map_err(|_| Error::Malformed("its body is not in valid chunks"))? {
                    Piece::Data(range) => (range.clone(), range.end),
                    Piece::NeedMore => (0..0, unused.len()),
                    Piece::End(len) => {
                        raw.advance(len);
                        return Ok(Next::End);
                    }
                }
            }
            Coding::UntilClose => (0..unused.len(), unused.len()),
        };
        let bytes = Bytes::copy_from_slice(&unused[data]);
        raw.advance(used);
        Ok(if bytes.is_empty() { Next::More } else { Next::Data(bytes) })
    }

    /// The end of the connection: whether it is that of the body, too.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self, Coding::UntilClose)
    }

    /// The trailer section, once the body has ended.
    pub(super) fn take_trailers(&mut self) -> Vec<u8> {
        if let Coding::Chunked(decoder) = self { decoder.take_trailers() } else { Vec::new() }
    }
}
