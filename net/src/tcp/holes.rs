//! Data that came ahead of a gap. The bytes lie in the receive ring at their places; here is which.

use super::{
    options::{BLOCKS_MAX, Block, Options},
    segment::{after, later, span},
};
use alloc::vec::Vec;
use core::ops::Range;

/// What lies above the first gap.
#[derive(Default)]
pub(super) struct Holes {
    /// In order, apart.
    pieces: Vec<Block>,
    /// Where the pieces begin that grew last, the newest first.
    newest: [Option<u32>; BLOCKS_MAX],
    /// The sequence number of the peer's FIN, if it came.
    pub(super) fin: Option<u32>,
}

impl Holes {
    /// Notes `first..end`, which lies above `base`, the next expected number. False when that would make more than
    /// `pieces_max` pieces.
    pub(super) fn insert(&mut self, base: u32, first: u32, end: u32, pieces_max: usize) -> bool {
        let touched = touched(&self.pieces, base, (first, end));
        if touched.is_empty() && self.pieces.len() >= pieces_max {
            return false;
        }
        let piece = join(&self.pieces[touched.clone()], base, (first, end));
        self.pieces.splice(touched, [piece]);
        self.remember(base, piece);
        true
    }

    /// Puts the piece first in the order of news, in place of those that it took in.
    fn remember(&mut self, base: u32, piece: Block) {
        let others = self.newest.map(|first| first.filter(|first| !contains(base, piece, *first)));
        let mut others = others.into_iter().flatten();
        self.newest = core::array::from_fn(|place| if place == 0 { Some(piece.0) } else { others.next() });
    }

    /// Everything before `reached` is there: returns the next expected number, behind the data that now joins.
    pub(super) fn join(&mut self, mut reached: u32) -> u32 {
        // Pieces before `reached` begin at most a window before it: `after` tells.
        let joined = self.pieces.partition_point(|piece| !after(piece.0, reached));
        for piece in self.pieces.drain(..joined) {
            reached = later(reached, piece.1);
        }
        self.newest = self.newest.map(|first| first.filter(|first| after(*first, reached)));
        reached
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.fin.is_none()
    }

    /// What to tell the peer: the piece that grew last comes first (RFC 2018, 4).
    pub(super) fn option(&self, base: u32) -> Options {
        let (mut blocks, mut count): ([Block; BLOCKS_MAX], u8) = Default::default();
        for first in self.newest.iter().flatten() {
            let at = self.pieces.partition_point(|piece| span(base, piece.0) < span(base, *first));
            if let Some(piece) = self.pieces.get(at) {
                blocks[usize::from(count)] = *piece;
                count += 1;
            }
        }
        if count == 0 { Options::None } else { Options::Sack { blocks, count } }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }
}

/// Which of the blocks overlap `block` or touch it. All lie above `base`, in order.
pub(super) fn touched(blocks: &[Block], base: u32, block: Block) -> Range<usize> {
    let from = blocks.partition_point(|other| span(base, other.1) < span(base, block.0));
    let more = blocks[from..].partition_point(|other| span(base, other.0) <= span(base, block.1));
    from..from + more
}

/// One block made of `block` and those that it touches.
pub(super) fn join(blocks: &[Block], base: u32, block: Block) -> Block {
    let first = blocks.first().map_or(block.0, |first| base.wrapping_add(span(base, first.0).min(span(base, block.0))));
    let end = blocks.last().map_or(block.1, |last| base.wrapping_add(span(base, last.1).max(span(base, block.1))));
    (first, end)
}

fn contains(base: u32, block: Block, seq: u32) -> bool {
    (span(base, block.0)..span(base, block.1)).contains(&span(base, seq))
}
