//! Reading pages and values, checked.

use super::{
    layout::{Layout, PAGE_LEN, Pointer},
    page::{self, Kind, Node},
    value::{Blob, Extent, Place, Stored, extents_of_page},
};
use crate::{Disk, error::Cause};
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use core::cell::RefCell;
use unikernel_rt::device::Buffer;

/// Inner nodes that are kept as they were checked: each page has one place among these. At most 1 MiB.
const NODES_KEPT: usize = 256;

pub(super) struct Pages {
    pub disk: Disk,
    pub layout: Layout,
    pub store_id: u64,
    nodes: RefCell<Vec<Option<(Pointer, Node)>>>,
}

impl Pages {
    pub(super) fn new(disk: Disk, layout: Layout, store_id: u64) -> Pages {
        Pages { disk, layout, store_id, nodes: RefCell::new(vec![None; NODES_KEPT]) }
    }

    /// Reads a page that must be `kind`.
    pub(super) async fn load(&self, at: Pointer, kind: Kind) -> Result<Bytes, Cause> {
        let bytes = self.disk.read(offset_of(at.page), PAGE_LEN).await?;
        page::verify(&bytes, at, self.store_id, kind)?;
        Ok(bytes)
    }

    /// Reads a node of the tree.
    pub(super) async fn node(&self, at: Pointer, level: u32) -> Result<Node, Cause> {
        let place = at.page as usize % NODES_KEPT;
        if level > 0
            && let Some((known, node)) = &self.nodes.borrow()[place]
            && *known == at
        {
            return Ok(node.clone());
        }
        if !self.layout.is_data(at.page, 1) {
            return Err(page::DAMAGED_NODE);
        }
        let node = Node::new(self.load(at, Kind::Node).await?, level)?;
        if level > 0 {
            self.nodes.borrow_mut()[place] = Some((at, node.clone()));
        }
        Ok(node)
    }

    /// The bytes of a value.
    pub(super) async fn value(&self, stored: Stored) -> Result<Bytes, Cause> {
        if !stored.is_blob {
            return Ok(stored.bytes);
        }
        let blob = Blob::decode(&stored.bytes, &self.layout)?;
        let extents = self.extents(&blob).await?;
        let len = blob.len as usize;
        let value = match &extents[..] {
            [extent] => self.disk.read(offset_of(extent.start), len).await?,
            _ => {
                let mut whole = Buffer::try_new(len).ok_or(Cause::OutOfMemory)?;
                let mut done = 0;
                for extent in extents {
                    let part = (extent.len() * PAGE_LEN).min(len - done);
                    whole[done..done + part].copy_from_slice(&self.disk.read(offset_of(extent.start), part).await?);
                    done += part;
                }
                Bytes::from_owner(whole)
            }
        };
        blob.check(&value)?;
        Ok(value)
    }

    /// Where a blob's bytes are.
    async fn extents(&self, blob: &Blob) -> Result<Vec<Extent>, Cause> {
        match &blob.place {
            Place::Extents(extents) => Ok(extents.clone()),
            Place::Listed(list) => {
                let extents = extents_of_page(&self.load(*list, Kind::Extents).await?, &self.layout)?;
                if blob.is_covered_by(&extents) { Ok(extents) } else { Err(page::DAMAGED_NODE) }
            }
        }
    }

    /// All pages that a value has of its own.
    pub(super) async fn pages_of(&self, stored: &Stored) -> Result<Vec<Extent>, Cause> {
        if !stored.is_blob {
            return Ok(Vec::new());
        }
        let blob = Blob::decode(&stored.bytes, &self.layout)?;
        let mut extents = self.extents(&blob).await?;
        if let Place::Listed(list) = blob.place {
            extents.push(list.page..list.page + 1);
        }
        Ok(extents)
    }
}

/// Where a page is on the disk, in bytes.
pub(super) fn offset_of(page: u32) -> u64 {
    u64::from(page) * PAGE_LEN as u64
}

/// So much is written at once: beyond it, requests cost little beside their bytes.
const WRITE_LEN_MAX: usize = 128 * 1024;

/// Writes bytes of whole sectors, however many.
pub(super) async fn write_all(disk: &Disk, offset: u64, bytes: &[u8]) -> Result<(), Cause> {
    let most = WRITE_LEN_MAX.min(disk.info().segment_len_max);
    let most = most - most % disk.info().sector_len;
    let mut at = offset;
    for piece in bytes.chunks(most) {
        let mut buffer = Buffer::try_new(piece.len()).ok_or(Cause::OutOfMemory)?;
        buffer.copy_from_slice(piece);
        disk.write(at, buffer).await?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Writes pages that follow each other, in as few requests as the disk takes.
#[derive(Default)]
pub(super) struct PageWriter {
    start: u32,
    waiting: Vec<Buffer>,
}

/// Pages that wait for one request, at most.
const RUN_MAX: usize = 32;

impl PageWriter {
    /// Whether `page` is not written yet.
    pub(super) fn has(&self, page: u32) -> bool {
        (self.start..self.start + self.waiting.len() as u32).contains(&page)
    }

    pub(super) async fn add(&mut self, disk: &Disk, page: u32, buffer: Buffer) -> Result<(), Cause> {
        if self.start + self.waiting.len() as u32 != page || self.waiting.len() >= RUN_MAX.min(disk.info().segments_max)
        {
            self.finish(disk).await?;
            self.start = page;
        }
        self.waiting.push(buffer);
        Ok(())
    }

    pub(super) async fn finish(&mut self, disk: &Disk) -> Result<(), Cause> {
        let buffers = core::mem::take(&mut self.waiting);
        if buffers.is_empty() { Ok(()) } else { disk.write_buffers(offset_of(self.start), buffers).await }
    }
}
