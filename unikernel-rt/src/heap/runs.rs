//! Free runs of chunks, by length: lists under two levels of bitmaps, so that a long enough run is found in constant
//! time. Neighbours join at once. This is TLSF (Masmano et al., ECRTS 2004), but with its headers in the descriptors.

use super::{
    chunks::{Chunk, Chunks, FREE, Id},
    sizes::CHUNK_LEN,
};

/// Lists for the lengths between two powers of two.
const LISTS: usize = 1 << LIST_BITS;
const LIST_BITS: u32 = 3;
/// Lengths below 8, then powers of two up to a whole region.
const LEVELS: usize = 26;

/// Runs that are looked at on the list whose longest are long enough and whose shortest are not.
const LOOKS_MAX: usize = 16;

/// The lists.
pub(super) struct Runs {
    levels: u32,
    lists: [u8; LEVELS],
    first: [[Id; LISTS]; LEVELS],
}

/// The list of runs of this length.
fn place(len: usize) -> (usize, usize) {
    if len < LISTS {
        return (0, len);
    }
    let power = len.ilog2();
    ((power - LIST_BITS + 1) as usize, (len >> (power - LIST_BITS)) % LISTS)
}

/// The shortest length from which on every run of its list has at least `len` chunks.
fn rounded_up(len: usize) -> usize {
    if len < LISTS {
        return len;
    }
    len + (1 << (len.ilog2() - LIST_BITS)) - 1
}

impl Runs {
    pub(super) const fn new() -> Runs {
        Runs { levels: 0, lists: [0; LEVELS], first: [[Id::NONE; LISTS]; LEVELS] }
    }

    /// Takes a run out whose first byte has the alignment, and behind which so many more chunks are free. What is too much
    /// of it stays free.
    pub(super) fn take(&mut self, chunks: &mut Chunks<'_>, len: usize, align: usize, room: usize) -> Option<Id> {
        let (run, skip) = self.find(chunks, len.checked_add(room)?, align)?;
        let whole = chunks[run].len as usize;
        self.unlink(chunks, run);
        if skip > 0 {
            self.link(chunks, run, skip);
        }
        let start = run.up(skip);
        if whole > skip + len {
            self.link(chunks, start.up(len), whole - skip - len);
        }
        Some(start)
    }

    /// Makes a run free and joins it with its neighbours.
    pub(super) fn give(&mut self, chunks: &mut Chunks<'_>, mut start: Id, mut len: usize) {
        // Even if it becomes the middle of a run, a block freed twice must be seen to be free.
        chunks[start].kind = FREE;
        if let Some(above) = chunks.above(start, len).filter(|above| chunks[*above].kind == FREE) {
            len += chunks[above].len as usize;
            self.unlink(chunks, above);
        }
        if let Some(below) = chunks.below(start).filter(|below| chunks[*below].kind == FREE) {
            let below_len = chunks[below].len as usize;
            start = Id::new(start.region(), start.number() - below_len);
            len += below_len;
            self.unlink(chunks, start);
        }
        self.link(chunks, start, len);
    }

    /// Takes `len` chunks at `start` if a free run begins there that has as many.
    pub(super) fn take_at(&mut self, chunks: &mut Chunks<'_>, start: Id, len: usize) -> bool {
        let whole = match chunks[start] {
            Chunk { kind: FREE, len: whole, .. } if whole as usize >= len => whole as usize,
            _ => return false,
        };
        self.unlink(chunks, start);
        if whole > len {
            self.link(chunks, start.up(len), whole - len);
        }
        true
    }

    /// A long enough run, and how many chunks to skip for the alignment.
    fn find(&self, chunks: &Chunks<'_>, len: usize, align: usize) -> Option<(Id, usize)> {
        let skip = |run: Id| {
            let address = chunks.address(run);
            Some((address.checked_next_multiple_of(align)? - address) / CHUNK_LEN)
        };
        let longest_skip = align.div_ceil(CHUNK_LEN) - 1;
        if let Some(run) = self.first_of_at_least(rounded_up(len.checked_add(longest_skip)?)) {
            return Some((run, skip(run)?));
        }
        let (level, list) = place(len);
        let mut run = *self.first.get(level)?.get(list)?;
        for _ in 0..LOOKS_MAX {
            if !run.is_some() {
                return None;
            }
            let skipped = skip(run)?;
            if chunks[run].len as usize >= len + skipped {
                return Some((run, skipped));
            }
            run = chunks[run].next;
        }
        None
    }

    fn first_of_at_least(&self, len: usize) -> Option<Id> {
        let (level, list) = place(len);
        let lists = self.lists.get(level)? & (u8::MAX << list);
        if lists != 0 {
            return Some(self.first[level][lists.trailing_zeros() as usize]);
        }
        let levels = self.levels & (u32::MAX << level << 1);
        let level = levels.trailing_zeros() as usize;
        let list = self.lists.get(level)?.trailing_zeros() as usize;
        Some(self.first[level][list])
    }

    fn link(&mut self, chunks: &mut Chunks<'_>, start: Id, len: usize) {
        let (level, list) = place(len);
        let next = self.first[level][list];
        chunks[start.up(len - 1)] = Chunk { len: len as u32, ..Chunk::UNUSED };
        chunks[start] = Chunk { len: len as u32, next, ..Chunk::UNUSED };
        if next.is_some() {
            chunks[next].previous = start;
        }
        self.first[level][list] = start;
        self.lists[level] |= 1 << list;
        self.levels |= 1 << level;
    }

    fn unlink(&mut self, chunks: &mut Chunks<'_>, start: Id) {
        let Chunk { previous, next, len, .. } = chunks[start];
        if next.is_some() {
            chunks[next].previous = previous;
        }
        if previous.is_some() {
            chunks[previous].next = next;
            return;
        }
        let (level, list) = place(len as usize);
        self.first[level][list] = next;
        if !next.is_some() {
            self.lists[level] &= !(1 << list);
            if self.lists[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }
}
