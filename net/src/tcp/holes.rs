//! Data that came ahead of a gap. The bytes lie in the receive ring at their places; here is which.

use super::{
    options::{BLOCKS_MAX, Block, Options},
    segment::{after, later, span},
    tuning::HOLES_MAX,
};
use alloc::vec::Vec;

/// A piece of data above the gap.
#[derive(Clone, Copy)]
struct Piece {
    first: u32,
    end: u32,
    /// When it last grew, in arrivals.
    arrival: u32,
}

/// What lies above the first gap, in order, without overlaps.
#[derive(Default)]
pub(super) struct Holes {
    pieces: Vec<Piece>,
    arrivals: u32,
    /// The sequence number of the peer's FIN, if it came.
    pub(super) fin: Option<u32>,
}

impl Holes {
    /// Notes `first..end`, which lies above `base`, the next expected number. False when there are too many pieces.
    pub(super) fn insert(&mut self, base: u32, first: u32, end: u32) -> bool {
        let (mut low, mut high) = (span(base, first), span(base, end));
        let touched = |piece: &&Piece| span(base, piece.first) <= high && span(base, piece.end) >= low;
        let at = self.pieces.iter().take_while(|piece| span(base, piece.end) < low).count();
        let count = self.pieces[at..].iter().take_while(touched).count();
        if count == 0 && self.pieces.len() == HOLES_MAX {
            return false;
        }
        for piece in &self.pieces[at..at + count] {
            low = low.min(span(base, piece.first));
            high = high.max(span(base, piece.end));
        }
        self.arrivals = self.arrivals.wrapping_add(1);
        let piece = Piece { first: base.wrapping_add(low), end: base.wrapping_add(high), arrival: self.arrivals };
        self.pieces.splice(at..at + count, [piece]);
        true
    }

    /// Everything before `reached` is there: returns the next expected number, behind the data that now joins.
    pub(super) fn join(&mut self, mut reached: u32) -> u32 {
        // Pieces before `reached` begin at most a window before it: `after` tells.
        let joined = self.pieces.iter().take_while(|piece| !after(piece.first, reached)).count();
        for piece in self.pieces.drain(..joined) {
            reached = later(reached, piece.end);
        }
        reached
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.fin.is_none()
    }

    pub(super) fn has_pieces(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// What to tell the peer: the piece that grew last comes first (RFC 2018, 4).
    pub(super) fn option(&self) -> Options {
        let mut blocks: [Block; BLOCKS_MAX] = Default::default();
        let (mut count, mut older_than) = (0, None);
        for block in &mut blocks {
            let age = |piece: &&Piece| span(piece.arrival, self.arrivals);
            let Some(piece) = self.pieces.iter().filter(|piece| older_than < Some(age(piece))).min_by_key(age) else {
                break;
            };
            (*block, older_than) = ((piece.first, piece.end), Some(age(&piece)));
            count += 1;
        }
        if count == 0 { Options::None } else { Options::Sack { blocks, count } }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }
}
