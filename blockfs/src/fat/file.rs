//! An open file.

use super::{chain::Run, folder::Place, mounted::Core, open::Content, space::Reservation};
use crate::{
    error::Cause,
    fs::{Node, Reply},
};
use alloc::{boxed::Box, rc::Rc};
use bytes::Bytes;
use core::cell::Cell;
use unikernel_rt::{device::Buffer, time::unix_time};

/// Nothing longer has a length in 32 bits.
pub(super) const FILE_LEN_MAX: u64 = u32::MAX as u64;
/// The disk reads and writes so much at once.
const PIECE_LEN: usize = 128 * 1024;

/// A handle to an open file.
pub(super) struct OpenFile(Rc<Inner>);

struct Inner {
    core: Rc<Core>,
    content: Rc<Content>,
    len: Cell<u64>,
    is_writer: bool,
    is_changed: Cell<bool>,
    /// A change failed, and no sync came after it: closing the file leaves it as the folder has it.
    has_failed: Cell<bool>,
    /// What the folder has is another content, which this one is to replace.
    replaces: Cell<bool>,
}

impl OpenFile {
    pub(super) fn reader(core: &Rc<Core>, content: Rc<Content>) -> OpenFile {
        OpenFile::new(core, content, false, false)
    }

    pub(super) fn writer(core: &Rc<Core>, content: Rc<Content>, replaces: bool) -> OpenFile {
        core.open.borrow_mut().set_written(&content);
        let file = OpenFile::new(core, content, true, replaces);
        if replaces {
            file.0.set_changed(true);
        }
        file
    }

    fn new(core: &Rc<Core>, content: Rc<Content>, is_writer: bool, replaces: bool) -> OpenFile {
        let len = Cell::new(content.len.get().into());
        let (is_changed, has_failed, replaces) = (Cell::new(false), Cell::new(false), Cell::new(replaces));
        OpenFile(Rc::new(Inner { core: core.clone(), content, len, is_writer, is_changed, has_failed, replaces }))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if !self.0.is_writer {
            return;
        }
        let file = self.0.clone();
        if !file.is_changed.get() {
            return file.content.is_written.set(false);
        }
        self.0.core.in_background(async move {
            let done = file.close().await;
            file.set_changed(false);
            file.content.is_written.set(false);
            if file.replaces.get() {
                file.content.is_gone.set(true);
            }
            done
        });
    }
}

impl Node for OpenFile {
    fn len(&self) -> u64 {
        self.0.len.get()
    }

    fn read_at(&self, offset: u64, len: usize) -> Reply<'_, Bytes> {
        Box::pin(self.0.read(offset, len))
    }

    fn read_now(&self, offset: u64, len: usize) -> Option<Bytes> {
        let (place, len) = self.0.known(offset, len)?;
        self.0.core.disk.read_cached(place, len)
    }

    fn prefetch(&self, offset: u64, len: usize) {
        let Some((place, len)) = self.0.known(offset, len) else { return };
        for start in (0..len).step_by(PIECE_LEN) {
            self.0.core.disk.prefetch(place + start as u64, (len - start).min(PIECE_LEN));
        }
    }

    fn write_at<'a>(&'a self, offset: u64, bytes: &'a [u8]) -> Reply<'a, ()> {
        Box::pin(self.0.write(offset, bytes))
    }

    fn truncate(&self, len: u64) -> Reply<'_, ()> {
        Box::pin(self.0.truncate(len))
    }

    fn sync(&self) -> Reply<'_, ()> {
        let file = self.0.clone();
        Box::pin(Core::whole(async move {
            file.sync().await?;
            file.core.settle().await
        }))
    }
}

impl Inner {
    /// Where bytes of the file are, as many as lie together, if that is known.
    fn known(&self, offset: u64, len: usize) -> Option<(u64, usize)> {
        let cluster_len = u64::from(self.core.layout.cluster_len);
        let run = self.content.chain.borrow().known((offset / cluster_len) as u32)?;
        Some(self.place_in(run, offset, len))
    }

    fn place_in(&self, run: Run, offset: u64, len: usize) -> (u64, usize) {
        let cluster_len = u64::from(self.core.layout.cluster_len);
        let skipped = offset % cluster_len;
        let most = u64::from(run.count) * cluster_len - skipped;
        (self.core.layout.place_of(run.cluster) + skipped, most.min(len as u64) as usize)
    }

    async fn read(&self, offset: u64, len: usize) -> Result<Bytes, Cause> {
        let index = (offset / u64::from(self.core.layout.cluster_len)) as u32;
        let cuts = || self.content.chain.borrow().cuts();
        let cuts_at_start = cuts();
        loop {
            let cuts_before = cuts();
            let Some(run) = self.core.locate(&self.content.chain, index).await? else {
                return Err(match cuts_before == cuts_at_start {
                    true => Cause::damaged("a file is longer than its clusters"),
                    false => Cause::NotFound,
                });
            };
            let (place, len) = self.place_in(run, offset, len);
            let bytes = self.core.disk.read_some(place, len).await?;
            // What was cut off meanwhile may belong to another file.
            if cuts() == cuts_before {
                return Ok(bytes);
            }
        }
    }

    fn set_changed(&self, is_changed: bool) {
        if self.is_changed.replace(is_changed) != is_changed {
            let unsynced = &self.core.state.unsynced;
            unsynced.set(if is_changed { unsynced.get() + 1 } else { unsynced.get() - 1 });
        }
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Cause> {
        self.change(async || {
            let end = offset.checked_add(bytes.len() as u64).ok_or(Cause::TooLarge)?;
            self.check_writable(end)?;
            if bytes.is_empty() {
                return Ok(());
            }
            let len_before = self.len.get();
            let done = self.write_bytes(offset, bytes).await;
            self.len.set(if done.is_ok() { len_before.max(end) } else { len_before });
            done
        })
        .await
    }

    /// Does `work` in the file's turn. Until it is done, it counts as failed.
    async fn change(&self, work: impl AsyncFnOnce() -> Result<(), Cause>) -> Result<(), Cause> {
        let _turn = self.content.turn.acquire().await;
        let failed_before = self.has_failed.replace(true);
        work().await?;
        self.has_failed.set(failed_before);
        Ok(())
    }

    async fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), Cause> {
        let _changing = self.core.begin_change().await?;
        self.set_changed(true);
        let end = offset + bytes.len() as u64;
        self.extend(offset).await?;
        let room = self.reserve(end).await?;
        self.put(&room, offset, bytes, end >= self.len.get()).await?;
        self.link(room).await
    }

    async fn truncate(&self, len: u64) -> Result<(), Cause> {
        self.change(async || {
            self.check_writable(len)?;
            let _changing = self.core.begin_change().await?;
            self.set_changed(true);
            if len > self.len.get() {
                return self.extend(len).await;
            }
            // The clusters are given back when the folder has the new length.
            self.len.set(len);
            Ok(())
        })
        .await
    }

    fn check_writable(&self, end: u64) -> Result<(), Cause> {
        match self.is_writer {
            false => Err(Cause::ReadOnly),
            true if end > FILE_LEN_MAX => Err(Cause::TooLarge),
            true => Ok(()),
        }
    }

    /// Lengthens the file with zeros. Where it fails, it has its old length.
    async fn extend(&self, to: u64) -> Result<(), Cause> {
        let from = self.len.get();
        if to <= from {
            return Ok(());
        }
        let (have, _) = self.core.end_of(&self.content.chain).await?;
        let needed = self.core.layout.clusters_for(to).saturating_sub(have);
        if needed > STEP && needed > self.core.free().await? {
            return Err(Cause::Full);
        }
        let step = u64::from(STEP) * u64::from(self.core.layout.cluster_len);
        let mut at = from;
        while at < to {
            let end = to.min(at + step);
            let room = self.reserve(end).await?;
            self.zero(&room, at, end).await?;
            self.link(room).await?;
            at = end;
        }
        self.len.set(to);
        Ok(())
    }

    /// Finds clusters for a file that ends at `end`.
    async fn reserve(&self, end: u64) -> Result<Room, Cause> {
        let (have, tail) = self.core.end_of(&self.content.chain).await?;
        let needed = self.core.layout.clusters_for(end);
        let new = if needed > have { Some(self.core.reserve(tail, needed - have).await?) } else { None };
        Ok(Room { have, tail, new })
    }

    async fn link(&self, room: Room) -> Result<(), Cause> {
        let Some(new) = room.new else { return Ok(()) };
        let (core, content) = (self.core.clone(), self.content.clone());
        Core::whole(async move { core.link(&content.chain, room.tail, new).await }).await
    }

    /// Where bytes of the file are, or will be.
    async fn place(&self, room: &Room, offset: u64, len: usize) -> Result<(u64, usize), Cause> {
        let index = (offset / u64::from(self.core.layout.cluster_len)) as u32;
        let run = match index.checked_sub(room.have) {
            Some(index) => room.run(index),
            None => self.core.locate(&self.content.chain, index).await?,
        };
        let run = run.ok_or(Cause::damaged("the clusters of a file changed"))?;
        Ok(self.place_in(run, offset, len))
    }

    /// Writes bytes into their places. After the end of the file their sector is filled with zeros.
    async fn put(&self, room: &Room, offset: u64, bytes: &[u8], is_end: bool) -> Result<(), Cause> {
        let sector_len = self.core.disk.info().sector_len;
        let mut done = 0;
        while done < bytes.len() {
            let rest = (bytes.len() - done).min(PIECE_LEN);
            let (place, len) = self.place(room, offset + done as u64, rest).await?;
            let part = &bytes[done..done + len];
            let is_last = done + len == bytes.len();
            if place.is_multiple_of(sector_len as u64) && (is_last && is_end || len.is_multiple_of(sector_len)) {
                let mut buffer = Buffer::try_new(len.next_multiple_of(sector_len)).ok_or(Cause::OutOfMemory)?;
                buffer[..len].copy_from_slice(part);
                buffer[len..].fill(0);
                self.core.disk.write(place, buffer).await?;
            } else {
                self.core.disk.write_bytes(place, part).await?;
            }
            done += len;
        }
        Ok(())
    }

    async fn zero(&self, room: &Room, from: u64, to: u64) -> Result<(), Cause> {
        let sector_len = self.core.disk.info().sector_len as u64;
        let mut at = from;
        while at < to {
            let (place, len) = self.place(room, at, (to - at).min(1 << 30) as usize).await?;
            let end = place + len as u64;
            // What follows in the last sector is after the end of the file.
            let (start, stop) = (place.next_multiple_of(sector_len).min(end), end.next_multiple_of(sector_len));
            self.core.disk.write_bytes(place, &[0; 4096][..(start - place) as usize]).await?;
            if start < end {
                self.core.disk.write_zeroes(start..stop).await?;
            }
            at += len as u64;
        }
        Ok(())
    }

    /// Writes the file's entry, when its content is safe.
    async fn sync(&self) -> Result<(), Cause> {
        if !self.is_writer || !self.is_changed.get() {
            return Ok(());
        }
        let content = &self.content;
        let _turn = content.turn.acquire().await;
        let _changing = self.core.begin_change().await?;
        self.core.disk.flush().await?;
        let len = self.len.get();
        {
            let _change = self.core.turns.change().await;
            if !content.is_gone.get() {
                self.write_entry(content.place.get(), len as u32).await?;
            }
        }
        self.core.cut(&content.chain, self.core.layout.clusters_for(len)).await?;
        self.set_changed(false);
        self.has_failed.set(false);
        Ok(())
    }

    /// What is done when the file was dropped.
    async fn close(&self) -> Result<(), Cause> {
        if self.has_failed.get() {
            if self.replaces.get() {
                return Ok(());
            }
            self.len.set(self.content.len.get().into());
        }
        self.sync().await
    }

    async fn write_entry(&self, place: Place, len: u32) -> Result<(), Cause> {
        let content = &self.content;
        let first = if len == 0 { 0 } else { content.chain.borrow().first() };
        let mut before = 0;
        let change = |entry: &mut super::entry::Entry| {
            before = entry.cluster();
            entry.set_content(first, len, unix_time().as_secs());
        };
        self.core.change_entry(place, change).await?;
        content.len.set(len);
        if self.replaces.replace(false) {
            let is_open = self.core.open.borrow_mut().replace(content);
            if !is_open && before != 0 {
                let before = core::cell::RefCell::new(super::chain::Chain::new(before));
                self.core.cut(&before, 0).await?;
            }
        }
        Ok(())
    }
}

/// Clusters are looked for in such numbers when a file is lengthened.
const STEP: u32 = 16 * 1024;

/// The clusters that a file has, and those that it is given.
struct Room {
    have: u32,
    tail: Option<u32>,
    new: Option<Reservation>,
}

impl Room {
    /// From the new cluster at `index` on.
    fn run(&self, index: u32) -> Option<Run> {
        let mut left = index;
        for run in &self.new.as_ref()?.runs {
            if left < run.count {
                return Some(Run { cluster: run.cluster + left, count: run.count - left });
            }
            left -= run.count;
        }
        None
    }
}
