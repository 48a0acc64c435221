//! Folders: blocks of entries, sorted by the bytes of their names across all blocks.

use super::{
    bytes::{u16_at, u64_at},
    image::Image,
    inode::Inode,
};
use crate::{
    error::Cause,
    metadata::{Entry, Kind},
};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::cmp::Ordering;

/// Bytes of an entry without its name.
pub(super) const ENTRY_LEN: usize = 12;

/// The types of entries that are told apart.
pub(super) const TYPE_FILE: u8 = 1;
pub(super) const TYPE_FOLDER: u8 = 2;
pub(super) const TYPE_LINK: u8 = 7;

const DAMAGED: Cause = Cause::damaged("a folder of the EROFS contradicts itself");

/// A block of a folder: entries of fixed length, then their names.
struct Block {
    bytes: Bytes,
    count: usize,
}

impl Block {
    async fn load(image: &Image, folder: &Inode, number: u64) -> Result<Block, Cause> {
        let offset = number << image.superblock.block_bits;
        let len = image.superblock.block_len().min(folder.len - offset);
        Block::parse(image.read(folder, offset, len as usize).await?)
    }

    fn parse(bytes: Bytes) -> Result<Block, Cause> {
        if bytes.len() < ENTRY_LEN {
            return Err(DAMAGED);
        }
        // The first name begins where the entries end.
        let names = usize::from(u16_at(&bytes, 8));
        if names == 0 || !names.is_multiple_of(ENTRY_LEN) || names > bytes.len() {
            return Err(DAMAGED);
        }
        Ok(Block { count: names / ENTRY_LEN, bytes })
    }

    fn name(&self, number: usize) -> Result<&[u8], Cause> {
        let start = usize::from(u16_at(&self.bytes, number * ENTRY_LEN + 8));
        let is_last = number + 1 == self.count;
        let end = match is_last {
            false => u16_at(&self.bytes, (number + 1) * ENTRY_LEN + 8).into(),
            true => self.bytes.len(),
        };
        if start < self.count * ENTRY_LEN {
            return Err(DAMAGED);
        }
        let mut name = self.bytes.get(start..end).ok_or(DAMAGED)?;
        if is_last {
            name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        }
        if name.is_empty() || name.len() > crate::path::NAME_LEN_MAX { Err(DAMAGED) } else { Ok(name) }
    }

    fn inode(&self, number: usize) -> u64 {
        u64_at(&self.bytes, number * ENTRY_LEN)
    }

    fn file_type(&self, number: usize) -> u8 {
        self.bytes[number * ENTRY_LEN + 10]
    }

    fn find(&self, name: &[u8]) -> Result<u64, Cause> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle)?.cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(self.inode(middle)),
                Ordering::Greater => high = middle,
            }
        }
        Err(Cause::NotFound)
    }
}

/// The number of the inode that `folder` has under `name`; a logarithm of its blocks are read.
pub(super) async fn find(image: &Image, folder: &Inode, name: &[u8]) -> Result<u64, Cause> {
    let (mut low, mut high) = (0, folder.len.div_ceil(image.superblock.block_len()));
    let mut found = None;
    // The last block whose first name is not beyond the one that is looked for.
    while low < high {
        let middle = low.midpoint(high);
        let block = Block::load(image, folder, middle).await?;
        if block.name(0)? <= name {
            found = Some(block);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    found.ok_or(Cause::NotFound)?.find(name)
}

/// All entries, without the folder itself and the one around it.
pub(super) async fn list(image: &Image, folder: &Inode) -> Result<Vec<Entry>, Cause> {
    let mut entries = Vec::new();
    for number in 0..folder.len.div_ceil(image.superblock.block_len()) {
        let block = Block::load(image, folder, number).await?;
        entries.try_reserve(block.count).map_err(|_| Cause::OutOfMemory)?;
        for number in 0..block.count {
            let name = block.name(number)?;
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match block.file_type(number) {
                TYPE_FILE => Kind::File,
                TYPE_FOLDER => Kind::Folder,
                TYPE_LINK => Kind::Link,
                0 => Inode::load(image, block.inode(number)).await?.kind,
                _ => Kind::Other,
            };
            entries.push(Entry { name: String::from_utf8_lossy(name).into(), kind });
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Entries with the offsets of their names, then bytes.
    fn block(offsets: &[u16], names: &[u8]) -> Bytes {
        let mut bytes = vec![];
        for (number, offset) in offsets.iter().enumerate() {
            bytes.extend_from_slice(&(number as u64).to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&[TYPE_FILE, 0]);
        }
        bytes.extend_from_slice(names);
        bytes.into()
    }

    #[test]
    fn blocks_that_contradict_themselves() {
        let check = |offsets: &[u16], names: &[u8], name: &str, expected: Result<u64, Cause>| {
            let found = Block::parse(block(offsets, names)).and_then(|block| block.find(name.as_bytes()));
            assert_eq!(found, expected, "{offsets:?} {names:?} {name}");
        };
        check(&[36, 37, 39], b"abbc", "a", Ok(0));
        check(&[36, 37, 39], b"abbc", "bb", Ok(1));
        check(&[36, 37, 39], b"abbc\0\0x", "c", Ok(2));
        check(&[36, 37, 39], b"abbc", "b", Err(Cause::NotFound));
        check(&[36, 37, 39], b"abbc", "d", Err(Cause::NotFound));
        check(&[0], b"a", "a", Err(DAMAGED));
        check(&[13], b"aaa", "a", Err(DAMAGED));
        check(&[24], b"aaa", "a", Err(DAMAGED));
        check(&[36, 39, 37], b"abbc", "b", Err(DAMAGED));
        check(&[24, 999], b"ab", "a", Err(DAMAGED));
        check(&[24, 3], b"ab", "b", Err(DAMAGED));
        check(&[12], b"", "a", Err(DAMAGED));
        check(&[12], b"\0a", "a", Err(DAMAGED));
        check(&[12], &[b'a'; 256], "a", Err(DAMAGED));
        check(&[], b"", "a", Err(DAMAGED));
    }
}
