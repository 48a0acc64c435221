//! What the peer said it holds above a gap (RFC 2018), and what follows from it (RFC 6675).

use super::{
    options::Block,
    segment::{after, later, span},
    tuning::{DUP_THRESHOLD, SACKED_MAX},
};
use alloc::vec::Vec;

/// Selectively acknowledged blocks: in order, apart, all between `SND.UNA` and `SND.NXT`.
#[derive(Default)]
pub(super) struct Scoreboard {
    blocks: Vec<Block>,
    /// Bytes in all of them.
    len: u32,
}

impl Scoreboard {
    /// Notes a block that the peer named. False when it is nothing new, or a lie.
    pub(super) fn insert(&mut self, (first, end): Block, una: u32, nxt: u32) -> bool {
        let (mut low, mut high) = (span(una, first), span(una, end));
        // Below `una` it reports a segment that came twice (RFC 2883); above `nxt` it is made up.
        if low >= high || high > span(una, nxt) {
            return false;
        }
        let at = self.blocks.iter().take_while(|block| span(una, block.1) < low).count();
        let touched = self.blocks[at..].iter().take_while(|block| span(una, block.0) <= high);
        let (count, known) = touched.fold((0, 0), |(count, known), block| (count + 1, known + span(block.0, block.1)));
        if count == 0 && self.blocks.len() == SACKED_MAX {
            return false;
        }
        for block in &self.blocks[at..at + count] {
            low = low.min(span(una, block.0));
            high = high.max(span(una, block.1));
        }
        self.blocks.splice(at..at + count, [(una.wrapping_add(low), una.wrapping_add(high))]);
        self.len = self.len - known + (high - low);
        high - low > known
    }

    /// Everything before `una` is acknowledged.
    pub(super) fn advance(&mut self, una: u32) {
        let done = self.blocks.iter().take_while(|block| !after(block.1, una)).count();
        self.blocks.drain(..done);
        if let Some(block) = self.blocks.first_mut() {
            // A peer that acknowledges up to the middle of a block contradicts itself, or forgot the rest.
            block.0 = later(block.0, una);
        }
        self.len = self.blocks.iter().map(|block| span(block.0, block.1)).sum();
    }

    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.len = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes in all blocks.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The first block.
    pub(super) fn first(&self) -> Option<Block> {
        self.blocks.first().copied()
    }

    /// The block that holds the byte at `seq`.
    pub(super) fn block_of(&self, seq: u32) -> Option<Block> {
        self.blocks.iter().copied().find(|block| !after(block.0, seq) && after(block.1, seq))
    }

    /// The end of the last block.
    pub(super) fn end(&self) -> Option<u32> {
        self.blocks.last().map(|block| block.1)
    }

    /// Where gaps end that count as lost: with three blocks, or more than two segments, above them (RFC 6675, IsLost).
    pub(super) fn lost_end(&self, mss: u16) -> Option<u32> {
        let (mut count, mut len) = (0, 0);
        for block in self.blocks.iter().rev() {
            count += 1;
            len += span(block.0, block.1);
            if count >= DUP_THRESHOLD || len > (DUP_THRESHOLD - 1) * u32::from(mss) {
                return Some(block.0);
            }
        }
        None
    }

    /// The first gap in `from..to`.
    pub(super) fn gap(&self, from: u32, to: u32) -> Option<Block> {
        let mut first = from;
        for block in &self.blocks {
            if after(block.0, first) {
                let end = if after(block.0, to) { to } else { block.0 };
                return after(end, first).then_some((first, end));
            }
            first = later(first, block.1);
        }
        after(to, first).then_some((first, to))
    }

    /// Bytes of `from..to` that are in no block.
    pub(super) fn gaps_len(&self, from: u32, to: u32) -> u32 {
        if !after(to, from) {
            return 0;
        }
        let inside = |block: &Block| {
            let first = later(block.0, from);
            let end = if after(block.1, to) { to } else { block.1 };
            if after(end, first) { span(first, end) } else { 0 }
        };
        span(from, to) - self.blocks.iter().map(inside).sum::<u32>()
    }
}
