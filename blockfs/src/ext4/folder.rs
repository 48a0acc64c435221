//! Folders: lists of names, block by block. The index that large ones have is made of blocks that look empty, so it is not
//! needed for reading.

use super::{
    Image,
    bytes::{u16_at, u32_at},
    inode::{Form, Inode},
    superblock::checksum,
};
use crate::{
    error::Cause,
    metadata::{Entry, Kind},
};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::ops::ControlFlow;
use unikernel_rt::task::yield_now;

/// No folder is longer: that would be some ten million names.
const LEN_MAX: u64 = 512 << 20;
/// After so many blocks from the cache others run.
const BLOCKS_AT_ONCE: u64 = 64;
/// What an entry has before its name.
const HEAD_LEN: usize = 8;
/// The last entry of a block holds its checksum.
const TAIL_LEN: usize = 12;
const IS_TAIL: u8 = 0xde;

/// A name in a folder.
pub(super) struct Name<'a> {
    pub(super) inode: u32,
    pub(super) bytes: &'a [u8],
    kind: u8,
}

impl Image {
    /// Shows every name in a folder to `visit`, `.` and `..` among them.
    async fn visit(&self, folder: &Inode, mut visit: impl FnMut(Name) -> ControlFlow<()>) -> Result<(), Cause> {
        if folder.len > LEN_MAX {
            return Err(Cause::unsupported("a folder has more than some ten million names"));
        }
        if folder.form == Form::Inside {
            return Err(Cause::unsupported("a folder is in its inode (inline_data)"));
        }
        let block_len = u64::from(self.superblock.block_len);
        for index in 0..folder.len.div_ceil(block_len) {
            let block = self.folder_block(folder, index).await?;
            if self.names_in(&block, &mut visit)?.is_break() {
                break;
            }
            if index % BLOCKS_AT_ONCE == BLOCKS_AT_ONCE - 1 {
                yield_now().await;
            }
        }
        Ok(())
    }

    async fn folder_block(&self, folder: &Inode, index: u64) -> Result<Bytes, Cause> {
        let block_len = u64::from(self.superblock.block_len);
        let run = self.locate(folder, index).await?;
        let block = run.block.ok_or(Cause::damaged("a folder has a hole"))?;
        let block = self.read(block * block_len, block_len as usize).await?;
        let (names, tail) = block.split_at(block.len() - TAIL_LEN);
        let has_tail = u32_at(tail, 0) == 0 && u16_at(tail, 4) == TAIL_LEN as u16 && tail[7] == IS_TAIL;
        if let (Some(seed), true) = (folder.seed, has_tail)
            && checksum(seed, names) != u32_at(tail, 8)
        {
            return Err(Cause::damaged("the checksum of a folder is wrong"));
        }
        Ok(block)
    }

    fn names_in(
        &self,
        block: &[u8],
        visit: &mut impl FnMut(Name) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Cause> {
        let mut at = 0;
        while at < block.len() {
            let entry = &block[at..];
            if entry.len() < HEAD_LEN {
                return Err(NAMES);
            }
            // Lengths that do not fit 16 bits: those of a block of 64 KiB.
            let len = match u16_at(entry, 4) {
                0 | 0xffff if block.len() == 0x1_0000 => 0x1_0000,
                len => len.into(),
            };
            let name_len = usize::from(entry[6]);
            if len < HEAD_LEN + name_len || len > entry.len() || !len.is_multiple_of(4) {
                return Err(NAMES);
            }
            let inode = u32_at(entry, 0);
            let kind = if self.superblock.has_types_in_folders { entry[7] } else { 0 };
            let name = Name { inode, bytes: &entry[HEAD_LEN..][..name_len], kind };
            if inode != 0 && name_len > 0 && visit(name).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at += len;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The inode that a name leads to.
    pub(super) async fn find(&self, folder: &Inode, wanted: &[u8]) -> Result<u32, Cause> {
        let mut found = None;
        let each = |name: Name| {
            if name.bytes == wanted {
                found = Some(name.inode);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        self.visit(folder, each).await?;
        found.ok_or(Cause::NotFound)
    }

    /// The inode of the folder around this one, as it says itself.
    pub(super) async fn above(&self, folder: &Inode) -> Result<u32, Cause> {
        match self.find(folder, b"..").await {
            Err(Cause::NotFound) => Err(Cause::damaged("a folder does not know which folder it is in")),
            found => found,
        }
    }

    pub(super) async fn list(&self, folder: &Inode) -> Result<Vec<Entry>, Cause> {
        let (mut entries, mut unknown) = (Vec::new(), Vec::new());
        let each = |name: Name| {
            // A slash or a NUL cannot be in a name.
            if !matches!(name.bytes, b"." | b"..") && !name.bytes.iter().any(|byte| matches!(byte, b'/' | 0)) {
                let kind = match name.kind {
                    1 => Kind::File,
                    2 => Kind::Folder,
                    7 => Kind::Link,
                    _ => Kind::Other,
                };
                if name.kind == 0 {
                    unknown.push((entries.len(), name.inode));
                }
                entries.push(Entry { name: String::from_utf8_lossy(name.bytes).into_owned(), kind });
            }
            ControlFlow::Continue(())
        };
        self.visit(folder, each).await?;
        for (number, inode) in unknown {
            entries[number].kind = Inode::load(self, inode).await?.kind;
        }
        Ok(entries)
    }
}

const NAMES: Cause = Cause::damaged("the names of a folder make no sense");
