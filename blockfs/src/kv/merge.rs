//! Merges sorted changes into a tree, copy on write: every page on the way to a change is written anew, elsewhere.

use super::{
    layout::{BODY_LEN, Pointer},
    page::{Body, DAMAGED_NODE, Header, Item, Kind, write_items},
    pages::{PageWriter, Pages},
    ranges::RangeSet,
    space::Space,
    tree::Tree,
    value::{Extent, Stored},
};
use crate::error::Cause;
use alloc::{boxed::Box, vec, vec::Vec};
use bytes::Bytes;
use core::{future::Future, pin::Pin};
use unikernel_rt::device::Buffer;

/// A node with less in it is joined with its neighbour.
const NODE_LEN_MIN: usize = BODY_LEN / 4;

/// A key and its new value; none removes it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub key: Bytes,
    pub value: Option<Stored>,
}

/// The work of one checkpoint.
pub(super) struct Merger<'a> {
    pages: &'a Pages,
    space: &'a Space,
    generation: u64,
    writer: PageWriter,
    /// Pages that it took and that are in the new tree.
    pub fresh: RangeSet,
    /// Pages of values that are in the new tree and were not in the old one.
    pub values: RangeSet,
    /// Pages that are in the old tree and not in the new one.
    pub freed: Vec<Extent>,
    entries: u64,
}

impl<'a> Merger<'a> {
    pub(super) fn new(pages: &'a Pages, space: &'a Space, generation: u64) -> Merger<'a> {
        let (fresh, values) = (RangeSet::default(), RangeSet::default());
        Merger { pages, space, generation, writer: PageWriter::default(), fresh, values, freed: Vec::new(), entries: 0 }
    }

    /// The tree with `changes`, which are sorted and have each key once. All its pages are written.
    pub(super) async fn apply(&mut self, tree: &Tree, changes: &[Change]) -> Result<Tree, Cause> {
        self.entries = tree.entries;
        let mut level = tree.height.saturating_sub(1);
        let mut items = match tree.root {
            Some(root) => self.items(root, level, Bytes::new(), changes).await?,
            None => self.leaf(Vec::new(), changes).await?,
        };
        let tree = loop {
            match &items[..] {
                [] => break Tree { root: None, height: 0, entries: self.entries },
                [Item { body: Body::Child(root), .. }] => {
                    break Tree { root: Some(*root), height: level, entries: self.entries };
                }
                _ => items = self.pack(items, level, Bytes::new()).await?,
            }
            level += 1;
        };
        self.writer.finish(&self.pages.disk).await?;
        Ok(tree)
    }

    /// Gives back everything it took: it failed.
    pub(super) fn abandon(self) {
        self.fresh.iter().for_each(|extent| self.space.release(extent));
    }

    /// The entries of a node after `changes`; the node itself is given up. `lower` is where its keys begin.
    fn items<'b>(
        &'b mut self,
        at: Pointer,
        level: u32,
        lower: Bytes,
        changes: &'b [Change],
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Item>, Cause>> + 'b>> {
        Box::pin(async move {
            if self.writer.has(at.page) {
                self.writer.finish(&self.pages.disk).await?;
            }
            let node = self.pages.node(at, level).await?;
            let mut items = (0..node.len()).map(|number| node.item(number)).collect::<Result<Vec<_>, _>>()?;
            self.give_up(at.page);
            if level == 0 {
                return self.leaf(items, changes).await;
            }
            // The first child also has keys before its own; here it may become one that is not the first.
            items[0].key = lower;
            self.children(items, level - 1, changes).await
        })
    }

    /// The children at `level` after `changes`.
    async fn children(&mut self, old: Vec<Item>, level: u32, mut changes: &[Change]) -> Result<Vec<Item>, Cause> {
        let mut done: Vec<Item> = Vec::new();
        // What is left of children and too little for a node.
        let mut open: Vec<Item> = Vec::new();
        let mut open_lower = Bytes::new();
        let mut rest = old.into_iter().peekable();
        while let Some(item) = rest.next() {
            let end = rest.peek().map_or(changes.len(), |next| changes.partition_point(|change| change.key < next.key));
            let part;
            (part, changes) = changes.split_at(end);
            if part.is_empty() && open.is_empty() {
                done.push(item);
                continue;
            }
            let Body::Child(child) = item.body else { return Err(DAMAGED_NODE) };
            if open.is_empty() {
                open_lower = item.key.clone();
            }
            open.extend(self.items(child, level, item.key, part).await?);
            if len_of(&open) >= NODE_LEN_MIN {
                done.extend(self.pack(core::mem::take(&mut open), level, open_lower.clone()).await?);
            }
        }
        if open.is_empty() {
            return Ok(done);
        }
        if let Some(before) = done.pop() {
            let Body::Child(child) = before.body else { return Err(DAMAGED_NODE) };
            open_lower = before.key.clone();
            let mut items = self.items(child, level, before.key, &[]).await?;
            items.append(&mut open);
            open = items;
        }
        done.extend(self.pack(open, level, open_lower).await?);
        Ok(done)
    }

    /// The entries of a leaf after `changes`.
    async fn leaf(&mut self, old: Vec<Item>, changes: &[Change]) -> Result<Vec<Item>, Cause> {
        let mut items = Vec::with_capacity(old.len() + changes.len());
        let mut old = old.into_iter().peekable();
        for change in changes {
            while let Some(item) = old.next_if(|item| item.key < change.key) {
                items.push(item);
            }
            let before = old.next_if(|item| item.key == change.key);
            let before = before.and_then(|item| if let Body::Value(value) = item.body { Some(value) } else { None });
            self.replace(before.as_ref(), change.value.as_ref()).await?;
            if let Some(value) = &change.value {
                items.push(Item { key: change.key.clone(), body: Body::Value(value.clone()) });
            }
        }
        items.extend(old);
        Ok(items)
    }

    /// Keeps account of entries and of the pages that values have.
    async fn replace(&mut self, before: Option<&Stored>, after: Option<&Stored>) -> Result<(), Cause> {
        self.entries =
            (self.entries + u64::from(after.is_some())).checked_sub(before.is_some().into()).ok_or(DAMAGED_NODE)?;
        if before == after {
            // The log is read again after a checkpoint that did not get to its end: the value is in the tree already.
            if let Some(value) = after {
                let extents = self.pages.pages_of(value).await?;
                extents.into_iter().for_each(|extent| self.space.release(extent));
            }
            return Ok(());
        }
        if let Some(value) = before {
            self.freed.extend(self.pages.pages_of(value).await?);
        }
        if let Some(value) = after {
            self.pages.pages_of(value).await?.into_iter().for_each(|extent| self.values.insert(extent));
        }
        Ok(())
    }

    /// Writes entries as nodes at `level`. Returns the entries of those.
    async fn pack(&mut self, items: Vec<Item>, level: u32, lower: Bytes) -> Result<Vec<Item>, Cause> {
        let mut packed: Vec<Item> = Vec::new();
        let mut start = 0;
        for end in ends(&items) {
            let key = match start {
                0 => lower.clone(),
                _ if level == 0 => separator(&items[start - 1].key, &items[start].key),
                _ => items[start].key.clone(),
            };
            let body = Body::Child(self.write(&items[start..end], level).await?);
            packed.push(Item { key, body });
            start = end;
        }
        Ok(packed)
    }

    async fn write(&mut self, items: &[Item], level: u32) -> Result<Pointer, Cause> {
        let page = self.space.take(self.pages, 1).await?.start;
        self.fresh.insert(page..page + 1);
        let mut buffer = Buffer::try_new(super::layout::PAGE_LEN).ok_or(Cause::OutOfMemory)?;
        write_items(&mut buffer, items);
        let (store_id, generation, count) = (self.pages.store_id, self.generation, items.len() as u16);
        let sum = Header { page, store_id, generation, kind: Kind::Node, level: level as u8, count }.seal(&mut buffer);
        self.writer.add(&self.pages.disk, page, buffer).await?;
        Ok(Pointer { page, sum })
    }

    /// A page of the tree is not needed any more.
    fn give_up(&mut self, page: u32) {
        let extent = page..page + 1;
        if self.fresh.contains(page) {
            self.fresh.remove(extent.clone());
            self.space.release(extent);
        } else {
            self.freed.push(extent);
        }
    }
}

fn len_of(items: &[Item]) -> usize {
    items.iter().map(Item::len).sum()
}

/// Where nodes end: each is as full as it can be, and the last two are about even.
fn ends(items: &[Item]) -> Vec<usize> {
    let (mut ends, mut lens) = (vec![], vec![]);
    let mut len = 0;
    for (number, item) in items.iter().enumerate() {
        if len + item.len() > BODY_LEN {
            ends.push(number);
            lens.push(len);
            len = 0;
        }
        len += item.len();
    }
    if let (Some(end), Some(left)) = (ends.last_mut(), lens.last_mut()) {
        while *left - items[*end - 1].len() >= len + items[*end - 1].len() {
            *end -= 1;
            *left -= items[*end].len();
            len += items[*end].len();
        }
    }
    if !items.is_empty() {
        ends.push(items.len());
    }
    ends
}

/// The shortest key that is after `before` and not after `after`.
fn separator(before: &Bytes, after: &Bytes) -> Bytes {
    let common = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    after.slice(..after.len().min(common + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(len: usize) -> Item {
        let value = Stored { bytes: vec![0; len - 7].into(), is_blob: false };
        Item { key: vec![1].into(), body: Body::Value(value) }
    }

    fn check(lens: &[usize], expected: &[usize]) {
        let items: Vec<Item> = lens.iter().map(|len| item(*len)).collect();
        let ends = ends(&items);
        assert_eq!(ends, expected);
        let starts = core::iter::once(0).chain(ends.iter().copied());
        assert!(starts.zip(&ends).all(|(start, end)| len_of(&items[start..*end]) <= BODY_LEN));
    }

    #[test]
    fn entries_in_nodes() {
        check(&[], &[]);
        check(&[100], &[1]);
        check(&[2032, 2032], &[2]);
        check(&[2032, 2032, 2032], &[2, 3]);
        check(&[1000; 5], &[3, 5]);
        check(&[1000; 9], &[4, 7, 9]);
        check(&[2032, 10, 2032, 10], &[2, 4]);
        check(&[50; 82], &[41, 82]);
    }

    #[test]
    fn separators() {
        for (before, after, expected) in
            [("a", "b", "b"), ("abc", "abdef", "abd"), ("ab", "abc", "abc"), ("", "xyz", "x")]
        {
            let (before, after) = (Bytes::from_static(before.as_bytes()), Bytes::from_static(after.as_bytes()));
            assert_eq!(separator(&before, &after), expected);
        }
    }
}
