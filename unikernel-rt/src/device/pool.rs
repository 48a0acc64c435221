//! Buffers that wait to be used again: allocating one costs more than a packet should, and clearing one of 64 KiB far
//! more.

use super::frame::HEADROOM;
use alloc::{boxed::Box, vec::Vec};

/// The longest frame there is, before it is cut into segments or after it was merged: an IPv6 packet without extension
/// for jumbograms (RFC 8200, 3), an Ethernet header and a VLAN tag.
pub(crate) const PACKET_LEN_MAX: usize = 65_535 + 40 + 18;

/// Sizes in bytes, headroom included, and how many of each are kept. Other sizes go back to the heap.
///
/// An ordinary frame (more than a full receive and a full transmit queue), a page, a quarter of the largest packet
/// and the largest packet (a window of 1 MiB in flight).
const CLASSES: [(usize, usize); 4] =
    [(1536, 512), (4096, 64), (16 * 1024, 16), ((PACKET_LEN_MAX + HEADROOM).next_multiple_of(64), 16)];

/// The buffers of one core that wait.
#[derive(Default)]
pub(crate) struct FramePool([Vec<Box<[u8]>>; CLASSES.len()]);

/// The size of the smallest buffer of a class with room for `len` bytes; `len` itself when it is beyond all classes.
#[inline]
pub(super) fn buffer_len(len: usize) -> usize {
    CLASSES.iter().map(|(size, _)| *size).find(|size| len <= *size).unwrap_or(len)
}

#[inline]
fn class(len: usize) -> Option<usize> {
    CLASSES.iter().position(|(size, _)| len == *size)
}

impl FramePool {
    /// A buffer of exactly this size.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Option<Box<[u8]>> {
        self.0[class(len)?].pop()
    }

    /// Keeps a buffer for later. Hands it back when there are enough.
    #[inline]
    pub(super) fn put(&mut self, buffer: Box<[u8]>) -> Option<Box<[u8]>> {
        let Some(class) = class(buffer.len()) else { return Some(buffer) };
        let waiting = &mut self.0[class];
        // Where memory for the list is short, the buffer itself is what the heap needs.
        if waiting.len() == CLASSES[class].1 || waiting.try_reserve(1).is_err() {
            return Some(buffer);
        }
        waiting.push(buffer);
        None
    }

    /// Bytes in it.
    #[cfg_attr(
        not(target_os = "none"),
        allow(dead_code, reason = "for the heap, which the workstation has its own of")
    )]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().zip(CLASSES).map(|(waiting, (size, _))| waiting.len() * size).sum()
    }

    /// All that waits, to be given back to the heap.
    #[cfg_attr(
        not(target_os = "none"),
        allow(dead_code, reason = "for the heap, which the workstation has its own of")
    )]
    pub(crate) fn empty(&mut self) -> FramePool {
        core::mem::take(self)
    }
}
