//! The RAM of the machine, as few large pieces, and a place in it for the kernel.

use core::ops::Range;

/// A page.
pub const PAGE: u64 = 4096;
/// Pieces kept: so many a kernel keeps.
pub const PIECES_MAX: usize = 32;
/// The kernel's first page table reaches so far.
pub const LOW_END: u64 = 1 << 30;
/// Below are things of the firmware's.
const START: u64 = 1 << 20;

/// The pieces of RAM: none touches another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ram {
    pieces: [(u64, u64); PIECES_MAX],
    len: usize,
}

impl Ram {
    /// Adds a piece, which may come in any order. When there are too many, the smallest is given up.
    pub fn add(&mut self, piece: Range<u64>) {
        let (mut start, mut end) = (piece.start, piece.end);
        if start >= end {
            return;
        }
        // It may close the gap between two others.
        let mut index = 0;
        while index < self.len {
            let (from, to) = self.pieces[index];
            if from <= end && start <= to {
                (start, end) = (start.min(from), end.max(to));
                self.remove(index);
                index = 0;
            } else {
                index += 1;
            }
        }
        if self.len == PIECES_MAX {
            let smallest = (0..self.len).min_by_key(|index| self.pieces[*index].1 - self.pieces[*index].0).unwrap_or(0);
            if self.pieces[smallest].1 - self.pieces[smallest].0 >= end - start {
                return;
            }
            self.remove(smallest);
        }
        self.pieces[self.len] = (start, end);
        self.len += 1;
    }

    fn remove(&mut self, index: usize) {
        self.len -= 1;
        self.pieces[index] = self.pieces[self.len];
    }

    /// The pieces.
    pub fn pieces(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.pieces[..self.len].iter().map(|&(start, end)| start..end)
    }

    /// Where all of it ends.
    pub fn end(&self) -> u64 {
        self.pieces().map(|piece| piece.end).max().unwrap_or(0)
    }

    /// The lowest place for a kernel that takes `len` bytes, with [`room`] behind it.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn place(&self, len: u64, ram_end: u64) -> Result<u64, &'static str> {
        let fits = |piece: Range<u64>| {
            let start = piece.start.max(START).next_multiple_of(PAGE);
            (start + len + room(len, ram_end) <= piece.end.min(LOW_END)).then_some(start)
        };
        self.pieces().filter_map(fits).min().ok_or("the machine has too little memory for this kernel; give it more")
    }
}

/// What a kernel needs behind itself: what outlives a reset, page tables (one for each GiB, and one for each 2 MiB of itself)
/// and the beginning of its heap.
pub fn room(len: u64, ram_end: u64) -> u64 {
    const TABLES_AND_HEAP: u64 = 1 << 20;
    TABLES_AND_HEAP + (len.div_ceil(2 << 20) + ram_end.div_ceil(1 << 30)) * PAGE
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    clippy::reversed_empty_ranges,
    reason = "a piece is a range, and may be wrong"
)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn ram(pieces: &[Range<u64>]) -> Ram {
        let mut ram = Ram::default();
        pieces.iter().for_each(|piece| ram.add(piece.clone()));
        ram
    }

    fn check(pieces: &[Range<u64>], expected: &[Range<u64>]) {
        let mut found = ram(pieces).pieces().collect::<Vec<_>>();
        found.sort_by_key(|piece| piece.start);
        assert_eq!(found, expected);
    }

    #[test]
    fn neighbours_are_one() {
        check(&[0..4, 4..8, 9..10], &[0..8, 9..10]);
        check(&[0..4, 8..12, 4..8], &[0..12]);
        check(&[8..12, 0..9], &[0..12]);
        check(&[5..5, 7..3], &[]);
    }

    #[test]
    fn the_smallest_are_given_up() {
        let mut many: Vec<_> = (0..40).map(|index| index * 1000..index * 1000 + 100 - index).collect();
        let expected = many[..32].to_vec();
        check(&many, &expected);
        many.reverse();
        check(&many, &expected);
    }

    #[test]
    fn places() {
        const MIB: u64 = 1 << 20;
        let check = |pieces: &[Range<u64>], len: u64, expected: Option<u64>| {
            assert_eq!(ram(pieces).place(len, 64 * MIB).ok(), expected, "{pieces:?}");
        };
        check(&[0..0x9_f000, MIB..64 * MIB], MIB, Some(MIB));
        check(&[0..64 * MIB], MIB, Some(MIB));
        check(&[16 * MIB + 1..64 * MIB, MIB..3 * MIB], MIB, Some(16 * MIB + PAGE));
        check(&[MIB..3 * MIB], MIB, None);
        check(&[MIB..3 * MIB + 2 * PAGE], MIB, Some(MIB));
        check(&[LOW_END - MIB..LOW_END + 64 * MIB], MIB, None);
        check(&[], MIB, None);
    }
}
