//! Open files.

use super::{
    image::Image,
    inode::{Content, Inode},
};
use crate::{
    fs::{Node, Reply},
    metadata::{Kind, Metadata},
};
use alloc::{boxed::Box, rc::Rc};
use bytes::Bytes;

/// What a path leads to. Everybody who opens the file shares it.
pub(super) struct Found {
    pub(super) image: Rc<Image>,
    pub(super) inode: Inode,
}

impl Found {
    pub(super) fn metadata(&self) -> Metadata {
        let inode = &self.inode;
        let len = if inode.kind == Kind::File { inode.len } else { 0 };
        Metadata { kind: inode.kind, len, modified: Some(inode.modified) }
    }
}

impl Node for Found {
    fn len(&self) -> u64 {
        self.inode.len
    }

    fn read_at(&self, offset: u64, len: usize) -> Reply<'_, Bytes> {
        match self.inode.content {
            Content::Flat { .. } => {
                let (at, len) = self.inode.flat_piece(offset, (len as u64).min(self.inode.len - offset) as usize);
                Box::pin(self.image.disk.read_some(at, len))
            }
            _ => Box::pin(self.image.read_some(&self.inode, offset, len)),
        }
    }

    fn read_now(&self, offset: u64, len: usize) -> Option<Bytes> {
        let len = (len as u64).min(self.inode.len - offset) as usize;
        match &self.inode.content {
            Content::Flat { .. } => {
                let (at, len) = self.inode.flat_piece(offset, len);
                self.image.disk.read_cached(at, len)
            }
            Content::Chunks(chunks) => chunks.read_now(&self.image, offset, len),
            Content::Packed(_) => self.image.clusters.borrow_mut().get(self.inode.number, offset, len),
            Content::Nothing => None,
        }
    }

    fn prefetch(&self, offset: u64, len: usize) {
        if offset >= self.inode.len {
            return;
        }
        let len = (len as u64).min(self.inode.len - offset) as usize;
        match &self.inode.content {
            Content::Flat { .. } => {
                let (at, len) = self.inode.flat_piece(offset, len);
                self.image.disk.prefetch(at, len);
            }
            Content::Chunks(chunks) => drop(chunks.prefetch(&self.image, offset, len)),
            Content::Packed(packed) => packed.prefetch(&self.image, len),
            Content::Nothing => {}
        }
    }
}
