//! The memory that all connections share for buffers beyond their first ones.

use super::ring::{RING_LEN_MIN, Ring};
use alloc::{boxed::Box, vec::Vec};

/// Memory of ended connections kept for the next, in rings: a burst of short connections then clears no memory.
const SPARE_MAX: usize = 128;

/// Bytes that may still be promised to peers and writers, and memory to begin with.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
    total: usize,
    spare: Vec<Box<[u8]>>,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Budget {
        Budget { left: total, total, spare: Vec::new() }
    }

    /// Reserves `len` bytes, if one connection may have so much of what is left: an eighth. So the first ones get
    /// much, the last ones little, and none can starve the others (dynamic thresholds, Choudhury & Hahne 1998).
    pub(crate) fn take(&mut self, len: usize) -> bool {
        let granted = len <= self.left / 8;
        if granted {
            self.left -= len;
        }
        granted
    }

    /// Gives back what [`take`](Self::take) reserved.
    pub(crate) fn give(&mut self, len: usize) {
        self.left += len;
        debug_assert!(self.left <= self.total, "more was given back than taken");
    }

    /// A ring for a new connection: with memory if some is spare.
    pub(super) fn ring(&mut self) -> Ring {
        self.spare.pop().map_or_else(Ring::default, Ring::with_memory)
    }

    /// Keeps the memory of a ring that is not used any more.
    pub(super) fn keep(&mut self, ring: &mut Ring) {
        if let Some(memory) = ring.take_memory()
            && self.spare.len() < SPARE_MAX
        {
            self.spare.push(memory);
        }
    }

    /// Gives back what is spare.
    pub(crate) fn trim(&mut self) {
        self.spare = Vec::new();
    }

    /// Bytes kept for new connections.
    pub(crate) fn spare_len(&self) -> usize {
        self.spare.len() * RING_LEN_MIN
    }

    /// Bytes reserved now.
    pub(crate) fn used(&self) -> usize {
        self.total - self.left
    }
}
