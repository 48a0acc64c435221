//! Files in chunks of one length, each anywhere or nowhere.

use super::{
    bytes::{u16_at, u32_at},
    image::{Image, beyond},
    inode::Chunks,
};
use crate::error::Cause;
use bytes::Bytes;

/// So many indexes are looked at for neighbours: enough for 128 KiB in the smallest usual chunks.
const RUN_LEN_MAX: u64 = 32;
/// The block number of a hole.
const HOLE: u32 = u32::MAX;

/// Chunks that follow one another on the disk, or are all holes.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    block: u32,
    chunks: u64,
}

impl Chunks {
    fn index_len(&self) -> u64 {
        if self.is_long { 8 } else { 4 }
    }

    /// Where the indexes are of the chunks that hold `len` bytes at `offset`, as far as they are looked at.
    fn indexes_of(&self, offset: u64, len: usize) -> Result<(u64, usize), Cause> {
        let first = offset >> self.chunk_bits;
        // No overflow: the bytes are within the file.
        let count = (((offset + len as u64 - 1) >> self.chunk_bits) - first + 1).min(RUN_LEN_MAX);
        let at = first.checked_mul(self.index_len()).and_then(|at| at.checked_add(self.indexes));
        Ok((at.ok_or_else(|| beyond(Cause::OutOfRange))?, (count * self.index_len()) as usize))
    }

    fn run(&self, image: &Image, indexes: &[u8]) -> Result<Run, Cause> {
        let mut numbers = indexes.chunks_exact(self.index_len() as usize).map(|index| self.block(index));
        let block = numbers.next().unwrap_or(Ok(HOLE))?;
        let step = 1u64 << (self.chunk_bits - image.superblock.block_bits);
        let mut run = Run { block, chunks: 1 };
        for number in numbers {
            let follows = match block {
                HOLE => HOLE.into(),
                block => u64::from(block) + run.chunks * step,
            };
            match number {
                Ok(number) if u64::from(number) == follows && (number == HOLE) == (block == HOLE) => run.chunks += 1,
                // An error is met again by who reads there.
                _ => break,
            }
        }
        Ok(run)
    }

    fn block(&self, index: &[u8]) -> Result<u32, Cause> {
        if !self.is_long {
            return Ok(u32_at(index, 0));
        }
        let block = u32_at(index, 4);
        match u16_at(index, 2) {
            device if device != 0 && block != HOLE => {
                Err(Cause::damaged("a file of the EROFS is on a device that does not belong to it"))
            }
            _ => Ok(block),
        }
    }

    /// Where the first bytes are, `None` for a hole, and how many of `len`.
    fn piece(&self, image: &Image, indexes: &[u8], offset: u64, len: usize) -> Result<(Option<u64>, usize), Cause> {
        let run = self.run(image, indexes)?;
        let within = offset & ((1 << self.chunk_bits) - 1);
        // A chunk has fewer than 2^48 bytes, a run at most 32 of them.
        let len = ((run.chunks << self.chunk_bits) - within).min(len as u64) as usize;
        let at = (u64::from(run.block) << image.superblock.block_bits) + within;
        Ok(((run.block != HOLE).then_some(at), len))
    }

    pub(super) async fn read_some(&self, image: &Image, offset: u64, len: usize) -> Result<Bytes, Cause> {
        let (at, indexes_len) = self.indexes_of(offset, len)?;
        let indexes = image.disk.read(at, indexes_len).await.map_err(beyond)?;
        match self.piece(image, &indexes, offset, len)? {
            (Some(at), len) => image.disk.read_some(at, len).await.map_err(beyond),
            (None, len) => image.zeros(len),
        }
    }

    /// The same, if it is in memory.
    pub(super) fn read_now(&self, image: &Image, offset: u64, len: usize) -> Option<Bytes> {
        let (at, indexes_len) = self.indexes_of(offset, len).ok()?;
        let indexes = image.disk.read_cached(at, indexes_len)?;
        match self.piece(image, &indexes, offset, len).ok()? {
            (Some(at), len) => image.disk.read_cached(at, len),
            (None, len) => image.zeros(len).ok(),
        }
    }

    /// Begins to read ahead, if the indexes are in memory.
    pub(super) fn prefetch(&self, image: &Image, offset: u64, len: usize) -> Option<()> {
        let (at, indexes_len) = self.indexes_of(offset, len).ok()?;
        let indexes = image.disk.read_cached(at, indexes_len)?;
        let (at, len) = self.piece(image, &indexes, offset, len).ok()?;
        image.disk.prefetch(at?, len);
        Some(())
    }
}
