//! [`Range`]: entries one after the other, from both ends.

use super::{
    memtable::{Found, is_empty},
    snapshot::Moment,
    tree::{Cursor, Way, key_of},
};
use crate::error::{Cause, Error, Result};
use alloc::rc::Rc;
use bytes::Bytes;
use core::{cmp::Ordering, ops::Bound};

/// An entry: key and value.
pub type Pair = (Bytes, Bytes);

/// Entries of a [`Snapshot`](super::Snapshot) in order, from both ends. It holds one page per level of the tree and
/// direction, however many entries there are.
pub struct Range {
    moment: Rc<Moment>,
    /// What is left.
    bounds: (Bound<Bytes>, Bound<Bytes>),
    front: Option<Cursor>,
    back: Option<Cursor>,
}

impl Range {
    pub(super) fn new(moment: Rc<Moment>, start: Bound<Bytes>, end: Bound<Bytes>) -> Range {
        Range { moment, bounds: (start, end), front: None, back: None }
    }

    /// The next entry from the start; none when all were seen, from whichever end. When dropped early, the entry is
    /// met again.
    ///
    /// # Errors
    ///
    /// The disk failed or is damaged; there is no memory for the value. The entry is met again.
    pub async fn next(&mut self) -> Result<Option<Pair>> {
        self.advance(Way::Forward).await.map_err(|cause| Error::new("read the next entry", "", cause))
    }

    /// The next entry from the end.
    ///
    /// # Errors
    ///
    /// As for [`next`](Self::next).
    pub async fn next_back(&mut self) -> Result<Option<Pair>> {
        self.advance(Way::Back).await.map_err(|cause| Error::new("read the entry before", "", cause))
    }

    async fn advance(&mut self, way: Way) -> Result<Option<Pair>, Cause> {
        while let Some((key, stored)) = self.peek(way).await? {
            if let Some(stored) = stored {
                let value = self.moment.shared.pages.value(stored).await?;
                self.narrow(way, &key);
                return Ok(Some((key, value)));
            }
            self.narrow(way, &key);
        }
        Ok(None)
    }

    fn narrow(&mut self, way: Way, key: &Bytes) {
        match way {
            Way::Forward => self.bounds.0 = Bound::Excluded(key.clone()),
            Way::Back => self.bounds.1 = Bound::Excluded(key.clone()),
        }
    }

    /// The outermost key that is left, from the tables or the tree.
    async fn peek(&mut self, way: Way) -> Result<Option<Found>, Cause> {
        let bounds = (borrowed(&self.bounds.0), borrowed(&self.bounds.1));
        if is_empty(&bounds) {
            return Ok(None);
        }
        let (view, sequence) = (&self.moment.view, self.moment.sequence);
        let mut best: Option<Found> = None;
        for table in [Some(&view.active), view.frozen.as_ref()].into_iter().flatten() {
            let found = match way {
                Way::Forward => table.first(bounds, sequence),
                Way::Back => table.last(bounds, sequence),
            };
            // Of equal keys the one in the newer table counts, which came first.
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| order(way, &found.0, &best.0).is_lt())
            {
                best = Some(found);
            }
        }
        let Some((node, number)) = self.peek_tree(way).await? else { return Ok(best) };
        match &best {
            Some((key, _)) if order(way, key, node.key(number)?).is_le() => Ok(best),
            _ => Ok(Some((key_of(&node, number)?, Some(node.value(number)?)))),
        }
    }

    /// The outermost entry of the tree that is left.
    async fn peek_tree(&mut self, way: Way) -> Result<Option<(super::page::Node, usize)>, Cause> {
        let pages = &self.moment.shared.pages;
        let bound = if way == Way::Forward { &self.bounds.0 } else { &self.bounds.1 };
        let slot = if way == Way::Forward { &mut self.front } else { &mut self.back };
        let cursor = match slot {
            Some(cursor) => cursor,
            None => slot.insert(Cursor::seek(pages, self.moment.view.tree.clone(), way, borrowed(bound)).await?),
        };
        loop {
            let Some((node, number)) = cursor.peek() else { return Ok(None) };
            let key = node.key(number)?;
            if !is_within(key, way, &self.bounds) {
                return Ok(None);
            }
            if is_beyond(key, way, bound) {
                return Ok(Some((node.clone(), number)));
            }
            cursor.step(pages).await?;
        }
    }
}

fn borrowed(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

fn order(way: Way, a: &[u8], b: &[u8]) -> Ordering {
    if way == Way::Forward { a.cmp(b) } else { b.cmp(a) }
}

/// Whether `key` is not before the bound from which it goes on.
fn is_beyond(key: &[u8], way: Way, bound: &Bound<Bytes>) -> bool {
    match bound {
        Bound::Unbounded => true,
        Bound::Included(bound) => order(way, key, bound).is_ge(),
        Bound::Excluded(bound) => order(way, key, bound).is_gt(),
    }
}

/// Whether `key` is not after the bound at which it ends.
fn is_within(key: &[u8], way: Way, bounds: &(Bound<Bytes>, Bound<Bytes>)) -> bool {
    match if way == Way::Forward { &bounds.1 } else { &bounds.0 } {
        Bound::Unbounded => true,
        Bound::Included(bound) => order(way, key, bound).is_le(),
        Bound::Excluded(bound) => order(way, key, bound).is_lt(),
    }
}
