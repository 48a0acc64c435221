//! [`Transaction`]: reads and writes that happen as if nobody else did anything meanwhile.

use super::{
    KvStore,
    batch::{self, Batch},
    memtable::Memtable,
    shared::View,
    snapshot::{Snapshot, end_of},
};
use crate::error::{Cause, Error, Result};
use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use bytes::Bytes;
use core::{
    cell::RefCell,
    ops::{Bound, RangeBounds},
};

/// Reads and writes of one transaction. It sees the store as it was when the transaction began, and its own writes.
///
/// [`KvStore::transaction`] makes it, runs it, and runs it again when others changed what it read.
pub struct Transaction {
    snapshot: Snapshot,
    writes: RefCell<BTreeMap<Bytes, Option<Bytes>>>,
    reads: RefCell<Vec<Bounds>>,
}

type Bounds = (Bound<Bytes>, Bound<Bytes>);

/// What a transaction read, and when.
pub(super) struct Reads {
    bounds: Vec<Bounds>,
    sequence: u64,
    /// The table that was active then.
    table: Rc<Memtable>,
}

impl Transaction {
    pub(super) fn new(store: &KvStore) -> Transaction {
        Transaction { snapshot: store.snapshot(), writes: RefCell::default(), reads: RefCell::default() }
    }

    /// The value of `key`: its own, or that of the store when the transaction began.
    ///
    /// # Errors
    ///
    /// The disk failed or is damaged; there is no memory for the value.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Some(own) = self.writes.borrow().get(key) {
            return Ok(own.clone());
        }
        let key = Bytes::copy_from_slice(key);
        self.reads.borrow_mut().push((Bound::Included(key.clone()), Bound::Included(key.clone())));
        self.snapshot.get(&key).await
    }

    /// The entries in `bounds`, with its own writes: all of them, so keep the bounds close.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn range<'a>(&self, bounds: impl RangeBounds<&'a [u8]>) -> Result<Vec<(Bytes, Bytes)>> {
        let own = |bound: Bound<&&'a [u8]>| bound.map(|key| Bytes::copy_from_slice(key));
        self.collect(own(bounds.start_bound()), own(bounds.end_bound())).await
    }

    /// The entries whose keys start with `prefix`, with its own writes.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn prefix(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        self.collect(Bound::Included(Bytes::copy_from_slice(prefix)), end_of(prefix)).await
    }

    async fn collect(&self, start: Bound<Bytes>, end: Bound<Bytes>) -> Result<Vec<(Bytes, Bytes)>> {
        self.reads.borrow_mut().push((start.clone(), end.clone()));
        let mut range = super::Range::new(self.snapshot.0.clone(), start.clone(), end.clone());
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = range.next().await? {
            entries.insert(key, value);
        }
        let bounds = (start, end);
        for (key, value) in self.writes.borrow().iter().filter(|(key, _)| bounds.contains(*key)) {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        Ok(entries.into_iter().collect())
    }

    /// Sets `key` to `value` when the transaction is committed.
    ///
    /// # Errors
    ///
    /// The key has more than 1 KiB, or the value more than 1 MiB.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result {
        // The batch has the limits.
        Batch::new().put_bytes(key, &Bytes::copy_from_slice(value))?;
        self.writes.borrow_mut().insert(Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
        Ok(())
    }

    /// Removes `key` when the transaction is committed.
    ///
    /// # Errors
    ///
    /// The key has more than 1 KiB.
    pub fn delete(&self, key: &[u8]) -> Result {
        batch::check_key(key).map_err(|cause| Error::new("delete", "", cause))?;
        self.writes.borrow_mut().insert(Bytes::copy_from_slice(key), None);
        Ok(())
    }

    /// What it writes and read.
    pub(super) fn finish(self) -> Result<(Batch, Reads)> {
        let mut batch = Batch::new();
        for (key, value) in self.writes.into_inner() {
            match value {
                Some(value) => batch.put_bytes(&key, &value)?,
                None => batch.delete(&key)?,
            }
        }
        let moment = &self.snapshot.0;
        let (sequence, table) = (moment.sequence, moment.view.active.clone());
        Ok((batch, Reads { bounds: self.reads.into_inner(), sequence, table }))
    }
}

impl Reads {
    /// Whether something of it changed since.
    pub(super) fn have_changed(&self, now: &View) -> bool {
        let tables = || [Some(&now.active), now.frozen.as_ref()].into_iter().flatten();
        // What changed in a table that is in the tree already is not known any more.
        if !self.bounds.is_empty() && !tables().any(|table| Rc::ptr_eq(table, &self.table)) {
            return true;
        }
        self.bounds.iter().any(|(start, end)| {
            let bounds = (start.as_ref().map(|key| &key[..]), end.as_ref().map(|key| &key[..]));
            tables().any(|table| table.has_changed(bounds, self.sequence))
        })
    }

    /// Whether a batch changes something of it.
    pub(super) fn are_touched_by(&self, batch: &Batch) -> bool {
        batch.keys().any(|key| {
            self.bounds.iter().any(|bounds| {
                let (start, end) = (bounds.0.as_ref().map(|key| &key[..]), bounds.1.as_ref().map(|key| &key[..]));
                <(Bound<&[u8]>, Bound<&[u8]>) as RangeBounds<[u8]>>::contains(&(start, end), key)
            })
        })
    }
}

impl KvStore {
    /// Runs `f` and commits what it wrote: all or nothing, and only if nothing it read has changed meanwhile; otherwise it
    /// runs again. After three such runs it runs while no other transaction is committed, so it does come to an end.
    ///
    /// `f` must write through the transaction alone: a write of its own to the store would wait for the transaction, which
    /// waits for it. When `f` fails, nothing is written. Dropped, it was committed or not, as a whole.
    ///
    /// ```
    /// # use unikernel_blockfs::{Disk, kv::KvStore};
    /// # use unikernel_rt::sim::SimDisk;
    /// # unikernel_rt::sim::run("", async {
    /// # let store = KvStore::open_or_create(Disk::new(SimDisk::new(1 << 20).device())).await?;
    /// let visits = store
    ///     .transaction(async |tx| {
    ///         let before = tx.get(b"visits").await?.map_or(0, |value| value[0]);
    ///         tx.put(b"visits", &[before + 1])?;
    ///         Ok::<_, unikernel_blockfs::Error>(before + 1)
    ///     })
    ///     .await?;
    /// # assert_eq!(visits, 1);
    /// # Ok::<_, unikernel_blockfs::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `f`; those of [`commit`](Self::commit).
    pub async fn transaction<T, E: From<Error>>(
        &self,
        mut f: impl AsyncFnMut(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        /// Runs beside others.
        const TRIES: usize = 3;
        let mut gate = None;
        for number in 0.. {
            // With the gate closed, what is queued already may still be in the way, but nothing comes after it.
            if number == TRIES {
                gate = Some(self.0.gate.acquire().await);
            }
            let transaction = Transaction::new(self);
            let value = f(&transaction).await?;
            let (batch, reads) = transaction.finish()?;
            if gate.is_none() {
                drop(self.0.gate.acquire().await);
            }
            match self.submit(batch, Some(reads)).await {
                Ok(()) => return Ok(value),
                Err(Cause::Conflict) => {}
                Err(cause) => return Err(Error::new("commit", "", cause).into()),
            }
        }
        unreachable!("there are always more numbers")
    }
}
