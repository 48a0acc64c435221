//! A mounted image, as far as open files need it.

use super::{
    inode::{Content, Inode},
    packed::Clusters,
    superblock::Superblock,
};
use crate::{Disk, error::Cause};
use alloc::vec::Vec;
use bytes::Bytes;
use core::cell::{OnceCell, RefCell};
use unikernel_rt::device::Buffer;

/// Holes are read in pieces of this length; the zeros are there once.
const ZEROS_LEN: usize = 64 * 1024;

pub(super) struct Image {
    pub(super) disk: Disk,
    pub(super) superblock: Superblock,
    /// What was decompressed.
    pub(super) clusters: RefCell<Clusters>,
    zeros: OnceCell<Bytes>,
}

impl Image {
    pub(super) fn new(disk: Disk, superblock: Superblock) -> Image {
        Image { disk, superblock, clusters: RefCell::new(Clusters::new()), zeros: OnceCell::new() }
    }

    /// At least one and at most `len` bytes of `inode` at `offset`, which is before its end; `len` is not zero.
    pub(super) async fn read_some(&self, inode: &Inode, offset: u64, len: usize) -> Result<Bytes, Cause> {
        let len = (len as u64).min(inode.len - offset) as usize;
        match &inode.content {
            Content::Flat { .. } => {
                let (at, len) = inode.flat_piece(offset, len);
                self.disk.read_some(at, len).await
            }
            Content::Chunks(chunks) => chunks.read_some(self, offset, len).await,
            Content::Packed(packed) => packed.read_some(self, inode, offset, len).await,
            Content::Nothing => Err(Cause::damaged("a file of the EROFS has a length, and nothing in it")),
        }
    }

    /// `len` bytes of `inode` at `offset`; they are there.
    pub(super) async fn read(&self, inode: &Inode, offset: u64, len: usize) -> Result<Bytes, Cause> {
        let first = self.read_some(inode, offset, len).await?;
        if first.len() == len {
            return Ok(first);
        }
        let mut whole = Vec::new();
        whole.try_reserve_exact(len).map_err(|_| Cause::OutOfMemory)?;
        whole.extend_from_slice(&first);
        while whole.len() < len {
            let piece = self.read_some(inode, offset + whole.len() as u64, len - whole.len()).await?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// Between one and `len` zeros.
    pub(super) fn zeros(&self, len: usize) -> Result<Bytes, Cause> {
        if self.zeros.get().is_none() {
            let mut zeros = Buffer::try_new(ZEROS_LEN).ok_or(Cause::OutOfMemory)?;
            zeros.fill(0);
            // Nobody else has set it: there was no point to wait at.
            let _ = self.zeros.set(Bytes::from_owner(zeros));
        }
        Ok(self.zeros.get().map(|zeros| zeros.slice(..len.min(ZEROS_LEN))).unwrap_or_default())
    }
}

impl Inode {
    /// Where on the disk the first of `len` bytes at `offset` are, and how many in one piece, of flat content.
    pub(super) fn flat_piece(&self, offset: u64, len: usize) -> (u64, usize) {
        match self.content {
            Content::Flat { start, tail_from, .. } if offset < tail_from => {
                (start + offset, (len as u64).min(tail_from - offset) as usize)
            }
            Content::Flat { tail_from, tail, .. } => (tail + (offset - tail_from), len),
            _ => unreachable!("asked of flat content only"),
        }
    }
}

/// The error of a read that leaves the disk, where the place came from the image.
pub(super) fn beyond(cause: Cause) -> Cause {
    match cause {
        Cause::OutOfRange => Cause::damaged("a file of the EROFS reaches beyond the end of the disk"),
        cause => cause,
    }
}
