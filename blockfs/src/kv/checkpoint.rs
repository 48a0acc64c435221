//! Checkpoints: what is in the log comes into the tree, so that the log's space is free again.
//!
//! They are made beside the writer, who goes on with a second table. Nothing that the superblock on the disk leads to is
//! overwritten before the next superblock is safe.

use super::{
    layout::Superblock,
    log::LogEnds,
    memtable::Memtable,
    merge::Merger,
    ranges::RangeSet,
    shared::{Shared, View, write_superblock},
    space::DAMAGED_SPACE,
    tree::Tree,
};
use crate::error::Cause;
use alloc::rc::Rc;

/// Keys that are merged at once: so many changed leaves are in memory.
const CHANGES_MAX: u64 = 256;

/// Runs until the store is closed.
pub(super) async fn run(shared: Rc<Shared>) {
    while !shared.is_closed.get() {
        if !shared.wants_checkpoint.take() {
            shared.wanted.notified().await;
            continue;
        }
        let result = if shared.is_poisoned.get() { Err(Cause::Poisoned) } else { shared.checkpoint().await };
        if result.as_ref().is_err_and(|cause| !matches!(cause, Cause::OutOfMemory | Cause::Full)) {
            shared.is_poisoned.set(true);
        }
        *shared.stall.borrow_mut() = result.err();
        shared.progress.notify_all();
    }
    *shared.stall.borrow_mut() = Some(Cause::Closed);
    shared.progress.notify_all();
}

impl Shared {
    /// Merges the table that is frozen, or the active one.
    async fn checkpoint(&self) -> Result<(), Cause> {
        let Some((frozen, boundary)) = self.freeze() else { return Ok(()) };
        let mut tree = (*self.view().tree).clone();
        let mut merger = Merger::new(&self.pages, &self.space, self.generation.get() + 1);
        let mut after = None;
        loop {
            let cost = 2 * u64::from(tree.height + 2);
            if self.space.available() < 4 * cost && !merger.fresh.is_empty() {
                self.publish(merger, &tree, &frozen, None).await?;
                merger = Merger::new(&self.pages, &self.space, self.generation.get() + 1);
            }
            // Half of what is left is for values that are written meanwhile.
            let most = (self.space.available() / 2 / cost).clamp(1, CHANGES_MAX);
            let changes = frozen.changes_after(after.as_deref(), most as usize);
            let Some(last) = changes.last() else { break };
            match merger.apply(&tree, &changes).await {
                Ok(next) => tree = next,
                Err(cause) => {
                    merger.abandon();
                    return Err(cause);
                }
            }
            after = Some(last.key.clone());
        }
        self.publish(merger, &tree, &frozen, Some(boundary)).await?;
        self.boundary.set(None);
        self.count(|counts| counts.checkpoints += 1);
        Ok(())
    }

    /// The table to be merged, and where the log ended when its last change came. None when nothing waits.
    fn freeze(&self) -> Option<(Rc<Memtable>, LogEnds)> {
        let view = self.view();
        if let (Some(frozen), Some(boundary)) = (&view.frozen, self.boundary.get()) {
            return Some((frozen.clone(), boundary));
        }
        if view.active.is_empty() {
            return None;
        }
        let boundary = self.log.get();
        self.boundary.set(Some(boundary));
        let frozen = view.active.clone();
        let next = View { active: Rc::default(), frozen: Some(frozen.clone()), tree: view.tree.clone() };
        *self.view.borrow_mut() = Rc::new(next);
        Some((frozen, boundary))
    }

    /// Makes a tree the one that is on the disk. With `boundary`, all of the table is in it, and the log begins there;
    /// otherwise a part, and the log stays.
    async fn publish(
        &self,
        merger: Merger<'_>,
        tree: &Tree,
        frozen: &Memtable,
        boundary: Option<LogEnds>,
    ) -> Result<(), Cause> {
        let generation = self.generation.get() + 1;
        let mut used = merger.fresh;
        merger.values.iter().for_each(|extent| used.insert(extent));
        let mut freed = RangeSet::default();
        for extent in &merger.freed {
            if extent.clone().any(|page| freed.contains(page)) {
                return Err(DAMAGED_SPACE);
            }
            freed.insert(extent.clone());
        }
        let mut given_up = merger.freed;
        for value in frozen.take_dead() {
            given_up.extend(self.pages.pages_of(&value).await?);
        }
        let prepared = self.space.prepare(&self.pages, generation, &used, &freed).await?;
        let disk = &self.pages.disk;
        disk.flush().await?;
        let (tail, sequence) = match boundary {
            Some(boundary) => (boundary.head, Some(boundary.sequence)),
            None => (self.log.get().tail, None),
        };
        let superblock = self.superblock(generation, tree, tail, sequence);
        write_superblock(disk, &superblock).await?;
        disk.flush().await?;
        self.generation.set(generation);
        self.tail_sequence.set(superblock.log_sequence);
        self.log.set(LogEnds { tail, ..self.log.get() });
        let view = self.view();
        self.space.commit(prepared, &used, given_up, view.tree.clone());
        let frozen = view.frozen.clone().filter(|_| boundary.is_none());
        *self.view.borrow_mut() = Rc::new(View { active: view.active.clone(), frozen, tree: Rc::new(tree.clone()) });
        Ok(())
    }

    fn superblock(&self, generation: u64, tree: &Tree, tail: u64, sequence: Option<u64>) -> Superblock {
        let layout = self.pages.layout;
        Superblock {
            layout,
            store_id: self.pages.store_id,
            generation,
            root: tree.root,
            height: tree.height,
            log_offset: tail % layout.log_len(),
            log_sequence: sequence.unwrap_or(self.tail_sequence.get()),
            entries: tree.entries,
        }
    }
}
