//! Reading: from the cache, from a read that is under way, or from the device.

use super::{Disk, PAGE_LEN, Shared, cache::Page, router::NOT_OFFERED};
use crate::error::Cause;
use alloc::vec;
use bytes::Bytes;
use core::{future::poll_fn, ops::Range, task::Poll};
use unikernel_rt::{
    device::{BlockOp, Buffer},
    task::wait_for,
};

/// The device is asked for so much at once: enough that the request itself costs little beside its bytes.
pub(crate) const PIECE_LEN_MAX: u64 = 128 * 1024;

impl Disk {
    /// Reads `len` bytes at `offset`, wherever they begin. Copies only where they come from several pieces.
    ///
    /// # Errors
    ///
    /// They reach beyond the end; the device failed; there is no memory for them.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, Cause> {
        let range = self.absolute_of(offset, len as u64)?;
        if let Some(bytes) = self.shared.cached(&range) {
            return Ok(bytes);
        }
        self.gather(range).await
    }

    /// The same, if the bytes are in the cache, in one piece.
    pub fn read_cached(&self, offset: u64, len: usize) -> Option<Bytes> {
        self.shared.cached(&self.absolute_of(offset, len as u64).ok()?)
    }

    /// Reads at least one and at most `len` bytes at `offset`: as many as there are in one piece, so nothing is copied. What
    /// is missing is read from the device together, up to 128 KiB. Zero bytes when `len` is zero.
    ///
    /// # Errors
    ///
    /// They reach beyond the end; the device failed; there is no memory for them.
    pub async fn read_some(&self, offset: u64, len: usize) -> Result<Bytes, Cause> {
        let range = self.absolute_of(offset, len as u64)?;
        self.piece(range).await
    }

    /// Reads past the cache, whole sectors into a buffer of the caller's own.
    ///
    /// # Errors
    ///
    /// They are no whole sectors or reach beyond the end; the device failed; there is no memory for them.
    pub async fn read_uncached(&self, offset: u64, len: usize) -> Result<Buffer, Cause> {
        let range = self.absolute_of(offset, len as u64)?;
        if !self.shared.info.contains(&range) || len == 0 || len > self.shared.info.segment_len_max {
            return Err(Cause::OutOfRange);
        }
        let buffer = self.shared.fetch(range.clone()).await?;
        self.check(&range, &buffer).await?;
        Ok(buffer)
    }

    /// Begins to read what of `len` bytes at `offset` is not in the cache yet, at most 128 KiB, and does not wait for it.
    pub fn prefetch(&self, offset: u64, len: usize) {
        let Ok(range) = self.absolute_of(offset, len as u64) else { return };
        let pages = pages_of(&range);
        let first = {
            let cache = self.shared.cache.borrow();
            pages.clone().find(|page| !cache.is_known(*page))
        };
        if let Some(first) = first {
            let disk = self.clone();
            // A failure is met again by whoever wants the bytes.
            drop(unikernel_rt::spawn_named("read ahead", async move { drop(disk.fly(first..pages.end).await) }));
        }
    }
}

/// The pages that hold a range.
pub(super) fn pages_of(range: &Range<u64>) -> Range<u64> {
    range.start / PAGE_LEN..range.end.div_ceil(PAGE_LEN)
}

impl Disk {
    /// All of `range`, in one piece.
    async fn gather(&self, range: Range<u64>) -> Result<Bytes, Cause> {
        let len = (range.end - range.start) as usize;
        let mut piece = self.piece(range.clone()).await?;
        if piece.len() == len {
            return Ok(piece);
        }
        let mut whole = Buffer::try_new(len).ok_or(Cause::OutOfMemory)?;
        let mut done = 0;
        loop {
            whole[done..done + piece.len()].copy_from_slice(&piece);
            done += piece.len();
            if done == len {
                return Ok(Bytes::from_owner(whole));
            }
            piece = self.piece(range.start + done as u64..range.end).await?;
        }
    }

    /// The start of `range`, as much as there is in one piece.
    async fn piece(&self, range: Range<u64>) -> Result<Bytes, Cause> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let pages = pages_of(&range);
        let mut is_hit = true;
        let look = poll_fn(|cx| match self.shared.cache.borrow_mut().look(pages.start, pages.end, cx.waker()) {
            Page::Flying => {
                is_hit = false;
                wait_for("the disk");
                Poll::Pending
            }
            Page::There(bytes) => Poll::Ready(Ok(bytes)),
            Page::Missing { end } => Poll::Ready(Err(end)),
        });
        let bytes = match look.await {
            Ok(bytes) => bytes,
            Err(end) => {
                is_hit = false;
                self.fly(pages.start..end).await?
            }
        };
        self.shared.cache.borrow_mut().count(is_hit);
        let start = (range.start % PAGE_LEN) as usize;
        let end = bytes.len().min(start + (range.end - range.start) as usize);
        Ok(bytes.slice(start..end))
    }

    /// Reads the first of `pages`, as many as one piece has, and keeps them.
    async fn fly(&self, pages: Range<u64>) -> Result<Bytes, Cause> {
        let most = (PIECE_LEN_MAX.min(self.shared.info.segment_len_max as u64) / PAGE_LEN).max(1);
        let pages = pages.start..pages.end.min(pages.start + most);
        let number = self.shared.cache.borrow_mut().take_off(pages.clone());
        let mut flight = Flight { shared: &self.shared, number, brought: None };
        let range = pages.start * PAGE_LEN..(pages.end * PAGE_LEN).min(self.shared.info.len);
        let buffer = self.shared.fetch(range.clone()).await?;
        self.check(&range, &buffer).await?;
        let bytes = Bytes::from_owner(buffer);
        flight.brought = Some(bytes.clone());
        Ok(bytes)
    }

    /// Whether what was read from the device is what was sealed.
    async fn check(&self, range: &Range<u64>, bytes: &[u8]) -> Result<(), Cause> {
        match &self.seal {
            None => Ok(()),
            Some(seal) => seal.check(&self.shared, range, bytes).await,
        }
    }
}

impl Shared {
    #[inline]
    fn cached(&self, range: &Range<u64>) -> Option<Bytes> {
        let (start, len) = ((range.start % PAGE_LEN) as usize, (range.end - range.start) as usize);
        let mut cache = self.cache.borrow_mut();
        let bytes = cache.get(range.start / PAGE_LEN)?;
        let bytes = bytes.get(start..start + len).map(|_| bytes.slice(start..start + len))?;
        cache.count(true);
        Some(bytes)
    }

    pub(super) async fn fetch(&self, range: Range<u64>) -> Result<Buffer, Cause> {
        let len = range.end - range.start;
        let buffer = Buffer::try_new(len as usize).ok_or(Cause::OutOfMemory)?;
        let mut buffers = self.router.request(BlockOp::Read, range.start, len, vec![buffer], None).await?;
        buffers.pop().ok_or(NOT_OFFERED)
    }
}

/// A read under way. When it ends in any way, those who wait for it are told.
struct Flight<'a> {
    shared: &'a Shared,
    number: usize,
    brought: Option<Bytes>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.shared.cache.borrow_mut().land(self.number, self.brought.as_ref());
    }
}
