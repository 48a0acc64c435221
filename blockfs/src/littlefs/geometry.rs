//! How littlefs lies on a disk: where it says what it is, and how large its blocks shall be.

use crate::{Disk, error::Cause};
use unikernel_littlefs::Geometry;

/// New volumes have no smaller blocks: a folder's block has room for a few changes before it must be rewritten.
const BLOCK_LEN_MIN: u64 = 4 * 1024;
/// ... and no larger ones: a small file takes a whole one, and to append to a file copies half of one.
const BLOCK_LEN_MAX: u64 = 128 * 1024;
/// Blocks grow with the volume up to about so many: to look for free ones, once after a mount and whenever all have been
/// looked at, reads a little of every second one that is in use.
const BLOCKS_WANTED: u64 = 32 * 1024;
/// Sectors in a block, at least: one change of a folder takes one.
const SECTORS_MIN: u64 = 4;
/// Fewer blocks are no use: the root takes two, and every folder two.
const BLOCKS_MIN: u64 = 16;
/// Blocks are counted in signed numbers.
const BLOCKS_MAX: u64 = i32::MAX as u64;

/// Each of littlefs' own caches.
const CACHE_LEN: u32 = 4096;
/// The map of free blocks covers so many at once; see `BLOCKS_WANTED`.
const LOOKAHEAD_BLOCKS_MAX: u64 = 256 * 1024;
/// More of a folder's block is not used. To read a name is to read such a block, and to rewrite one takes time that grows
/// with its square.
const METADATA_LEN_MAX: u32 = 8 * 1024;

/// Blocks that are read, of volumes made elsewhere.
const READ_BLOCK_LEN: core::ops::RangeInclusive<u32> = 512..=1024 * 1024;

/// The start of a block with a superblock: what there is before a name, the name, and what the superblock says.
const HEAD_LEN: usize = 44;
const MAGIC: &[u8; 8] = b"littlefs";

/// What the superblock says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    version: u32,
    block_len: u32,
    block_count: u32,
}

impl Head {
    /// Looks for a superblock: in block 0, or, where that is damaged, in block 1 of any length.
    pub(crate) async fn find(disk: &Disk) -> Result<Option<Head>, Cause> {
        if let Some(head) = Head::at(disk, 0).await? {
            return Ok(Some(head));
        }
        let mut block_len = *READ_BLOCK_LEN.start();
        while block_len <= *READ_BLOCK_LEN.end() {
            let head = Head::at(disk, block_len.into()).await?;
            if head.is_some_and(|head| head.block_len == block_len) {
                return Ok(head);
            }
            block_len *= 2;
        }
        Ok(None)
    }

    async fn at(disk: &Disk, offset: u64) -> Result<Option<Head>, Cause> {
        if offset + HEAD_LEN as u64 > disk.len() {
            return Ok(None);
        }
        Ok(Head::parse(&disk.read(offset, HEAD_LEN).await?))
    }

    /// The name comes first in the block, after a count and a tag of four bytes each (littlefs, SPEC.md, "0x0ff superblock").
    fn parse(bytes: &[u8]) -> Option<Head> {
        let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
        if bytes.get(8..16)? != MAGIC {
            return None;
        }
        Some(Head { version: word(20)?, block_len: word(24)?, block_count: word(28)? })
    }

    /// How to mount it.
    pub(super) fn geometry(&self, disk: &Disk) -> Result<Geometry, Cause> {
        let sector_len = disk.info().sector_len as u32;
        if self.version >> 16 != 2 {
            return Err(Cause::unsupported("it is littlefs of another version than 2"));
        }
        if !READ_BLOCK_LEN.contains(&self.block_len) || !self.block_len.is_multiple_of(sector_len) {
            return Err(Cause::unsupported(
                "it is littlefs with blocks that are no sectors of this disk, or too large",
            ));
        }
        let len = u64::from(self.block_count) * u64::from(self.block_len);
        if self.block_count < 2 || len > disk.len() {
            return Err(Cause::damaged("the volume is larger than the disk, or has no blocks"));
        }
        Ok(geometry(self.block_len, 0, disk.len() / u64::from(self.block_len), sector_len))
    }
}

/// The geometry for a new volume.
pub(super) fn for_new(disk: &Disk) -> Result<Geometry, Cause> {
    let sector_len = disk.info().sector_len;
    let mut block_len = BLOCK_LEN_MIN.max(SECTORS_MIN * sector_len as u64);
    while block_len < BLOCK_LEN_MAX && disk.len() / block_len > BLOCKS_WANTED {
        block_len *= 2;
    }
    let blocks = (disk.len() / block_len).min(BLOCKS_MAX);
    if blocks < BLOCKS_MIN {
        return Err(Cause::unsupported("it is too small for littlefs: take one of 256 KiB or more"));
    }
    Ok(geometry(block_len as u32, blocks as u32, blocks, sector_len as u32))
}

fn geometry(block_len: u32, block_count: u32, blocks_max: u64, sector_len: u32) -> Geometry {
    let cache_len = if block_len.is_multiple_of(CACHE_LEN) { CACHE_LEN } else { sector_len };
    let metadata_len_max = if block_len.is_multiple_of(METADATA_LEN_MAX) { METADATA_LEN_MAX } else { block_len };
    let lookahead_len = (blocks_max.min(LOOKAHEAD_BLOCKS_MAX).div_ceil(64) * 8) as u32;
    Geometry { block_len, block_count, sector_len, cache_len, lookahead_len, metadata_len_max }
}
