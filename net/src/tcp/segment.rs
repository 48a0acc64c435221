//! Segments as the connection sees them: what came in, and what shall go out. Ports, addresses and checksums are
//! the caller's.

use super::options::Options;
use unikernel_rt::device::Frame;

/// Flag bits of the header (RFC 9293, 3.1).
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const PSH: u8 = 8;
    pub(crate) const ACK: u8 = 16;
}

/// A received segment; its checksum and its header lengths are right.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// As in the header, not scaled.
    pub(crate) window: u16,
    /// Bits of [`flag`].
    pub(crate) flags: u8,
    /// The option bytes of the header, not yet checked.
    pub(crate) options: &'a [u8],
    pub(crate) payload: Payload<'a>,
}

impl Segment<'_> {
    #[inline]
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Sequence numbers it takes up.
    pub(super) fn seq_len(&self) -> u32 {
        self.payload.len as u32 + u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN))
    }
}

/// Received bytes, up to 64 KiB in several pieces.
#[derive(Clone, Copy, Default)]
pub(crate) struct Payload<'a> {
    /// What follows the header in the first frame.
    pub(crate) first: &'a [u8],
    /// Further parts, when a packet came in several buffers.
    pub(crate) rest: &'a [Frame],
    /// How many of all these bytes count; less than their sum when the frame was padded, never more.
    pub(crate) len: usize,
}

impl<'a> Payload<'a> {
    /// The usual case: one piece.
    #[inline]
    pub(crate) fn one(bytes: &'a [u8]) -> Payload<'a> {
        Payload { first: bytes, rest: &[], len: bytes.len() }
    }

    /// Hands out the bytes `from..to` piece by piece, each with its place in the payload.
    #[inline]
    pub(super) fn for_each(&self, from: usize, to: usize, mut take: impl FnMut(usize, &[u8])) {
        let mut start = 0;
        for piece in core::iter::once(self.first).chain(self.rest.iter().map(|frame| &frame[..])) {
            let (first, last) = (from.max(start), to.min(self.len).min(start + piece.len()));
            if first < last {
                take(first, &piece[first - start..last - start]);
            }
            start += piece.len();
        }
    }
}

/// A segment to send. Its payload is taken from the send buffer by `Tcb::copy_payload`, before the next call that
/// changes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// For the header, scaled already.
    pub(crate) window: u16,
    /// Bits of [`flag`].
    pub(crate) flags: u8,
    pub(crate) options: Options,
    /// Where the payload starts in the send buffer.
    pub(super) offset: u32,
    /// Bytes of payload.
    pub(crate) len: u32,
    /// Payload of one segment on the wire: the device splits longer ones.
    pub(crate) segment_len: u16,
}

/// Bytes from `from` to `to`; sequence numbers wrap (RFC 9293, 3.4).
#[inline]
pub(super) fn span(from: u32, to: u32) -> u32 {
    to.wrapping_sub(from)
}

/// Whether `a` comes after `b`.
#[inline]
pub(super) fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// The later of two.
#[inline]
pub(super) fn later(a: u32, b: u32) -> u32 {
    if after(a, b) { a } else { b }
}
