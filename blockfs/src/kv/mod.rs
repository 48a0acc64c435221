//! [`KvStore`]: ordered keys and values on a disk of their own, safe from a loss of power.
//!
//! A commit is one write and one flush: a record in a log, with all transactions that waited. Beside that, checkpoints
//! merge what is in the log into a tree of pages that are never overwritten while anybody needs them, the disk's last
//! superblock included. Every page and record has a checksum; the tree's pages also have those of their children, so that
//! a write that went elsewhere, or got lost, is noticed. `FORMAT.md` beside this file says what every byte means.
//!
//! In reading order: [`KvStore`]; `writer` (commits), `log`; `checkpoint`, `merge` (the tree grows), `tree` (it is read),
//! `space` (free pages); `layout`, `page`, `value` (bytes); `check`.
//!
//! # Bounds
//!
//! | what | bound |
//! |---|---|
//! | key, value | 1 KiB, 1 MiB |
//! | one transaction | a quarter of the log, at most 1 MiB, long values not counted |
//! | log | a sixteenth of the disk, from 64 KiB to 16 MiB |
//! | read when it is opened | the log; 64 KiB for each TiB of the disk |
//! | memory | about twice what is in the log; 96 KiB per TiB; 1 MiB of nodes; what snapshots hold |
//! | disk | 256 KiB to 16 TiB; of a larger one the first 16 TiB are used |

mod batch;
mod check;
mod checkpoint;
mod layout;
mod log;
mod mark;
mod memtable;
mod merge;
mod page;
mod pages;
mod range;
mod ranges;
mod shared;
mod snapshot;
mod space;
mod transaction;
mod tree;
mod value;
mod writer;

pub use batch::Batch;
pub use check::{Report, check};
pub use range::{Pair, Range};
pub(crate) use shared::is_store;
pub use snapshot::Snapshot;
pub use transaction::Transaction;
pub use value::{KEY_LEN_MAX, VALUE_LEN_MAX};

use crate::{
    Disk,
    disk::refused,
    error::{Cause, Error, Result},
};
use alloc::{rc::Rc, vec, vec::Vec};
use bytes::Bytes;
use core::{cell::RefCell, ops::RangeBounds};
use shared::{Pending, Shared};
use snapshot::Moment;
use transaction::Reads;
use unikernel_rt::{
    Acquire, JoinHandle, Machine, spawn_named,
    sync::{Semaphore, oneshot},
};

/// Ordered keys and values on a disk. Clones are handles to the same store.
///
/// As an argument of `main` it takes the machine's next disk, and formats it if it is blank.
///
/// ```
/// use unikernel_blockfs::{Disk, kv::{Batch, KvStore}};
/// # use unikernel_rt::sim::SimDisk;
///
/// # unikernel_rt::sim::run("", async {
/// # let disk = Disk::new(SimDisk::new(1 << 20).device());
/// let store = KvStore::open_or_create(disk).await?;
/// store.put(b"user/7/name", b"Ada").await?;
/// // From here on a loss of power changes nothing about it.
///
/// let mut batch = Batch::new();
/// batch.put(b"user/7/mail", b"ada@example.org")?;
/// batch.delete(b"user/7/name")?;
/// store.commit(batch).await?;
///
/// let mut users = store.snapshot().prefix(b"user/");
/// while let Some((key, value)) = users.next().await? {
///     assert_eq!((&key[..], &value[..]), (&b"user/7/mail"[..], &b"ada@example.org"[..]));
/// }
/// store.close().await?;
/// # Ok::<_, unikernel_blockfs::Error>(())
/// # }).unwrap();
/// ```
///
/// **Durable:** when [`put`](Self::put), [`delete`](Self::delete) or [`commit`](Self::commit) has returned, its changes
/// survive a loss of power. Dropped before, it happens or not, as a whole. After an I/O error of a write or a flush nothing
/// more is written ([`Cause::Poisoned`]) until the store is opened anew, for nobody knows what is on the disk then; reads
/// go on.
///
/// One store is open on a disk at a time: [`close`](Self::close) it before it is opened again. Handles that are just
/// dropped lose nothing, but their last request may still be under way.
#[derive(Clone)]
pub struct KvStore(Rc<Handle>);

struct Handle {
    shared: Rc<Shared>,
    /// Taken by a transaction that others do not let through.
    gate: Semaphore,
    /// Those that end when the store is closed, ...
    tasks: RefCell<Vec<JoinHandle<()>>>,
    /// ... and one that does not mind.
    marker: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Handle {
    fn stop(&self) {
        self.shared.is_closed.set(true);
        self.shared.work.notify_one();
        self.shared.wanted.notify_one();
        if let Some(marker) = &self.marker {
            marker.abort();
        }
    }
}

impl Acquire for KvStore {
    async fn acquire(machine: &mut Machine) -> unikernel_rt::Result<KvStore> {
        let disk = Disk::new(machine.take_disk()?);
        let info = disk.info().clone();
        KvStore::open_or_create(disk).await.map_err(|error| refused(&info, &error))
    }
}

/// What a store holds and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvStats {
    /// Entries at the last checkpoint.
    pub entries: u64,
    /// Bytes for entries, all together.
    pub total: u64,
    /// Bytes of those that are free now.
    pub free: u64,
    /// Bytes that will be free when snapshots and ranges that are held now are gone.
    pub held: u64,
    /// Bytes of the log that no checkpoint has covered yet.
    pub log_len: u64,
    /// Transactions committed since it was opened, ...
    pub commits: u64,
    /// ... and the records of the log they took: fewer, where several waited.
    pub records: u64,
    /// Checkpoints since it was opened.
    pub checkpoints: u64,
}

impl KvStore {
    /// Opens the store on a disk. A loss of power before costs nothing but reading the log.
    ///
    /// # Errors
    ///
    /// The disk is blank, holds something else, is damaged or read-only; it failed; there is not enough memory.
    pub async fn open(disk: Disk) -> Result<KvStore> {
        KvStore::start(disk).await.map_err(|cause| Error::new("open the key-value store", "", cause))
    }

    /// The same; a blank disk, which has nothing but zeros at its start, gets an empty store first. A loss of power
    /// meanwhile leaves a disk that counts as blank.
    ///
    /// # Errors
    ///
    /// The disk holds something else, is damaged, read-only or too small; it failed.
    pub async fn open_or_create(disk: Disk) -> Result<KvStore> {
        match KvStore::start(disk.clone()).await {
            Err(Cause::Blank) => KvStore::create(disk).await,
            result => result.map_err(|cause| Error::new("open the key-value store", "", cause)),
        }
    }

    /// Makes an empty store; what was on the disk is lost.
    ///
    /// # Errors
    ///
    /// The disk is read-only or too small; it failed.
    pub async fn create(disk: Disk) -> Result<KvStore> {
        let created = async {
            shared::format(&disk).await?;
            KvStore::start(disk.clone()).await
        };
        created.await.map_err(|cause| Error::new("make a key-value store", "", cause))
    }

    /// Opens the store on a disk to read it. Writes nothing; changes fail with [`Cause::ReadOnly`].
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); the disk may be read-only.
    pub async fn open_read_only(disk: Disk) -> Result<KvStore> {
        let shared = Shared::open(disk, true).await;
        let shared = shared.map_err(|cause| Error::new("open the key-value store", "", cause))?;
        Ok(KvStore(Rc::new(Handle { shared, gate: Semaphore::new(1), tasks: RefCell::default(), marker: None })))
    }

    async fn start(disk: Disk) -> Result<KvStore, Cause> {
        let shared = Shared::open(disk, false).await?;
        let tasks = vec![
            spawn_named("store writer", writer::run(shared.clone())),
            spawn_named("store checkpoint", checkpoint::run(shared.clone())),
        ];
        let marker = Some(spawn_named("store marks", mark::run(shared.clone())));
        Ok(KvStore(Rc::new(Handle { shared, gate: Semaphore::new(1), tasks: RefCell::new(tasks), marker })))
    }

    /// The value of `key`. It may share memory with the disk's cache: copy what is kept for long.
    ///
    /// # Errors
    ///
    /// The disk failed or is damaged; there is no memory for the value.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let view = self.0.shared.view();
        let value = snapshot::get(&self.0.shared, &view, key, u64::MAX).await;
        value.map_err(|cause| Error::new("get", "", cause))
    }

    /// Sets `key` to `value`, durably.
    ///
    /// # Errors
    ///
    /// The key has more than 1 KiB, or the value more than 1 MiB; no space is left; the disk failed, now or before, and
    /// after a failure now the change may have been made or not.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result {
        let mut batch = Batch::new();
        batch.put(key, value)?;
        self.commit_as("put", batch).await
    }

    /// Removes `key`, durably. Nothing happens if it is not there.
    ///
    /// # Errors
    ///
    /// The key has more than 1 KiB; the disk failed, now or before, and after a failure now the change may have been
    /// made or not.
    pub async fn delete(&self, key: &[u8]) -> Result {
        let mut batch = Batch::new();
        batch.delete(key)?;
        self.commit_as("delete", batch).await
    }

    /// Makes all changes of `batch`, durably, or none.
    ///
    /// # Errors
    ///
    /// They are more than a transaction may have; no space is left; the disk failed, now or before, and after a failure
    /// now the changes may have been made or not, but all or none.
    pub async fn commit(&self, batch: Batch) -> Result {
        self.commit_as("commit", batch).await
    }

    async fn commit_as(&self, operation: &'static str, batch: Batch) -> Result {
        // Waits for a transaction that runs alone.
        drop(self.0.gate.acquire().await);
        self.submit(batch, None).await.map_err(|cause| Error::new(operation, "", cause))
    }

    /// Hands a batch to the writer and waits.
    async fn submit(&self, batch: Batch, reads: Option<Reads>) -> Result<(), Cause> {
        let shared = &self.0.shared;
        if shared.is_read_only {
            return Err(Cause::ReadOnly);
        }
        if shared.is_closed.get() {
            return Err(Cause::Closed);
        }
        if batch.is_empty() {
            return Ok(());
        }
        if batch.len_max() > shared.batch_len_max() {
            return Err(Cause::Limit(
                "a transaction has at most a quarter of the log, and 1 MiB; commit in several parts",
            ));
        }
        let (reply, answer) = oneshot();
        shared.queue.borrow_mut().push_back(Pending { batch, reads, reply });
        shared.work.notify_one();
        answer.await.unwrap_or(Err(Cause::Closed))
    }

    /// The store as it is now, to be read while others write.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(Moment::now(&self.0.shared))
    }

    /// The entries with keys in `bounds`, in order, as they are now.
    pub fn range<'a>(&self, bounds: impl RangeBounds<&'a [u8]>) -> Range {
        self.snapshot().range(bounds)
    }

    /// Merges what is in the log into the tree now. It happens by itself when half of the log is full.
    ///
    /// # Errors
    ///
    /// No space is left, the disk failed or is damaged; the store is read-only.
    pub async fn checkpoint(&self) -> Result {
        self.checkpoint_all().await.map_err(|cause| Error::new("checkpoint", "", cause))
    }

    async fn checkpoint_all(&self) -> Result<(), Cause> {
        let shared = &self.0.shared;
        if shared.is_read_only {
            return Err(Cause::ReadOnly);
        }
        let end = shared.log.get().head;
        while shared.log.get().tail < end {
            shared.checkpoint_once().await?;
        }
        Ok(())
    }

    /// Waits for what is under way, makes a checkpoint, and ends the store; other handles fail with [`Cause::Closed`]. With
    /// no log to read, it opens faster.
    ///
    /// # Errors
    ///
    /// The checkpoint failed; everything that was committed is in the log, and the store is closed all the same.
    pub async fn close(self) -> Result {
        let shared = &self.0.shared;
        let result = match shared.is_read_only || shared.is_closed.get() {
            true => Ok(()),
            false => self.checkpoint_all().await,
        };
        self.0.stop();
        let tasks = self.0.tasks.take();
        for task in tasks {
            task.await;
        }
        result.map_err(|cause| Error::new("close the key-value store", "", cause))
    }

    /// What it holds and did.
    pub fn stats(&self) -> KvStats {
        let shared = &self.0.shared;
        let bytes = |pages: u64| pages * layout::PAGE_LEN as u64;
        let (log, counts) = (shared.log.get(), shared.counts.get());
        KvStats {
            entries: shared.view().tree.entries,
            total: bytes(shared.pages.layout.data_pages().into()),
            free: bytes(shared.space.available()),
            held: bytes(shared.space.pinned()),
            log_len: log.head - log.tail,
            commits: counts.commits,
            records: counts.records,
            checkpoints: counts.checkpoints,
        }
    }
}

impl core::fmt::Debug for KvStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KvStore({:?}, {:?})", self.0.shared.pages.disk, self.stats())
    }
}
