//! A virtqueue of frames: one descriptor each, owned by the queue while the device may touch them.
//!
//! `virtio-drivers` has a general one. A frame passes this code twice, so it is worth having one that does just what a
//! network queue needs: no chains, no shadow table, one index write and one doorbell for a batch. When it replaced the
//! general one, a request went from 6,790 to 6,330 guest instructions.

use super::{
    pages::{PAGE, Pages},
    ring::{self, Descriptor, FLAG_WRITE, Lie, Rings},
};
use crate::device::HEADROOM;
use alloc::{boxed::Box, vec::Vec};
use core::mem;
use virtio_drivers::transport::Transport;

/// Which way the frames of a queue go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The device fills them.
    Receive,
    /// The device reads them.
    Transmit,
}

/// A virtqueue and the buffers in it.
pub(super) struct Queue {
    rings: Rings,
    direction: Direction,
    /// Where the device's header begins in a buffer.
    start: usize,
    /// The buffers the device has, by descriptor.
    buffers: Vec<Option<Box<[u8]>>>,
    /// Descriptors that no buffer has.
    free: Vec<u16>,
    memory: Pages,
}

/// A buffer the device is done with, and how many bytes it wrote.
type Done = (Box<[u8]>, usize);

impl Queue {
    /// Sets the queue up. `None` when the device has none of this number, or memory is short.
    pub(super) fn new(
        transport: &mut impl Transport,
        number: u16,
        direction: Direction,
        header_len: usize,
    ) -> Option<Queue> {
        let len = ring::len_of(transport, number)?;
        let memory = Pages::zeroed(ring::pages(len) * PAGE)?;
        // SAFETY: the length is the one told; nobody else has these pages, which are freed after the device was reset, or
        // never: see `leak`.
        let rings = unsafe { Rings::new(transport, number, len, memory.start()) };
        Some(Queue {
            rings,
            direction,
            start: HEADROOM - header_len,
            buffers: (0..len).map(|_| None).collect(),
            free: (0..len as u16).rev().collect(),
            memory,
        })
    }

    /// How many frames it holds at most.
    pub(super) fn len(&self) -> usize {
        self.rings.len()
    }

    /// How many buffers the device has.
    pub(super) fn used(&self) -> usize {
        self.len() - self.free.len()
    }

    /// Whether the device has all buffers it can have.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Gives a buffer to the device, from its header to `end`. The device sees it after [`announce`](Self::announce). A full
    /// queue drops it.
    #[inline(always)]
    pub(super) fn push(&mut self, mut whole: Box<[u8]>, end: usize) {
        let Some(id) = self.free.pop() else { return };
        let buffer = &mut whole[self.start..end];
        let flags = if self.direction == Direction::Receive { FLAG_WRITE } else { 0 };
        let descriptor = Descriptor::new(buffer.as_mut_ptr(), buffer.len() as u32, flags, 0);
        // SAFETY: `id` was free. The buffer stays in `buffers`, where nobody touches it, until the device is done.
        unsafe { self.rings.describe(id, descriptor) };
        self.rings.offer(id);
        self.buffers[usize::from(id)] = Some(whole);
    }

    /// Shows the device what was pushed, and rings if it wants that.
    #[inline]
    pub(super) fn announce(&mut self, transport: &mut impl Transport) {
        self.rings.announce(transport);
    }

    /// Whether the device is done with a buffer.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.rings.is_ready()
    }

    /// The next buffer the device is done with, and how many bytes it wrote from the start of its header on: at most as
    /// many as the buffer has.
    ///
    /// # Errors
    ///
    /// The device lies. The queue must not be used any more. Before it is dropped the device must be reset, or the queue be
    /// [leaked](Self::leak).
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Result<Option<Done>, Lie> {
        let Some(used) = self.rings.pop()? else { return Ok(None) };
        let buffer = self.buffers.get_mut(used.id as usize).and_then(Option::take).ok_or(Lie)?;
        // There is a place for every descriptor, so this never allocates.
        self.free.push(used.id as u16);
        let len = used.len as usize;
        if self.direction == Direction::Receive && len > buffer.len() - self.start {
            return Err(Lie);
        }
        Ok(Some((buffer, len)))
    }

    /// Leaves everything the device may still touch to it, for ever: it cannot be reset.
    #[cold]
    pub(super) fn leak(&mut self) {
        self.memory.leak();
        self.buffers.drain(..).for_each(mem::forget);
    }

    /// Asks the device to interrupt when it is done with a buffer, or not to; see [`Rings::interrupt`].
    #[inline]
    pub(super) fn interrupt(&mut self, wanted: bool) {
        self.rings.interrupt(wanted);
    }
}
