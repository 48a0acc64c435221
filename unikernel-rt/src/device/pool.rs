//! Buffers that wait to be used again: allocating one costs more than a packet should, and clearing one of 64 KiB far
//! more.

use super::frame::HEADROOM;
use crate::platform::with_core;
use alloc::{boxed::Box, vec::Vec};

/// The longest frame there is, before it is cut into segments or after it was merged: an IPv6 packet without extension
/// for jumbograms (RFC 8200, 3), an Ethernet header and a VLAN tag.
pub(crate) const PACKET_LEN_MAX: usize = 65_535 + 40 + 18;

/// Sizes in bytes, headroom included, and how many of each are kept (of the first two in steps of [`STEP`]). Other
/// sizes go back to the heap.
///
/// An ordinary frame (more than a full receive and a full transmit queue), a page (a full receive queue), a quarter of the largest packet
/// and the largest packet (a window of 1 MiB in flight).
const CLASSES: [(usize, usize); 4] =
    [(1536, 512), (4096, 256), (16 * 1024, 16), ((PACKET_LEN_MAX + HEADROOM).next_multiple_of(64), 16)];

/// Nearly every buffer is of the first two classes, and their code is the one that counts.
const SMALL: usize = CLASSES[0].0;
const PAGE: usize = CLASSES[1].0;
/// Their lists become longer by so many places at a time.
const STEP: usize = 64;

/// The buffers of one core that wait.
#[derive(Default)]
pub(crate) struct FramePool([Vec<Box<[u8]>>; CLASSES.len()]);

/// A buffer with room for `len` bytes, headroom included. `None` where there is no memory for it.
#[inline(always)]
pub(crate) fn take(len: usize) -> Option<Box<[u8]>> {
    with_core(|core| core.frames.borrow_mut().take(len)).or_else(|| allocate(len))
}

/// Keeps a buffer for later, or gives it back to the heap.
#[inline(always)]
pub(crate) fn put(buffer: Box<[u8]>) {
    with_core(|core| core.frames.borrow_mut().put(buffer));
}

/// A buffer of zeros.
#[cold]
fn allocate(len: usize) -> Option<Box<[u8]>> {
    let len = CLASSES.iter().map(|(size, _)| *size).find(|size| len <= *size).unwrap_or(len);
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).ok()?;
    buffer.resize(len, 0);
    Some(buffer.into_boxed_slice())
}

impl FramePool {
    #[inline(always)]
    fn take(&mut self, len: usize) -> Option<Box<[u8]>> {
        if len <= SMALL {
            self.0[0].pop()
        } else if len <= PAGE {
            self.0[1].pop()
        } else {
            self.take_large(len)
        }
    }

    #[cold]
    fn take_large(&mut self, len: usize) -> Option<Box<[u8]>> {
        let class = CLASSES.iter().position(|(size, _)| len <= *size)?;
        self.0[class].pop()
    }

    #[inline(always)]
    fn put(&mut self, buffer: Box<[u8]>) {
        let waiting = match buffer.len() {
            SMALL => &mut self.0[0],
            PAGE => &mut self.0[1],
            _ => return self.put_slowly(buffer),
        };
        if waiting.len() == waiting.capacity() {
            return self.put_slowly(buffer);
        }
        waiting.push(buffer);
    }

    #[cold]
    fn put_slowly(&mut self, buffer: Box<[u8]>) {
        let class = CLASSES.iter().position(|(size, _)| buffer.len() == *size);
        let Some(class) = class.filter(|class| self.0[*class].len() < CLASSES[*class].1) else { return };
        let waiting = &mut self.0[class];
        // Where memory for the list is short, the buffer itself is what the heap needs.
        if waiting.try_reserve_exact(if class < 2 { STEP } else { 1 }).is_ok() {
            waiting.push(buffer);
        }
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
