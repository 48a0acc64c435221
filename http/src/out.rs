//! Bytes to send.
//!
//! Like a `Vec<u8>`, but its memory is initialised beyond its end, so that the short texts a head is made of are copied
//! in whole words: a call of `memcpy` for each costs more than the rest of the head.

use alloc::vec::Vec;
use core::ops::Deref;

/// Heads and small bodies fit the first piece of memory.
const START_LEN: usize = 2 * 1024;

/// Bytes to send, in the order in which they were pushed.
#[derive(Default)]
pub(crate) struct Out {
    /// All of it is initialised; the first `len` bytes were pushed.
    data: Vec<u8>,
    len: usize,
}

impl Out {
    /// Whether it has no memory of its own.
    #[inline(always)]
    pub(crate) fn is_unallocated(&self) -> bool {
        self.data.capacity() == 0
    }

    /// How much fits without more memory.
    pub(crate) fn capacity(&self) -> usize {
        self.data.len()
    }

    /// Appends bytes.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.data[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// [`push`](Self::push) for what is at most 64 bytes long as a rule.
    #[inline(always)]
    pub(crate) fn push_short(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        copy_short(&mut self.data[self.len..self.len + bytes.len()], bytes);
        self.len += bytes.len();
    }

    /// Appends the first `len` of eight bytes.
    #[inline(always)]
    pub(crate) fn push_word(&mut self, word: u64, len: usize) {
        self.reserve(8);
        self.data[self.len..self.len + 8].copy_from_slice(&word.to_le_bytes());
        self.len += len;
    }

    /// Makes room for `len` more bytes.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, len: usize) {
        if self.data.len() - self.len < len {
            self.grow(len);
        }
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        let needed = self.len.checked_add(len).expect("what is sent fits the memory it is copied from");
        self.data.resize(needed.max(self.data.len() * 2).max(START_LEN), 0);
    }

    /// Forgets all bytes, not the memory.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets the first `len` bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.data.copy_within(len..self.len, 0);
        self.len -= len;
    }
}

impl Deref for Out {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.data[..self.len]
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
            out.push_short(&bytes[..len]);
            out.push(&bytes[..len]);
            out.push_word(u64::from_le_bytes(*b"abcdefgh"), len % 9);
            assert_eq!(*out, [&bytes[..len], &bytes[..len], &b"abcdefgh"[..len % 9]].concat(), "{len}");
            out.consume(len);
            assert_eq!(out.len(), len + len % 9);
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
