//! A byte ring that grows: memory comes with the first byte and doubles as bytes come.

use alloc::{boxed::Box, vec};

/// What a ring starts with, in bytes: a request and its answer, or two full segments.
pub(super) const RING_LEN_MIN: usize = 4096;

/// Bytes in order. Bytes may also be stored ahead of the end, and count once [`extend`](Ring::extend) reaches them.
#[derive(Default)]
pub(super) struct Ring {
    /// Empty, or a power of two long.
    buffer: Box<[u8]>,
    head: u32,
    len: u32,
}

impl Ring {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Appends.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let start = (self.head + self.len) as usize;
        match self.buffer.get_mut(start..start + bytes.len()) {
            Some(place) => place.copy_from_slice(bytes),
            // It wraps, or must grow.
            None => self.put(0, bytes),
        }
        self.len += bytes.len() as u32;
    }

    /// Stores `bytes`, `ahead` bytes after the end. They do not count yet.
    #[inline(never)]
    pub(super) fn put(&mut self, ahead: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = self.len() + ahead;
        if at + bytes.len() > self.buffer.len() {
            self.grow(at + bytes.len());
        }
        let start = self.place(at);
        let (first, second) = bytes.split_at(bytes.len().min(self.buffer.len() - start));
        self.buffer[start..start + first.len()].copy_from_slice(first);
        self.buffer[..second.len()].copy_from_slice(second);
    }

    /// Counts `len` further bytes, which [`put`](Self::put) has stored.
    #[inline]
    pub(super) fn extend(&mut self, len: usize) {
        debug_assert!(self.len() + len <= self.buffer.len());
        self.len += len as u32;
    }

    /// Copies the bytes from `offset` on into `into`, all of it.
    #[inline]
    pub(super) fn copy(&self, offset: usize, into: &mut [u8]) {
        let start = self.head as usize + offset;
        match self.buffer.get(start..start + into.len()) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => self.copy_wrapped(offset, into),
        }
    }

    #[inline(never)]
    fn copy_wrapped(&self, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= self.len(), "the ring does not hold these bytes");
        if into.is_empty() {
            return;
        }
        let start = self.place(offset);
        let (first, second) = into.split_at_mut(into.len().min(self.buffer.len() - start));
        first.copy_from_slice(&self.buffer[start..start + first.len()]);
        second.copy_from_slice(&self.buffer[..second.len()]);
    }

    /// The first bytes that lie in one piece; all of them unless the ring wraps.
    #[inline]
    pub(super) fn front(&self) -> &[u8] {
        let start = self.head as usize;
        let end = (start + self.len()).min(self.buffer.len());
        &self.buffer[start..end]
    }

    /// Drops the first `len` bytes.
    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        assert!(len <= self.len(), "the ring does not hold so many bytes");
        self.len -= len as u32;
        self.head += len as u32;
        if self.head as usize >= self.buffer.len() {
            self.head -= self.buffer.len() as u32;
        }
    }

    /// Starts again at the front of the memory. Only when empty, and nothing is stored ahead.
    #[inline]
    pub(super) fn rewind(&mut self) {
        debug_assert!(self.is_empty());
        self.head = 0;
    }

    /// A ring that begins with memory of [`RING_LEN_MIN`] bytes, used before.
    pub(super) fn with_memory(buffer: Box<[u8]>) -> Ring {
        debug_assert_eq!(buffer.len(), RING_LEN_MIN);
        Ring { buffer, head: 0, len: 0 }
    }

    /// Takes the memory away, with what is in it; none if it is not of the size a ring starts with.
    pub(super) fn take_memory(&mut self) -> Option<Box<[u8]>> {
        let buffer = core::mem::take(self).buffer;
        (buffer.len() == RING_LEN_MIN).then_some(buffer)
    }

    /// Gives the memory back. Only when empty, and nothing is stored ahead.
    pub(super) fn release(&mut self) {
        debug_assert!(self.is_empty());
        *self = Ring::default();
    }

    #[inline]
    fn place(&self, offset: usize) -> usize {
        (self.head as usize + offset) & (self.buffer.len() - 1)
    }

    /// Moves to memory for `needed` bytes. All of the old memory moves, as bytes may be stored ahead of the end.
    #[cold]
    fn grow(&mut self, needed: usize) {
        let mut larger = vec![0; needed.next_power_of_two().max(RING_LEN_MIN)].into_boxed_slice();
        let head = self.head as usize;
        let tail = self.buffer.len() - head;
        larger[..tail].copy_from_slice(&self.buffer[head..]);
        larger[tail..tail + head].copy_from_slice(&self.buffer[..head]);
        self.buffer = larger;
        self.head = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::VecDeque, vec::Vec};
    use unikernel_rt::sim::Random;

    /// Does the same to a ring and to a queue of bytes.
    #[test]
    fn it_agrees_with_a_queue() {
        for seed in 0..200 {
            let (mut random, mut ring, mut queue) = (Random::new(seed), Ring::default(), VecDeque::new());
            for _ in 0..200 {
                let mut bytes = vec![0; random.below(3000)];
                random.fill(&mut bytes);
                match random.below(4) {
                    0 => {
                        // The second half first, then the first.
                        let half = bytes.len() / 2;
                        ring.put(half, &bytes[half..]);
                        ring.put(0, &bytes[..half]);
                        ring.extend(bytes.len());
                        queue.extend(bytes);
                    }
                    1 => {
                        ring.push(&bytes);
                        queue.extend(bytes);
                    }
                    _ => {
                        let len = random.below(queue.len() + 1);
                        ring.consume(len);
                        queue.drain(..len);
                    }
                }
                if ring.is_empty() && random.chance(500) {
                    ring.rewind();
                }
                let offset = random.below(queue.len() + 1);
                let mut copy = vec![0; queue.len() - offset];
                ring.copy(offset, &mut copy);
                assert_eq!(copy, queue.range(offset..).copied().collect::<Vec<u8>>());
                assert_eq!(ring.front(), copy_front(&queue, ring.front().len()));
                assert_eq!(ring.len(), queue.len());
                assert!(ring.is_empty() || !ring.front().is_empty());
            }
        }
    }

    fn copy_front(queue: &VecDeque<u8>, len: usize) -> Vec<u8> {
        queue.range(..len).copied().collect()
    }
}
