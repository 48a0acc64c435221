//! The writer: one task that makes transactions durable, all that wait with one record and one flush.

use super::{
    batch::{self, Batch},
    layout::{BODY_LEN, HEADER_LEN, PAGE_LEN},
    log,
    memtable::Load,
    page::{Header, Kind},
    pages::{offset_of, write_all},
    shared::{Pending, Shared, write_record},
    value::{Blob, EXTENT_LEN, EXTENTS_SHORT_MAX, Extent, Place, encode_extent},
};
use crate::error::Cause;
use alloc::{rc::Rc, vec::Vec};
use bytes::Bytes;
use unikernel_rt::checksum::crc32c;
use unikernel_rt::device::Buffer;

/// Pages that only deletions and checkpoints may use, so that a full store can become less full.
fn reserve(data_pages: u32) -> u64 {
    (u64::from(data_pages) / 8).clamp(8, 256)
}

/// Runs until the store is closed.
pub(super) async fn run(shared: Rc<Shared>) {
    while !shared.is_closed.get() {
        let group = shared.next_group();
        if group.is_empty() {
            shared.work.notified().await;
        } else {
            shared.commit_group(group).await;
        }
    }
    let rest = core::mem::take(&mut *shared.queue.borrow_mut());
    answer(rest.into(), &Err(Cause::Closed));
}

fn answer(group: Vec<Pending>, result: &Result<(), Cause>) {
    for pending in group {
        // Who does not wait any more does not need to know.
        drop(pending.reply.send(result.clone()));
    }
}

impl Shared {
    /// Most bytes of changes in one transaction.
    pub(super) fn batch_len_max(&self) -> usize {
        self.pages.layout.frame_len_max() as usize - log::RECORD_HEADER_LEN
    }

    /// What waits, as much as fits a record.
    fn next_group(&self) -> Vec<Pending> {
        let mut queue = self.queue.borrow_mut();
        let mut left = self.batch_len_max();
        let mut count = 0;
        for pending in queue.iter() {
            let Some(rest) = left.checked_sub(pending.batch.len_max()) else { break };
            left = rest;
            count += 1;
        }
        queue.drain(..count).collect()
    }

    async fn commit_group(&self, group: Vec<Pending>) {
        if self.is_poisoned.get() {
            return answer(group, &Err(Cause::Poisoned));
        }
        let group = self.admit(group).await;
        if let Err(cause) = self.make_room(&group).await {
            return answer(group, &Err(cause));
        }
        let group = self.without_conflicts(group);
        if group.is_empty() {
            return;
        }
        let (mut batches, mut waiting) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for Pending { batch, reply, .. } in group {
            batches.push(batch);
            waiting.push(reply);
        }
        let result = self.write(batches).await;
        if result.as_ref().is_err_and(|cause| !matches!(cause, Cause::OutOfMemory | Cause::Full)) {
            self.is_poisoned.set(true);
        }
        waiting.into_iter().for_each(|reply| drop(reply.send(result.clone())));
    }

    /// Lets those pass for which there is space.
    async fn admit(&self, group: Vec<Pending>) -> Vec<Pending> {
        while !self.has_space(&group) && !self.view().is_merged() {
            if self.checkpoint_once().await.is_err() {
                break;
            }
        }
        if self.has_space(&group) {
            return group;
        }
        let mut admitted = Vec::new();
        for pending in group {
            let only_removes = pending.batch.only_removes();
            admitted.push(pending);
            if !only_removes && !self.has_space(&admitted) {
                answer(admitted.pop().into_iter().collect(), &Err(Cause::Full));
            }
        }
        admitted
    }

    /// Whether what waits to come into the tree fits, whatever its shape.
    fn has_space(&self, group: &[Pending]) -> bool {
        let view = self.view();
        let load = group.iter().fold(view.load(), |load, pending| load.plus(pending.batch.load()));
        let long: u64 = group.iter().map(|pending| long_pages(&pending.batch)).sum();
        if load == Load::default() {
            return true;
        }
        let (available, data_pages) = (self.space.available(), self.pages.layout.data_pages());
        let used = u64::from(data_pages).saturating_sub(available);
        // Every node may be full and be split by one entry; new nodes are at least half full.
        let split = load.puts.min(used);
        let grown = 2 * load.len / BODY_LEN as u64;
        split + grown + long + 2 * u64::from(view.tree.height) + reserve(data_pages) <= available
    }

    /// Waits until the log takes a record with these changes.
    async fn make_room(&self, group: &[Pending]) -> Result<(), Cause> {
        let len = group.iter().map(|pending| pending.batch.len_max()).sum();
        let layout = &self.pages.layout;
        let len = log::record_len(layout, len);
        loop {
            let ends = self.log.get();
            if ends.has_room(layout, ends.place(layout, len) + len) {
                return Ok(());
            }
            self.checkpoint_once().await?;
            if self.is_poisoned.get() {
                return Err(Cause::Poisoned);
            }
        }
    }

    /// Sends those away that read what has changed since, also by others of this group.
    fn without_conflicts(&self, group: Vec<Pending>) -> Vec<Pending> {
        let view = self.view();
        let mut passed: Vec<Pending> = Vec::with_capacity(group.len());
        for pending in group {
            let is_late = pending.reads.as_ref().is_some_and(|reads| {
                reads.have_changed(&view) || passed.iter().any(|other| reads.are_touched_by(&other.batch))
            });
            if is_late {
                answer(alloc::vec![pending], &Err(Cause::Conflict));
            } else {
                passed.push(pending);
            }
        }
        passed
    }

    /// Makes the batches durable, then visible.
    async fn write(&self, batches: Vec<Batch>) -> Result<(), Cause> {
        let commits = batches.len() as u64;
        let mut taken = Vec::new();
        let ready = async {
            let parts = self.write_values(batches, &mut taken).await?;
            let ends = self.log.get();
            let record = log::encode(&self.pages.layout, self.pages.store_id, ends.sequence, &parts)?;
            Ok((parts, ends, record))
        };
        let (parts, ends, record) = match ready.await {
            Ok(ready) => ready,
            Err(cause) => {
                // No record names these pages.
                taken.into_iter().for_each(|extent| self.space.release(extent));
                return Err(cause);
            }
        };
        let (layout, disk) = (&self.pages.layout, &self.pages.disk);
        let len = record.len() as u64;
        let start = ends.place(layout, len);
        write_record(disk, layout.log_start() + start % layout.log_len(), record).await?;
        disk.flush().await?;
        self.apply(ends.sequence, &parts)?;
        let ends = log::LogEnds { head: start + len, sequence: ends.sequence + 1, ..self.log.get() };
        self.log.set(ends);
        self.count(|counts| (counts.commits, counts.records) = (counts.commits + commits, counts.records + 1));
        if self.is_marked.replace(false) {
            self.unmarked.notify_one();
        }
        if ends.head - ends.tail > layout.log_len() / 2 {
            self.want_checkpoint();
        }
        Ok(())
    }

    fn apply(&self, sequence: u64, parts: &[Bytes]) -> Result<(), Cause> {
        let (view, snapshot) = (self.view(), self.newest_snapshot());
        for part in parts {
            for change in batch::changes(part) {
                let (key, value) = change?;
                view.active.insert(key, sequence, value, snapshot);
            }
        }
        Ok(())
    }

    /// Writes long values to pages of their own, which are safe before a record names them.
    async fn write_values(&self, batches: Vec<Batch>, taken: &mut Vec<Extent>) -> Result<Vec<Bytes>, Cause> {
        let mut parts = Vec::with_capacity(batches.len());
        let any = batches.iter().any(|batch| !batch.long().is_empty());
        for batch in batches {
            let mut blobs = Vec::with_capacity(batch.long().len());
            for long in batch.long() {
                blobs.push(self.write_value(&long.value, taken).await?);
            }
            parts.push(batch.encode(&blobs));
        }
        if any {
            self.pages.disk.flush().await?;
        }
        Ok(parts)
    }

    async fn write_value(&self, value: &[u8], taken: &mut Vec<Extent>) -> Result<Blob, Cause> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut rest = value;
        while !rest.is_empty() {
            let extent = self.space.take(&self.pages, rest.len().div_ceil(PAGE_LEN) as u32).await?;
            taken.push(extent.clone());
            let part;
            (part, rest) = rest.split_at(rest.len().min(extent.len() * PAGE_LEN));
            self.write_extent(extent.start, part).await?;
            match extents.last_mut().filter(|last| last.end == extent.start) {
                Some(last) => last.end = extent.end,
                None => extents.push(extent),
            }
        }
        let place = match extents.len() <= EXTENTS_SHORT_MAX {
            true => Place::Extents(extents),
            false => self.write_list(&extents, taken).await?,
        };
        Ok(Blob { len: value.len() as u32, sum: crc32c(0, value), place })
    }

    async fn write_extent(&self, page: u32, bytes: &[u8]) -> Result<(), Cause> {
        let whole = bytes.len() - bytes.len() % PAGE_LEN;
        write_all(&self.pages.disk, offset_of(page), &bytes[..whole]).await?;
        if whole == bytes.len() {
            return Ok(());
        }
        let mut last = Buffer::try_new(PAGE_LEN).ok_or(Cause::OutOfMemory)?;
        last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
        last[bytes.len() - whole..].fill(0);
        self.pages.disk.write(offset_of(page) + whole as u64, last).await
    }

    async fn write_list(&self, extents: &[Extent], taken: &mut Vec<Extent>) -> Result<Place, Cause> {
        let page = self.space.take(&self.pages, 1).await?.start;
        taken.push(page..page + 1);
        let mut buffer = Buffer::try_new(PAGE_LEN).ok_or(Cause::OutOfMemory)?;
        buffer.fill(0);
        for (extent, place) in extents.iter().zip(buffer[HEADER_LEN..].chunks_exact_mut(EXTENT_LEN)) {
            place.copy_from_slice(&encode_extent(extent));
        }
        let (store_id, generation, count) = (self.pages.store_id, self.generation.get(), extents.len() as u16);
        let sum = Header { page, store_id, generation, kind: Kind::Extents, level: 0, count }.seal(&mut buffer);
        self.pages.disk.write(offset_of(page), buffer).await?;
        Ok(Place::Listed(super::layout::Pointer { page, sum }))
    }
}

/// Pages that long values take.
fn long_pages(batch: &Batch) -> u64 {
    batch.long().iter().map(|long| long.value.len().div_ceil(PAGE_LEN) as u64 + 1).sum()
}
