//! The bytes a connection has read and not used yet.

use alloc::{vec, vec::Vec};

/// Room to read into while a connection is idle: most requests of programs fit, and 10,000 idle connections take
/// 5 MiB. Heads that need more get more, until the connection is idle again.
const IDLE_LEN: usize = 512;

/// A buffer that is filled at its end and used from its start.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// All of it is initialised; `start..end` is what was read and not used.
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What was read and not used.
    #[inline(always)]
    pub(crate) fn unused(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Everything from `start` on, used or not.
    #[inline(always)]
    pub(crate) fn from(&self, start: usize) -> &[u8] {
        &self.data[start..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Where the unused bytes start.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Marks `len` bytes as used.
    #[inline(always)]
    pub(crate) fn advance(&mut self, len: usize) {
        self.start += len;
        debug_assert!(self.start <= self.end, "only what was read can be used");
    }

    /// Marks `len` bytes as read; they are at the start of what [`space`](Self::space) gave.
    pub(crate) fn filled(&mut self, len: usize) {
        self.end += len;
        debug_assert!(self.end <= self.data.len(), "a read cannot return more than it was given room for");
    }

    /// Room to read into: never empty while fewer than `len_max` bytes are unused. What was used is forgotten.
    pub(crate) fn space(&mut self, len_max: usize) -> &mut [u8] {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            self.shrink();
        } else if self.end == self.data.len() {
            self.make_room(len_max);
        }
        &mut self.data[self.end..]
    }

    /// Puts bytes behind what is there.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.data.truncate(self.end);
        self.data.extend_from_slice(bytes);
        self.end = self.data.len();
    }

    fn shrink(&mut self) {
        if self.data.len() != IDLE_LEN {
            self.data = vec![0; IDLE_LEN];
        }
    }

    fn make_room(&mut self, len_max: usize) {
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        } else {
            let len = (self.data.len() * 2).clamp(IDLE_LEN, len_max.max(IDLE_LEN));
            self.data.resize(len.max(self.end), 0);
        }
    }
}
