//! The tree of a checkpoint: sorted entries in pages that never change.

use super::{layout::Pointer, page::Node, pages::Pages, value::Stored};
use crate::error::Cause;
use alloc::{rc::Rc, vec::Vec};
use bytes::Bytes;
use core::ops::Bound;

/// A tree. Its pages stay what they are as long as somebody has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub root: Option<Pointer>,
    /// Levels; 0 when it is empty.
    pub height: u32,
    pub entries: u64,
}

impl Tree {
    pub(super) async fn get(&self, pages: &Pages, key: &[u8]) -> Result<Option<Stored>, Cause> {
        let Some(mut at) = self.root else { return Ok(None) };
        for level in (1..self.height).rev() {
            let node = pages.node(at, level).await?;
            at = node.child(node.child_for(key)?)?;
        }
        let leaf = pages.node(at, 0).await?;
        match leaf.search(key)? {
            Ok(number) => Ok(Some(leaf.value(number)?)),
            Err(_) => Ok(None),
        }
    }
}

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Forward,
    Back,
}

/// A place in a tree.
pub(super) struct Cursor {
    tree: Rc<Tree>,
    way: Way,
    /// Nodes from the root to a leaf, with the number of an entry in each. Empty at the end.
    path: Vec<(Node, usize)>,
}

impl Cursor {
    /// The first entry within `bound` in this direction.
    pub(super) async fn seek(pages: &Pages, tree: Rc<Tree>, way: Way, bound: Bound<&[u8]>) -> Result<Cursor, Cause> {
        let mut cursor = Cursor { tree, way, path: Vec::new() };
        let Some(mut at) = cursor.tree.root else { return Ok(cursor) };
        for level in (0..cursor.tree.height).rev() {
            let node = pages.node(at, level).await?;
            let number = match (bound, way) {
                (Bound::Unbounded, Way::Forward) => 0,
                (Bound::Unbounded, Way::Back) => node.len() - 1,
                (Bound::Included(key) | Bound::Excluded(key), _) if level > 0 => node.child_for(key)?,
                (Bound::Included(key), _) => place(node.search(key)?, way, true),
                (Bound::Excluded(key), _) => place(node.search(key)?, way, false),
            };
            if level > 0 {
                at = node.child(number)?;
            }
            cursor.path.push((node, number));
        }
        cursor.settle(pages).await?;
        Ok(cursor)
    }

    /// The entry it is at.
    pub(super) fn peek(&self) -> Option<(&Node, usize)> {
        let (leaf, number) = self.path.last()?;
        Some((leaf, *number))
    }

    pub(super) async fn step(&mut self, pages: &Pages) -> Result<(), Cause> {
        if let Some((_, number)) = self.path.last_mut() {
            *number = next(*number, self.way);
        }
        self.settle(pages).await
    }

    /// Goes on to the next leaf if this one has no more entries.
    async fn settle(&mut self, pages: &Pages) -> Result<(), Cause> {
        let levels = self.path.len();
        while self.path.last().is_some_and(|(node, number)| *number >= node.len()) {
            self.path.pop();
            if let Some((_, number)) = self.path.last_mut() {
                *number = next(*number, self.way);
            }
        }
        while !self.path.is_empty() && self.path.len() < levels {
            let (node, number) = &self.path[self.path.len() - 1];
            let child = pages.node(node.child(*number)?, (levels - self.path.len() - 1) as u32).await?;
            let number = if self.way == Way::Forward { 0 } else { child.len() - 1 };
            self.path.push((child, number));
        }
        Ok(())
    }
}

/// One further; beyond every node at the end.
fn next(number: usize, way: Way) -> usize {
    match way {
        Way::Forward => number + 1,
        Way::Back => number.checked_sub(1).unwrap_or(usize::MAX),
    }
}

/// Where to start after a search.
fn place(found: Result<usize, usize>, way: Way, is_included: bool) -> usize {
    match (found, way) {
        (Ok(number), _) if is_included => number,
        (Ok(number), way) => next(number, way),
        (Err(after), Way::Forward) => after,
        (Err(after), Way::Back) => next(after, Way::Back),
    }
}

/// A key of its own, from a node.
pub(super) fn key_of(node: &Node, number: usize) -> Result<Bytes, Cause> {
    Ok(node.item(number)?.key)
}
