//! The bytes of a file in blocks of its own.
//!
//! The blocks are a list from the last to the first, with shortcuts: block `n` of a file begins with the numbers of the blocks
//! `n - 1`, `n - 2`, `n - 4` and so on, as often as `n` can be halved, and one more (littlefs, DESIGN.md, "CTZ
//! skip-lists"). The first one is all data.

use crate::{Disk, error::Cause};
use bytes::Bytes;
use core::cell::Cell;

/// The length of a block's number.
const POINTER_LEN: u64 = 4;

pub(super) struct Blocks {
    disk: Disk,
    block_len: u64,
    block_count: u32,
    len: u32,
    /// The last block's place in the file, and its number.
    head: Place,
    /// The block that was found last: readers go on where they ended.
    last: Cell<Place>,
}

/// A block of a file: which one of the file, and which one of the disk.
#[derive(Clone, Copy)]
struct Place {
    index: u32,
    block: u32,
}

impl Blocks {
    pub(super) fn new(disk: Disk, block_len: u32, block_count: u32, head: u32, len: u32) -> Blocks {
        let block_len = u64::from(block_len);
        let (index, _) = split(block_len, u64::from(len.max(1)) - 1);
        let head = Place { index, block: head };
        Blocks { disk, block_len, block_count, len, head, last: Cell::new(head) }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) async fn read(&self, offset: u64, len: usize) -> Result<Bytes, Cause> {
        let (index, start) = split(self.block_len, offset);
        let mut place = self.nearest(index);
        while place.index > index {
            let (at, next) = self.step(place, index)?;
            let bytes = self.disk.read(at, POINTER_LEN as usize).await?;
            place = Place { index: next, block: number(&bytes) };
        }
        self.last.set(place);
        let (at, len) = self.part(place, start, len)?;
        self.disk.read_some(at, len).await
    }

    pub(super) fn read_now(&self, offset: u64, len: usize) -> Option<Bytes> {
        let (at, len) = self.place_now(offset, len)?;
        self.disk.read_cached(at, len)
    }

    /// Asks for as much as can be found without waiting.
    pub(super) fn prefetch(&self, mut offset: u64, mut len: usize) {
        while len > 0
            && let Some((at, part)) = self.place_now(offset, len)
        {
            self.disk.prefetch(at, part);
            offset += part as u64;
            len -= part;
        }
    }

    /// Where on the disk the bytes are, as many as are in one block, if the cache has the way there.
    fn place_now(&self, offset: u64, len: usize) -> Option<(u64, usize)> {
        let (index, start) = split(self.block_len, offset);
        let mut place = self.nearest(index);
        while place.index > index {
            let (at, next) = self.step(place, index).ok()?;
            let bytes = self.disk.read_cached(at, POINTER_LEN as usize)?;
            place = Place { index: next, block: number(&bytes) };
        }
        self.last.set(place);
        self.part(place, start, len).ok()
    }

    /// Where to start from: the block found last, if it is not before the wanted one.
    fn nearest(&self, index: u32) -> Place {
        let last = self.last.get();
        if last.index >= index { last } else { self.head }
    }

    /// Where the number of the next block on the way to `index` is, and which block of the file that is.
    fn step(&self, place: Place, index: u32) -> Result<(u64, u32), Cause> {
        let skip = (place.index - index).ilog2().min(place.index.trailing_zeros());
        Ok((self.at(place)? + POINTER_LEN * u64::from(skip), place.index - (1 << skip)))
    }

    fn part(&self, place: Place, start: u64, len: usize) -> Result<(u64, usize), Cause> {
        Ok((self.at(place)? + start, len.min((self.block_len - start) as usize)))
    }

    fn at(&self, place: Place) -> Result<u64, Cause> {
        match place.block < self.block_count {
            true => Ok(u64::from(place.block) * self.block_len),
            false => Err(Cause::damaged("a file refers to a block that is not there")),
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(u32::MAX, u32::from_le_bytes)
}

/// In which block of its file a byte is, and where in that block.
///
/// A block but the first has room for `block_len - 8` bytes, but for what it has more or less than two numbers; all blocks
/// before `n` have `2 n - popcount(n)` numbers in them.
fn split(block_len: u64, offset: u64) -> (u32, u64) {
    let room = block_len - 2 * POINTER_LEN;
    let estimate = offset / room;
    if estimate == 0 {
        return (0, offset);
    }
    let numbers = u64::from((estimate - 1).count_ones()) + 2;
    let index = (offset - POINTER_LEN * numbers) / room;
    let start = offset - room * index - POINTER_LEN * u64::from(index.count_ones());
    (index as u32, start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_place() {
        for block_len in [128, 512, 4096] {
            let (mut index, mut start) = (0_u32, 0);
            for offset in 0..300_000 {
                assert_eq!(split(block_len, offset), (index, start), "{block_len} {offset}");
                start += 1;
                if start == block_len {
                    index += 1;
                    start = POINTER_LEN * u64::from(index.trailing_zeros() + 1);
                }
            }
        }
    }
}
