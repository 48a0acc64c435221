//! What the peer said it holds above a gap (RFC 2018), and what follows from it (RFC 6675).

use super::{
    holes::{join, touched},
    options::Block,
    segment::{after, later, span},
    tuning::DUP_THRESHOLD,
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
    /// Notes a block that the peer named, if that makes at most `blocks_max`. False when it is nothing new, or a lie.
    pub(super) fn insert(&mut self, block: Block, una: u32, nxt: u32, blocks_max: usize) -> bool {
        let (low, high) = (span(una, block.0), span(una, block.1));
        // Below `una` it reports a segment that came twice (RFC 2883); what starts there would be acknowledged; above
        // `nxt` it is made up.
        if low == 0 || low >= high || high > span(una, nxt) {
            return false;
        }
        let touched = touched(&self.blocks, una, block);
        if touched.is_empty() && self.blocks.len() >= blocks_max {
            return false;
        }
        let known: u32 = self.blocks[touched.clone()].iter().map(|known| span(known.0, known.1)).sum();
        let joined = join(&self.blocks[touched.clone()], una, block);
        self.blocks.splice(touched, [joined]);
        let news = span(joined.0, joined.1) - known;
        self.len += news;
        news > 0
    }

    /// Everything before `una` is acknowledged.
    pub(super) fn advance(&mut self, una: u32) {
        let done = self.first_ending_after(una);
        self.len -= self.blocks.drain(..done).map(|block| span(block.0, block.1)).sum::<u32>();
        if let Some(block) = self.blocks.first_mut() {
            // A peer that acknowledges up to the middle of a block contradicts itself, or forgot the rest.
            let first = later(block.0, una);
            self.len -= span(block.0, first);
            block.0 = first;
        }
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
        let block = self.blocks.get(self.first_ending_after(seq)).copied();
        block.filter(|block| !after(block.0, seq))
    }

    /// The place of the first block that ends after `seq`.
    fn first_ending_after(&self, seq: u32) -> usize {
        self.blocks.partition_point(|block| !after(block.1, seq))
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
        for block in &self.blocks[self.first_ending_after(from)..] {
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
        let blocks = self.blocks[self.first_ending_after(from)..].iter().take_while(|block| after(to, block.0));
        let inside = |block: &Block| {
            let first = later(block.0, from);
            let end = if after(block.1, to) { to } else { block.1 };
            span(first, end)
        };
        span(from, to) - blocks.map(inside).sum::<u32>()
    }
}
