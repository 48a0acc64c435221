//! Which pages are free.
//!
//! On the disk are a bitmap page per group of pages, in one of two places, and a summary that says which. In memory are the
//! summary and the pages that the bitmap calls free but that are in use: of values and nodes that no checkpoint has
//! yet, and of nodes that a checkpoint gave up but somebody may still read.

use super::{
    layout::{BODY_LEN, GROUP_PAGES, HEADER_LEN, Layout, PAGE_LEN, Pointer, SUMMARY_GROUPS, u32_at, u64_at},
    page::{DAMAGED_PAGE, Header, Kind},
    pages::{Pages, offset_of},
    ranges::RangeSet,
    tree::Tree,
    value::Extent,
};
use crate::error::Cause;
use alloc::{collections::VecDeque, rc::Rc, vec::Vec};
use bytes::Bytes;
use core::cell::RefCell;
use unikernel_rt::device::Buffer;

/// What the summary says of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Pages that its bitmap calls free.
    pub free: u16,
    /// Where its bitmap is; none while the whole group is free.
    pub place: Option<u8>,
    /// The checksum of its bitmap.
    pub sum: u32,
}

pub(super) struct Space {
    layout: Layout,
    state: RefCell<State>,
}

struct State {
    groups: Vec<Group>,
    /// In use, and free by the bitmap.
    busy: RangeSet,
    /// Free by the bitmap.
    free: u64,
    /// Where the search for free pages goes on.
    cursor: u32,
    /// The bitmap that was read last.
    loaded: Option<(u32, Bytes)>,
    /// Changes whenever a bitmap changes.
    epoch: u64,
    /// Pages that were given up with the checkpoint after this tree: who has the tree or an older one may read them.
    pinned: VecDeque<(Rc<Tree>, Vec<Extent>)>,
}

/// Bitmaps that are written, for a summary that is not valid yet.
pub(super) struct Prepared(Vec<(u32, Group)>);

pub(super) const DAMAGED_SPACE: Cause =
    Cause::damaged("the key-value store's map of free space contradicts its contents");

impl Space {
    pub(super) fn new(layout: Layout, groups: Vec<Group>) -> Space {
        let free = groups.iter().map(|group| u64::from(group.free)).sum();
        let state = State {
            groups,
            busy: RangeSet::default(),
            free,
            cursor: layout.data_start(),
            loaded: None,
            epoch: 0,
            pinned: VecDeque::new(),
        };
        Space { layout, state: RefCell::new(state) }
    }

    /// Pages that can be had now.
    pub(super) fn available(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.reap();
        state.free.saturating_sub(state.busy.len())
    }

    /// Pages that can be had once nobody reads old trees.
    pub(super) fn pinned(&self) -> u64 {
        let state = self.state.borrow();
        state.pinned.iter().flat_map(|(_, extents)| extents).map(|extent| extent.len() as u64).sum()
    }

    /// Gives out at least one and at most `most` pages in a row.
    pub(super) async fn take(&self, pages: &Pages, most: u32) -> Result<Extent, Cause> {
        let count = self.state.borrow().groups.len() as u32;
        let (first, _) = self.layout.place_of(self.state.borrow().cursor);
        // The first group is looked at twice: from the cursor on, and from its start.
        for step in 0..=count {
            let group = (first + step) % count;
            if self.state.borrow().groups[group as usize].free == 0 {
                continue;
            }
            let bitmap = self.bitmap(pages, group).await?;
            let mut state = self.state.borrow_mut();
            state.reap();
            let start = if step == 0 { state.cursor } else { self.layout.group_start(group) };
            if let Some(extent) = state.find(&self.layout, group, bitmap.as_deref(), start, most) {
                state.busy.insert(extent.clone());
                state.cursor = if extent.end < self.layout.pages { extent.end } else { self.layout.data_start() };
                return Ok(extent);
            }
        }
        Err(Cause::Full)
    }

    /// Takes back what nobody has seen, or what the bitmap calls used.
    pub(super) fn release(&self, extent: Extent) {
        self.state.borrow_mut().busy.remove(extent);
    }

    /// Notes pages that a value in the log has.
    pub(super) fn occupy(&self, extent: Extent) {
        self.state.borrow_mut().busy.insert(extent);
    }

    /// The bitmap of a group, none where all is free. Up to date until the caller waits for something.
    async fn bitmap(&self, pages: &Pages, group: u32) -> Result<Option<Bytes>, Cause> {
        loop {
            let (at, epoch) = {
                let state = self.state.borrow();
                let known = state.groups[group as usize];
                let Some(place) = known.place else { return Ok(None) };
                match &state.loaded {
                    Some((number, bytes)) if *number == group => return Ok(Some(bytes.clone())),
                    _ => {}
                }
                (Pointer { page: self.layout.bitmap_page(group, place.into()), sum: known.sum }, state.epoch)
            };
            let bytes = pages.load(at, Kind::Bitmap).await?;
            let mut state = self.state.borrow_mut();
            if state.epoch == epoch {
                state.loaded = Some((group, bytes.clone()));
                return Ok(Some(bytes));
            }
        }
    }

    /// Writes bitmaps in which `used` is in use and `freed` is free, where no valid summary looks, and the summary that
    /// will look there. Valid with the superblock of `generation`.
    pub(super) async fn prepare(
        &self,
        pages: &Pages,
        generation: u64,
        used: &RangeSet,
        freed: &RangeSet,
    ) -> Result<Prepared, Cause> {
        let mut changed = Vec::new();
        let mut next = self.next_group(used, freed, 0);
        while let Some(group) = next {
            let bitmap = self.bitmap(pages, group).await?;
            let mut buffer = Buffer::try_new(PAGE_LEN).ok_or(Cause::OutOfMemory)?;
            match &bitmap {
                Some(bytes) => buffer.copy_from_slice(bytes),
                None => buffer.fill(0),
            }
            self.mark(&mut buffer, group, used, true)?;
            self.mark(&mut buffer, group, freed, false)?;
            let place = self.state.borrow().groups[group as usize].place.map_or(0, |place| 1 - place);
            let ones: u32 = buffer[HEADER_LEN..].iter().map(|byte| byte.count_ones()).sum();
            let free = self.layout.group_len(group).checked_sub(ones).ok_or(DAMAGED_SPACE)? as u16;
            let page = self.layout.bitmap_page(group, place.into());
            let header =
                Header { page, store_id: pages.store_id, generation, kind: Kind::Bitmap, level: 0, count: free };
            let sum = header.seal(&mut buffer);
            pages.disk.write(offset_of(page), buffer).await?;
            changed.push((group, Group { free, place: Some(place), sum }));
            next = self.next_group(used, freed, group + 1);
        }
        self.write_summary(pages, generation, &changed).await?;
        Ok(Prepared(changed))
    }

    /// The first group from `group` on in which something changes.
    fn next_group(&self, used: &RangeSet, freed: &RangeSet, group: u32) -> Option<u32> {
        if group >= self.layout.groups {
            return None;
        }
        let start = self.layout.group_start(group);
        let page = [used.next(start), freed.next(start)].into_iter().flatten().min()?;
        Some(self.layout.place_of(page).0)
    }

    /// Sets the bits of those `pages` that are in this group; they must have been otherwise.
    fn mark(&self, bitmap: &mut [u8], group: u32, pages: &RangeSet, is_used: bool) -> Result<(), Cause> {
        let start = self.layout.group_start(group);
        let end = start + self.layout.group_len(group);
        let mut at = pages.next(start);
        while let Some(page) = at.filter(|page| *page < end) {
            let bit = (page - start) as usize;
            let byte = &mut bitmap[HEADER_LEN + bit / 8];
            if (*byte >> (bit % 8) & 1 == 1) == is_used {
                return Err(DAMAGED_SPACE);
            }
            *byte ^= 1 << (bit % 8);
            at = pages.next(page + 1);
        }
        Ok(())
    }

    async fn write_summary(&self, pages: &Pages, generation: u64, changed: &[(u32, Group)]) -> Result<(), Cause> {
        for number in 0..self.layout.summary_pages() {
            let start = number * SUMMARY_GROUPS;
            let end = (start + SUMMARY_GROUPS).min(self.layout.groups);
            let mut groups = self.state.borrow().groups[start as usize..end as usize].to_vec();
            for (group, new) in changed.iter().filter(|(group, _)| (start..end).contains(group)) {
                groups[(group - start) as usize] = *new;
            }
            write_summary_page(pages, generation, number, &groups).await?;
        }
        Ok(())
    }

    /// The superblock is valid: `used` is in the bitmaps now, and `freed` can be given out once nobody has `old`.
    pub(super) fn commit(&self, prepared: Prepared, used: &RangeSet, freed: Vec<Extent>, old: Rc<Tree>) {
        let mut state = self.state.borrow_mut();
        for (number, group) in prepared.0 {
            let before = core::mem::replace(&mut state.groups[number as usize], group);
            state.free = state.free + u64::from(group.free) - u64::from(before.free);
        }
        used.iter().for_each(|extent| state.busy.remove(extent));
        freed.iter().for_each(|extent| state.busy.insert(extent.clone()));
        state.pinned.push_back((old, freed));
        state.epoch += 1;
        state.loaded = None;
    }

    /// The bitmap of a group, to compare it with what is used.
    pub(super) async fn is_used(&self, pages: &Pages, page: u32) -> Result<bool, Cause> {
        let (group, bit) = self.layout.place_of(page);
        let bitmap = self.bitmap(pages, group).await?;
        Ok(bitmap.is_some_and(|bytes| bytes[HEADER_LEN + bit as usize / 8] >> (bit % 8) & 1 == 1))
    }

    /// Checks the bitmap of a group against the summary. Returns how many pages are used.
    pub(super) async fn check(&self, pages: &Pages, group: u32) -> Result<u32, Cause> {
        let (free, len) = (u32::from(self.state.borrow().groups[group as usize].free), self.layout.group_len(group));
        let Some(bytes) = self.bitmap(pages, group).await? else {
            return if free == len { Ok(0) } else { Err(DAMAGED_SPACE) };
        };
        let ones: u32 = bytes[HEADER_LEN..].iter().map(|byte| byte.count_ones()).sum();
        if ones + free == len && next_bit(&bytes[HEADER_LEN..], len, GROUP_PAGES, true) == GROUP_PAGES {
            Ok(ones)
        } else {
            Err(DAMAGED_SPACE)
        }
    }
}

impl State {
    /// Frees what nobody can read any more.
    fn reap(&mut self) {
        while self.pinned.front().is_some_and(|(tree, _)| Rc::strong_count(tree) == 1) {
            let Some((_, extents)) = self.pinned.pop_front() else { return };
            extents.into_iter().for_each(|extent| self.busy.remove(extent));
        }
    }

    /// The first `most` free pages in a row, or else the most there are. From page `start` of the group on.
    fn find(&self, layout: &Layout, group: u32, bitmap: Option<&[u8]>, start: u32, most: u32) -> Option<Extent> {
        let (first, len) = (layout.group_start(group), layout.group_len(group));
        let bits = bitmap.map(|bytes| &bytes[HEADER_LEN..]);
        let next = |from: u32, is_one: bool| match bits {
            Some(bits) => next_bit(bits, from, len, is_one),
            None if is_one => len,
            None => from.min(len),
        };
        let mut best: Option<Extent> = None;
        let mut at = start - first;
        loop {
            at = next(at, false);
            if at >= len {
                return best;
            }
            if let Some(busy) = self.busy.around(first + at) {
                at = busy.end - first;
                continue;
            }
            let busy = self.busy.next(first + at).map_or(len, |page| page - first);
            let end = next(at, true).min(busy).min(at + most).min(len);
            if best.as_ref().is_none_or(|best| best.len() < (end - at) as usize) {
                best = Some(first + at..first + end);
            }
            if end - at == most {
                return best;
            }
            at = end;
        }
    }
}

/// The first bit of this kind from `from` on, or `len`.
fn next_bit(bits: &[u8], from: u32, len: u32, is_one: bool) -> u32 {
    let boring = if is_one { 0 } else { 0xff };
    let mut at = from;
    while at < len {
        let byte = bits[at as usize / 8];
        if byte == boring {
            at = (at / 8 + 1) * 8;
        } else if (byte >> (at % 8) & 1 == 1) == is_one {
            return at;
        } else {
            at += 1;
        }
    }
    len
}

/// Writes one page of the copy of the summary that belongs to `generation`.
pub(super) async fn write_summary_page(
    pages: &Pages,
    generation: u64,
    number: u32,
    groups: &[Group],
) -> Result<(), Cause> {
    let mut buffer = Buffer::try_new(PAGE_LEN).ok_or(Cause::OutOfMemory)?;
    buffer.fill(0);
    for (group, bytes) in groups.iter().zip(buffer[HEADER_LEN..].chunks_exact_mut(8)) {
        bytes[..2].copy_from_slice(&group.free.to_le_bytes());
        bytes[2] = group.place.map_or(0, |place| place + 1);
        bytes[4..].copy_from_slice(&group.sum.to_le_bytes());
    }
    let page = pages.layout.summary_page((generation % 2) as u32, number);
    let (store_id, count) = (pages.store_id, groups.len() as u16);
    Header { page, store_id, generation, kind: Kind::Summary, level: 0, count }.seal(&mut buffer);
    pages.disk.write(offset_of(page), buffer).await
}

/// Reads the summary of `generation`.
pub(super) async fn read_summary(pages: &Pages, generation: u64) -> Result<Vec<Group>, Cause> {
    let layout = &pages.layout;
    let mut groups = Vec::new();
    groups.try_reserve_exact(layout.groups as usize).map_err(|_| Cause::OutOfMemory)?;
    for number in 0..layout.summary_pages() {
        let page = layout.summary_page((generation % 2) as u32, number);
        let bytes = pages.disk.read(offset_of(page), PAGE_LEN).await?;
        super::page::verify(&bytes, Pointer { page, sum: u32_at(&bytes, 0) }, pages.store_id, Kind::Summary)?;
        if u64_at(&bytes, 16) != generation {
            return Err(DAMAGED_PAGE);
        }
        let count = (layout.groups - number * SUMMARY_GROUPS).min(SUMMARY_GROUPS) as usize;
        for entry in bytes[HEADER_LEN..].chunks_exact(8).take(count) {
            let group = Group {
                free: u16::from_le_bytes([entry[0], entry[1]]),
                place: entry[2].checked_sub(1),
                sum: u32_at(entry, 4),
            };
            let len = layout.group_len(groups.len() as u32);
            if u32::from(group.free) > len || group.place.is_some_and(|place| place > 1) {
                return Err(DAMAGED_SPACE);
            }
            groups.push(group);
        }
    }
    Ok(groups)
}

const _: () = assert!(BODY_LEN == GROUP_PAGES as usize / 8);
