//! Compressed files.
//!
//! The content is cut into *logical clusters* of a block each. An *extent* is a run of bytes that was compressed together:
//! it begins anywhere in its head cluster and ends where the next one begins; its compressed form, a *physical cluster*,
//! is one or more blocks of the disk. An index per logical cluster tells where the heads are. Linux has the format in
//! `fs/erofs/erofs_fs.h`, and how it is read in `fs/erofs/zmap.c`.

mod clusters;
mod extent;
mod index;
mod lz4;

pub(super) use clusters::Clusters;

use super::{
    bytes::u16_at,
    image::{Image, beyond},
    inode::Inode,
};
use crate::error::Cause;
use ::bytes::Bytes;
use core::cell::Cell;
use extent::Extent;

/// Bytes of the header before the indexes.
const HEADER_LEN: u64 = 8;

/// Bits of the header's advice.
const HAS_SHORT_INDEXES: u16 = 0x01;
const HAS_BIG_CLUSTERS: u16 = 0x02 | 0x04;
const HAS_INLINE_TAIL: u16 = 0x08;
const IS_INTERLACED: u16 = 0x10;
const KNOWN: u16 = HAS_SHORT_INDEXES | HAS_BIG_CLUSTERS | HAS_INLINE_TAIL | IS_INTERLACED;

/// What reading a compressed file takes.
#[derive(Debug)]
pub(super) struct Packed {
    /// Logical clusters have as many bytes as blocks.
    cluster_bits: u32,
    len: u64,
    indexes: index::Form,
    /// Physical clusters may have several blocks.
    is_big: bool,
    /// Bytes that were not compressed stand where they would in a cache of blocks.
    is_interlaced: bool,
    /// Bytes of the last physical cluster, if it stands after the indexes.
    tail_len: Option<u64>,
    /// Where the physical cluster that was read last ends.
    next: Cell<u64>,
}

impl Packed {
    /// Reads the header after an inode that ends at `end`.
    pub(super) async fn load(image: &Image, end: u64, len: u64, is_compact: bool) -> Result<Packed, Cause> {
        let start = end.next_multiple_of(8);
        let header = image.disk.read(start, HEADER_LEN as usize).await.map_err(beyond)?;
        let (advice, algorithm, bits) = match is_compact || image.superblock.has_full_headers {
            true => (u16_at(&header, 4), header[6], header[7]),
            false => (0, 0, 0),
        };
        if algorithm != 0 {
            return Err(Cause::unsupported("a file of its EROFS is compressed, and not with LZ4"));
        }
        if bits != 0 || advice & !KNOWN != 0 {
            return Err(Cause::unsupported("a file of its EROFS is compressed in a form of a later time"));
        }
        let after = start + HEADER_LEN;
        let indexes = match is_compact {
            // Linux, `Z_EROFS_FULL_INDEX_ALIGN`: a gap as long as the header.
            false => index::Form::Full { start: after + 8 },
            true => index::Form::compact(after, image.superblock.block_bits, len, advice & HAS_SHORT_INDEXES != 0)?,
        };
        Ok(Packed {
            cluster_bits: image.superblock.block_bits,
            len,
            indexes,
            is_big: advice & HAS_BIG_CLUSTERS != 0,
            is_interlaced: advice & IS_INTERLACED != 0,
            tail_len: (advice & HAS_INLINE_TAIL != 0).then(|| u64::from(u16_at(&header, 2))),
            next: Cell::new(0),
        })
    }

    /// At least one and at most `len` bytes of `inode`, whose content this is.
    pub(super) async fn read_some(
        &self,
        image: &Image,
        inode: &Inode,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, Cause> {
        if let Some(bytes) = image.clusters.borrow_mut().get(inode.number, offset, len) {
            return Ok(bytes);
        }
        let extent = Extent::find(image, self, offset).await?;
        self.next.set(extent.source.end);
        let source_len = (extent.source.end - extent.source.start) as usize;
        let source = image.disk.read(extent.source.start, source_len).await.map_err(beyond)?;
        let bytes = extent.decode(&source, image)?;
        let start = (offset - extent.start) as usize;
        let part = bytes.slice(start..bytes.len().min(start.saturating_add(len)));
        if extent.is_compressed() {
            image.clusters.borrow_mut().insert(inode.number, extent.start, bytes);
        }
        Ok(part)
    }

    /// Begins to read physical clusters that come next: what `len` bytes take at most.
    pub(super) fn prefetch(&self, image: &Image, len: usize) {
        let next = self.next.get();
        let len = (len as u64).min(image.disk.len().saturating_sub(next));
        if next > 0 && len > 0 {
            image.disk.prefetch(next, len as usize);
        }
    }
}
