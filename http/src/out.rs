//! Bytes to send.
//!
//! Like a `Vec<u8>`, but its memory is initialised beyond its end, so that the short texts a head is made of are copied
//! in whole words: a call of `memcpy` for each costs more than the rest of the head.

use alloc::{boxed::Box, vec::Vec};
use core::ops::Deref;

/// Heads and small bodies fit the first piece of memory.
const START_LEN: usize = 2 * 1024;

/// Bytes to send, in the order in which they were pushed. One word while there is no memory.
#[derive(Default)]
pub(crate) struct Out(Option<Box<Memory>>);

#[derive(Default)]
struct Memory {
    /// All of it is initialised; the first `len` bytes were pushed.
    data: Vec<u8>,
    len: usize,
}

impl Out {
    /// Whether it has no memory of its own.
    #[inline(always)]
    pub(crate) fn is_unallocated(&self) -> bool {
        self.0.is_none()
    }

    /// How much fits without more memory.
    pub(crate) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |memory| memory.data.len())
    }

    /// Appends bytes.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.append(bytes.len(), |room| room.put(bytes));
    }

    /// Has at most `len_max` bytes appended.
    #[inline(always)]
    pub(crate) fn append(&mut self, len_max: usize, write: impl FnOnce(&mut Room<'_>)) {
        let memory = self.0.get_or_insert_with(allocate);
        if memory.data.len() - memory.len < len_max {
            memory.grow(len_max);
        }
        let mut room = Room(&mut memory.data[memory.len..]);
        write(&mut room);
        let left = room.0.len();
        memory.len = memory.data.len() - left;
    }

    /// Forgets all bytes, not the memory.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        if let Some(memory) = &mut self.0 {
            memory.len = 0;
        }
    }

    /// Forgets the first `len` bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        if let Some(memory) = &mut self.0 {
            memory.data.copy_within(len..memory.len, 0);
            memory.len -= len;
        }
    }
}

#[cold]
fn allocate() -> Box<Memory> {
    Box::default()
}

impl Memory {
    #[cold]
    fn grow(&mut self, len: usize) {
        let needed = self.len.checked_add(len).expect("what is sent fits the memory it is copied from");
        self.data.resize(needed.max(self.data.len() * 2).max(START_LEN), 0);
    }
}

impl Deref for Out {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Some(memory) => &memory.data[..memory.len],
            None => &[],
        }
    }
}

/// Room for bytes, filled from its start. Putting more into it than was asked for is a bug and panics.
pub(crate) struct Room<'a>(&'a mut [u8]);

impl Room<'_> {
    /// Appends bytes.
    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let (to, rest) = core::mem::take(&mut self.0).split_at_mut(bytes.len());
        copy_short(to, bytes);
        self.0 = rest;
    }

    /// Appends the first `len` of four bytes, for which there has to be room.
    #[inline(always)]
    pub(crate) fn put_word(&mut self, word: [u8; 4], len: usize) {
        self.0[..4].copy_from_slice(&word);
        self.0 = &mut core::mem::take(&mut self.0)[len..];
    }
}

/// Copies between slices of one length: up to 64 bytes as two pieces that overlap, without a loop or a call.
#[inline(always)]
fn copy_short(to: &mut [u8], from: &[u8]) {
    match from.len() {
        0..8 => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
        8..=16 => copy_ends::<8>(to, from),
        17..=32 => copy_ends::<16>(to, from),
        33..=64 => copy_ends::<32>(to, from),
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length() {
        let bytes: Vec<u8> = (1..=200).collect();
        for len in 0..bytes.len() {
            let mut out = Out::default();
            out.push(&bytes[..len]);
            out.append(len + 4, |room| {
                room.put(&bytes[..len]);
                room.put_word(*b"abcd", len % 5);
            });
            assert_eq!(*out, [&bytes[..len], &bytes[..len], &b"abcd"[..len % 5]].concat(), "{len}");
            out.consume(len);
            assert_eq!(out.len(), len + len % 5);
            out.clear();
            assert!(out.is_empty() && !out.is_unallocated());
        }
    }

    #[test]
    fn memory_grows_with_what_is_pushed() {
        let mut out = Out::default();
        assert!(out.is_unallocated());
        for _ in 0..100 {
            out.push(&[7; 1000]);
        }
        assert!(out.len() == 100_000 && out.iter().all(|byte| *byte == 7) && out.capacity() < 300_000);
    }
}
