//! Where the blocks of a file are: trees of extents, and the older lists of block numbers.

use super::{
    Image,
    bytes::{u16_at, u32_at},
    inode::{Form, Inode},
    superblock::checksum,
};
use crate::error::Cause;

/// Trees of extents are no deeper.
const DEPTH_MAX: u16 = 5;
const EXTENTS_MAGIC: u16 = 0xf30a;
/// The length of an entry in a tree, and of the head of its nodes.
const ENTRY_LEN: usize = 12;
/// A longer extent is one that has room only, and reads as zeros; its length is what is above.
const WRITTEN_MAX: u16 = 0x8000;
/// Block numbers in the inode itself.
const DIRECT: u64 = 12;

/// Blocks one after the other, on the disk and in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where in the file it begins.
    pub(super) first: u64,
    pub(super) count: u64,
    /// The first block on the disk; `None` where the file has zeros.
    pub(super) block: Option<u64>,
}

impl Run {
    /// From the block at `index` on, if it is in here.
    pub(super) fn from(self, index: u64) -> Option<Run> {
        let skipped = index.checked_sub(self.first)?;
        let count = self.count.checked_sub(skipped).filter(|count| *count > 0)?;
        Some(Run { first: index, count, block: self.block.map(|block| block + skipped) })
    }
}

impl Image {
    /// From the block at `index` of the file on, as many as are one after the other.
    pub(super) async fn locate(&self, inode: &Inode, index: u64) -> Result<Run, Cause> {
        let run = match inode.form {
            Form::Extents => self.locate_in_extents(inode, index).await?,
            Form::Blocks => self.locate_in_lists(inode, index).await?,
            Form::Inside => return Err(Cause::damaged("content inside of an inode has no blocks")),
        };
        match run.block {
            Some(block) if block == 0 || block >= self.superblock.blocks => Err(OUTSIDE),
            Some(block) => Ok(Run { count: run.count.min(self.superblock.blocks - block), ..run }),
            None => Ok(run),
        }
    }

    async fn locate_in_extents(&self, inode: &Inode, index: u64) -> Result<Run, Cause> {
        let mut node = bytes::Bytes::copy_from_slice(&inode.content);
        let mut depth = check_node(&node)?;
        // Where the next node begins: zeros reach no farther.
        let mut limit = u64::from(u32::MAX) + 1;
        loop {
            let count = usize::from(u16_at(&node, 2));
            let entry = |number: usize| &node[(number + 1) * ENTRY_LEN..][..ENTRY_LEN];
            let start = |number: usize| u64::from(u32_at(entry(number), 0));
            let mut after = 0;
            let mut left = count;
            // The last entry that begins at `index` or before.
            while left > 0 {
                let half = left / 2;
                if start(after + half) <= index {
                    after += half + 1;
                    left -= half + 1;
                } else {
                    left = half;
                }
            }
            if after < count {
                limit = limit.min(start(after));
            }
            let zeros = Run { first: index, count: limit.saturating_sub(index).max(1), block: None };
            let Some(at) = after.checked_sub(1) else { return Ok(zeros) };
            let (at, start) = (entry(at), start(at));
            if depth == 0 {
                return Ok(leaf(at, start).from(index).unwrap_or(zeros));
            }
            let block = u64::from(u16_at(at, 8)) << 32 | u64::from(u32_at(at, 4));
            node = self.block(block).await?;
            if check_node(&node)? != depth - 1 {
                return Err(Cause::damaged("a tree of extents contradicts itself"));
            }
            depth -= 1;
            let end = (usize::from(u16_at(&node, 4)) + 1) * ENTRY_LEN;
            if let Some(seed) = inode.seed {
                let sum = node.get(end..end + 4).ok_or(NODE)?;
                if checksum(seed, &node[..end]) != u32_at(sum, 0) {
                    return Err(Cause::damaged("the checksum of a tree of extents is wrong"));
                }
            }
        }
    }

    async fn locate_in_lists(&self, inode: &Inode, index: u64) -> Result<Run, Cause> {
        let per_block = u64::from(self.superblock.block_len) / 4;
        if index < DIRECT {
            return Ok(run_in(&inode.content[..DIRECT as usize * 4], index, index));
        }
        let (mut at, mut span, mut level) = (index - DIRECT, per_block, 0);
        while at >= span {
            at -= span;
            span *= per_block;
            level += 1;
            if level == 3 {
                return Err(Cause::damaged("a file is longer than its lists of blocks can be"));
            }
        }
        let mut block = u64::from(u32_at(&inode.content, (DIRECT as usize + level) * 4));
        loop {
            span /= per_block;
            if block == 0 {
                // All of this list is zeros.
                let span = span * per_block;
                return Ok(Run { first: index, count: span - at % span, block: None });
            }
            let list = self.block(block).await?;
            let number = at / span;
            if span == 1 {
                return Ok(run_in(&list, number, index));
            }
            block = u32_at(&list, number as usize * 4).into();
            at %= span;
        }
    }

    /// A block of the volume.
    async fn block(&self, block: u64) -> Result<bytes::Bytes, Cause> {
        if block == 0 || block >= self.superblock.blocks {
            return Err(OUTSIDE);
        }
        let block_len = self.superblock.block_len;
        self.read(block * u64::from(block_len), block_len as usize).await
    }
}

/// What a leaf's entry says.
fn leaf(entry: &[u8], first: u64) -> Run {
    let len = u16_at(entry, 4);
    let block = u64::from(u16_at(entry, 6)) << 32 | u64::from(u32_at(entry, 8));
    match len <= WRITTEN_MAX {
        true => Run { first, count: len.into(), block: Some(block) },
        false => Run { first, count: (len - WRITTEN_MAX).into(), block: None },
    }
}

/// The depth of a node, whose entries are all there.
fn check_node(node: &[u8]) -> Result<u16, Cause> {
    let (count, most, depth) = (u16_at(node, 2), u16_at(node, 4), u16_at(node, 6));
    let fits = count <= most && (usize::from(most) + 1) * ENTRY_LEN <= node.len();
    match u16_at(node, 0) == EXTENTS_MAGIC && fits && depth <= DEPTH_MAX {
        true => Ok(depth),
        false => Err(NODE),
    }
}

const NODE: Cause = Cause::damaged("a tree of extents makes no sense");
const OUTSIDE: Cause = Cause::damaged("a file leads to a block outside of the volume");

/// The run that begins with the number at `at` of a list.
fn run_in(list: &[u8], at: u64, first: u64) -> Run {
    let number = |at: u64| u64::from(u32_at(list, at as usize * 4));
    let (start, end) = (number(at), list.len() as u64 / 4);
    let goes_on = |next: u64| number(next) == if start == 0 { 0 } else { start + (next - at) };
    let count = (at + 1..end).find(|next| !goes_on(*next)).unwrap_or(end) - at;
    Run { first, count, block: (start != 0).then_some(start) }
}
