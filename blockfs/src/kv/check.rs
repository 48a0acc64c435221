//! [`check`]: reads everything of a store and says what is wrong with it.

use super::{
    layout::{PAGE_LEN, Pointer},
    page::Node,
    pages::Pages,
    ranges::RangeSet,
    shared::Shared,
    value::{Extent, Stored},
};
use crate::{
    Disk,
    error::{Cause, Error, Result},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use bytes::Bytes;
use core::{future::Future, pin::Pin};

/// More faults than this are counted, not described.
const FAULTS_MAX: usize = 100;

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Entries of the tree.
    pub entries: u64,
    /// Keys in the log that are not in the tree yet.
    pub log_keys: u64,
    /// Bytes of the tree.
    pub tree_len: u64,
    /// Bytes of long values.
    pub value_len: u64,
    /// Bytes for entries, used or not.
    pub total: u64,
    /// Levels of the tree.
    pub height: u32,
    /// Checkpoints since the store was made.
    pub generation: u64,
    /// Pages that are in use by the map of free space, and that nothing leads to.
    pub lost_pages: u64,
    /// What is wrong, in sentences; at most a hundred.
    pub faults: Vec<String>,
    /// How much is wrong.
    pub fault_count: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.fault_count == 0
    }

    fn fault(&mut self, what: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(what);
        }
    }
}

/// Reads every page that the store uses and looks at everything that must be true: checksums, order of the keys, levels,
/// and that every page is used once, or free. Writes nothing. Needs memory for each stretch of used pages.
///
/// # Errors
///
/// There is no store on the disk, or its superblocks, its summary of free space or its log cannot be read. All other
/// damage is in the report.
pub async fn check(disk: Disk) -> Result<Report> {
    let checked = async {
        let shared = Shared::open(disk, true).await?;
        let mut checker =
            Checker { pages: &shared.pages, used: RangeSet::default(), report: Report::default(), last: None };
        checker.run(&shared).await?;
        Ok(checker.report)
    };
    checked.await.map_err(|cause| Error::new("check the key-value store", "", cause))
}

struct Checker<'a> {
    pages: &'a Pages,
    used: RangeSet,
    report: Report,
    /// The key before.
    last: Option<Bytes>,
}

impl Checker<'_> {
    async fn run(&mut self, shared: &Shared) -> Result<(), Cause> {
        let view = shared.view();
        let tree = &view.tree;
        self.report.height = tree.height;
        self.report.generation = shared.generation.get();
        self.report.total = u64::from(self.pages.layout.data_pages()) * PAGE_LEN as u64;
        if let Some(root) = tree.root {
            self.node(root, tree.height - 1, None, None).await;
        }
        if self.report.entries != tree.entries && self.report.is_clean() {
            let (found, expected) = (self.report.entries, tree.entries);
            self.report.fault(format!("the tree has {found} entries, and its superblock says {expected}"));
        }
        self.space(shared).await;
        self.log(shared).await;
        Ok(())
    }

    /// A node and all below it. Its keys are from `lower` on and before `upper`.
    fn node<'b>(
        &'b mut self,
        at: Pointer,
        level: u32,
        lower: Option<Bytes>,
        upper: Option<Bytes>,
    ) -> Pin<Box<dyn Future<Output = ()> + 'b>> {
        Box::pin(async move {
            let result = async {
                let node = self.pages.node(at, level).await?;
                self.use_pages(at.page..at.page + 1);
                self.report.tree_len += PAGE_LEN as u64;
                self.entries(&node, level, lower, upper).await
            };
            if let Err(cause) = result.await {
                self.report.fault(format!("page {} of the tree: {cause}", at.page));
            }
        })
    }

    async fn entries(
        &mut self,
        node: &Node,
        level: u32,
        lower: Option<Bytes>,
        upper: Option<Bytes>,
    ) -> Result<(), Cause> {
        for number in 0..node.len() {
            let key = node.item(number)?.key;
            // The first child takes whatever is before the others.
            let is_first = level > 0 && number == 0;
            let is_low = !is_first && lower.as_ref().is_some_and(|lower| key < *lower);
            if is_low || upper.as_ref().is_some_and(|upper| key >= *upper) {
                self.report.fault(format!("the key {key:?} is not where it is looked for"));
            }
            if level > 0 {
                let next = if number + 1 < node.len() { Some(node.item(number + 1)?.key) } else { upper.clone() };
                let lower = if is_first { lower.clone() } else { Some(key) };
                self.node(node.child(number)?, level - 1, lower, next).await;
            } else {
                if self.last.as_ref().is_some_and(|last| *last >= key) {
                    self.report.fault(format!("the key {key:?} is out of order"));
                }
                self.report.entries += 1;
                self.value(&key, node.value(number)?).await;
                self.last = Some(key);
            }
        }
        Ok(())
    }

    async fn value(&mut self, key: &Bytes, value: Stored) {
        if !value.is_blob {
            return;
        }
        let result = async {
            let extents = self.pages.pages_of(&value).await?;
            for extent in extents {
                self.report.value_len += (extent.len() * PAGE_LEN) as u64;
                self.use_pages(extent);
            }
            self.pages.value(value).await
        };
        if let Err(cause) = result.await {
            self.report.fault(format!("the value of {key:?}: {cause}"));
        }
    }

    fn use_pages(&mut self, extent: Extent) {
        if let Some(page) = self.used.next(extent.start).filter(|page| *page < extent.end) {
            self.report.fault(format!("page {page} is used twice"));
        }
        self.used.insert(extent);
    }

    /// Compares what is used with the map of free space.
    async fn space(&mut self, shared: &Shared) {
        let mut marked = 0;
        for group in 0..self.pages.layout.groups {
            match shared.space.check(self.pages, group).await {
                Ok(count) => marked += u64::from(count),
                Err(cause) => return self.report.fault(format!("the free pages of group {group}: {cause}")),
            }
        }
        let used = self.used.clone();
        for page in used.iter().flatten() {
            match shared.space.is_used(self.pages, page).await {
                Ok(true) => {}
                Ok(false) => self.report.fault(format!("page {page} is used, and free by the map of free space")),
                Err(cause) => return self.report.fault(format!("the map of free space: {cause}")),
            }
        }
        self.report.lost_pages = marked.saturating_sub(used.len());
        if self.report.lost_pages > 0 && self.report.is_clean() {
            self.report.fault(format!("{} pages are not free, and nothing leads to them", self.report.lost_pages));
        }
    }

    /// Reads the long values that are in the log.
    async fn log(&mut self, shared: &Shared) {
        let table = shared.view().active.clone();
        let mut after: Option<Bytes> = None;
        loop {
            let changes = table.changes_after(after.as_deref(), 256);
            let Some(last) = changes.last() else { return };
            after = Some(last.key.clone());
            self.report.log_keys += changes.len() as u64;
            for change in changes {
                if let Some(value) = change.value.filter(|value| value.is_blob)
                    && let Err(cause) = self.pages.value(value).await
                {
                    self.report.fault(format!("the value of {:?}: {cause}", change.key));
                }
            }
        }
    }
}
