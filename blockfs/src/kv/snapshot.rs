//! [`Snapshot`]: what a store was at one moment.

use super::{
    range::Range,
    shared::{Shared, View},
};
use crate::error::{Cause, Error, Result};
use alloc::rc::Rc;
use bytes::Bytes;
use core::ops::{Bound, RangeBounds};

/// What a store was at one moment, while others write. Clones are the same moment.
///
/// It costs little to make. While it is there, pages that it needs are not used again, and the entries of the log at
/// its moment stay in memory: at most about as much as the log is long.
///
/// ```
/// # use unikernel_rt::sim::SimDisk;
/// # unikernel_rt::sim::run("", async {
/// use unikernel_blockfs::{Disk, kv::KvStore};
///
/// # let store = KvStore::open_or_create(Disk::new(SimDisk::new(1 << 20).device())).await?;
/// store.put(b"colour", b"blue").await?;
/// let before = store.snapshot();
/// store.put(b"colour", b"red").await?;
/// assert_eq!(before.get(b"colour").await?.as_deref(), Some(&b"blue"[..]));
/// assert_eq!(store.get(b"colour").await?.as_deref(), Some(&b"red"[..]));
/// # Ok::<_, unikernel_blockfs::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Snapshot(pub(super) Rc<Moment>);

pub(super) struct Moment {
    pub shared: Rc<Shared>,
    pub view: Rc<View>,
    /// The last record of the log that it sees.
    pub sequence: u64,
}

impl Moment {
    pub(super) fn now(shared: &Rc<Shared>) -> Rc<Moment> {
        let sequence = shared.log.get().sequence - 1;
        *shared.snapshots.borrow_mut().entry(sequence).or_default() += 1;
        Rc::new(Moment { shared: shared.clone(), view: shared.view(), sequence })
    }

    pub(super) async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Cause> {
        get(&self.shared, &self.view, key, self.sequence).await
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        let mut snapshots = self.shared.snapshots.borrow_mut();
        if let Some(count) = snapshots.get_mut(&self.sequence) {
            *count -= 1;
            if *count == 0 {
                snapshots.remove(&self.sequence);
            }
        }
    }
}

/// Looks `key` up in the tables, then in the tree.
pub(super) async fn get(shared: &Shared, view: &View, key: &[u8], sequence: u64) -> Result<Option<Bytes>, Cause> {
    let in_tables = view.active.get(key, sequence).or_else(|| view.frozen.as_ref()?.get(key, sequence));
    let stored = match in_tables {
        Some(known) => known,
        None => view.tree.get(&shared.pages, key).await?,
    };
    match stored {
        Some(stored) => Ok(Some(shared.pages.value(stored).await?)),
        None => Ok(None),
    }
}

impl Snapshot {
    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// The disk failed or is damaged; there is no memory for the value.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.0.get(key).await.map_err(|cause| Error::new("get", "", cause))
    }

    /// The entries with keys in `bounds`, such as `&b"a"[..]..&b"b"[..]`, in order.
    pub fn range<'a>(&self, bounds: impl RangeBounds<&'a [u8]>) -> Range {
        let own = |bound: Bound<&&'a [u8]>| bound.map(|key| Bytes::copy_from_slice(key));
        Range::new(self.0.clone(), own(bounds.start_bound()), own(bounds.end_bound()))
    }

    /// All entries whose keys start with `prefix`, in order.
    pub fn prefix(&self, prefix: &[u8]) -> Range {
        let start = Bound::Included(Bytes::copy_from_slice(prefix));
        Range::new(self.0.clone(), start, end_of(prefix))
    }
}

/// The end of all keys that start with `prefix`.
pub(super) fn end_of(prefix: &[u8]) -> Bound<Bytes> {
    let Some(last) = prefix.iter().rposition(|byte| *byte != 0xff) else { return Bound::Unbounded };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Bound::Excluded(end.into())
}
