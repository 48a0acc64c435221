//! Writing: to the device at once; what the cache had of it is gone.

use super::{
    Disk, PAGE_LEN, Shared,
    read::{PIECE_LEN_MAX, pages_of},
};
use crate::error::Cause;
use alloc::{rc::Rc, vec, vec::Vec};
use bytes::Bytes;
use core::ops::Range;
use unikernel_rt::device::{BlockOp, Buffer};

impl Disk {
    /// Writes whole sectors. Done when the device has them; safe from a loss of power after a later
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// They are no whole sectors, reach beyond the end, or are more than one request takes; the disk is read-only; the
    /// device failed, and the range then holds old or new bytes, sector by sector.
    pub async fn write(&self, offset: u64, buffer: Buffer) -> Result<(), Cause> {
        self.write_buffers(offset, vec![buffer]).await
    }

    /// The same with bytes that lie in several buffers, in one request. Each has whole sectors.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub async fn write_buffers(&self, offset: u64, buffers: Vec<Buffer>) -> Result<(), Cause> {
        let info = &self.shared.info;
        let len: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let range = self.writable(offset, len as u64)?;
        let fits =
            |buffer: &Buffer| buffer.len() <= info.segment_len_max && buffer.len().is_multiple_of(info.sector_len);
        if buffers.len() > info.segments_max || !buffers.iter().all(fits) {
            return Err(Cause::OutOfRange);
        }
        if len == 0 {
            return Ok(());
        }
        let (writing, was_cached) = Writing::begin(&self.shared, pages_of(&range));
        let request = self.shared.router.request(BlockOp::Write, range.start, len as u64, buffers, Some(writing));
        let mut buffers = request.await?;
        if was_cached && buffers.len() == 1 {
            let written = Bytes::from_owner(buffers.remove(0));
            self.shared.cache.borrow_mut().refresh(&range, written);
        }
        Ok(())
    }

    /// Writes bytes wherever they begin; the rest of their sectors is read first. Two of these on one sector at the
    /// same time lose one of the changes: the caller takes turns.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub async fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), Cause> {
        let sector_len = self.shared.info.sector_len as u64;
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let start = at - at % sector_len;
            let most = PIECE_LEN_MAX.min(self.shared.info.segment_len_max as u64) - (at - start);
            let part = &bytes[done..bytes.len().min(done + most as usize)];
            let end = (at + part.len() as u64).next_multiple_of(sector_len);
            let mut buffer = Buffer::try_new((end - start) as usize).ok_or(Cause::OutOfMemory)?;
            let before = (at - start) as usize;
            if part.len() < buffer.len() {
                buffer.copy_from_slice(&self.read(start, (end - start) as usize).await?);
            }
            buffer[before..before + part.len()].copy_from_slice(part);
            self.write(start, buffer).await?;
            done += part.len();
        }
        Ok(())
    }

    /// Makes every write that was done before survive a loss of power.
    ///
    /// # Errors
    ///
    /// The device failed: what was written since the last flush may be lost.
    pub async fn flush(&self) -> Result<(), Cause> {
        if self.shared.info.has_volatile_cache {
            self.shared.router.request(BlockOp::Flush, 0, 0, Vec::new(), None).await?;
        }
        Ok(())
    }

    /// Tells the device that the bytes of whole sectors are not needed any more; they may read as anything. Does nothing
    /// where the device does not offer it.
    ///
    /// # Errors
    ///
    /// They reach beyond the end; the disk is read-only; the device failed.
    pub async fn discard(&self, range: Range<u64>) -> Result<(), Cause> {
        let most = self.shared.info.discard_len_max;
        if most == 0 { Ok(()) } else { self.for_each_part(BlockOp::Discard, range, most).await }
    }

    /// Makes whole sectors zero.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub async fn write_zeroes(&self, range: Range<u64>) -> Result<(), Cause> {
        let most = self.shared.info.write_zeroes_len_max;
        if most > 0 {
            return self.for_each_part(BlockOp::WriteZeroes, range, most).await;
        }
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(PIECE_LEN_MAX).min(self.shared.info.segment_len_max as u64);
            self.write(at, Buffer::zeroed(len as usize)).await?;
            at += len;
        }
        Ok(())
    }

    async fn for_each_part(&self, op: BlockOp, range: Range<u64>, most: u64) -> Result<(), Cause> {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(most - most % self.shared.info.sector_len as u64);
            let part = self.writable(at, len)?;
            let (writing, _) = Writing::begin(&self.shared, pages_of(&part));
            self.shared.router.request(op, part.start, len, Vec::new(), Some(writing)).await?;
            at += len;
        }
        Ok(())
    }

    fn writable(&self, offset: u64, len: u64) -> Result<Range<u64>, Cause> {
        if self.is_read_only() {
            return Err(Cause::ReadOnly);
        }
        let range = self.absolute_of(offset, len)?;
        if self.shared.info.contains(&range) { Ok(range) } else { Err(Cause::OutOfRange) }
    }
}

/// A write under way: until the device is done with it, reads of its pages are not kept.
pub(super) struct Writing {
    shared: Rc<Shared>,
    pages: Range<u64>,
}

impl Writing {
    fn begin(shared: &Rc<Shared>, pages: Range<u64>) -> (Writing, bool) {
        let was_cached = shared.cache.borrow_mut().begin_write(pages.clone());
        (Writing { shared: shared.clone(), pages }, was_cached)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.shared.cache.borrow_mut().end_write(&self.pages);
    }
}

/// Whether a range is of whole pages.
pub(super) fn is_of_pages(range: &Range<u64>) -> bool {
    range.start.is_multiple_of(PAGE_LEN) && range.end.is_multiple_of(PAGE_LEN)
}
