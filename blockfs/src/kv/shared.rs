//! What the handles, the writer and the checkpoints of a store share; opening it.

use super::{
    batch::{self, Batch},
    layout::{Layout, MAGIC, SUPER_LEN, Slot, Superblock},
    log::{LogEnds, Reader},
    mark,
    memtable::{Load, Memtable},
    pages::{Pages, offset_of, write_all},
    space::{Group, Space, read_summary, write_summary_page},
    transaction::Reads,
    tree::Tree,
};
use crate::{
    Disk,
    error::Cause,
    mount::{self, FORMATTING},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    vec::Vec,
};
use core::cell::{Cell, RefCell};
use unikernel_rt::{
    device::Buffer,
    sync::{Notify, OneshotSender},
};

pub(super) struct Shared {
    pub pages: Pages,
    pub space: Space,
    pub is_read_only: bool,
    /// What a reader sees now.
    pub view: RefCell<Rc<View>>,
    /// The end of the log that is applied.
    pub log: Cell<LogEnds>,
    pub generation: Cell<u64>,
    /// The number of the first record of the log.
    pub tail_sequence: Cell<u64>,
    /// The end of the log when the frozen table was frozen.
    pub boundary: Cell<Option<LogEnds>>,
    /// What snapshots see, and how many of them.
    pub snapshots: RefCell<BTreeMap<u64, usize>>,
    /// Transactions that wait for the writer.
    pub queue: RefCell<VecDeque<Pending>>,
    /// The queue has something.
    pub work: Notify,
    pub wants_checkpoint: Cell<bool>,
    pub wanted: Notify,
    /// A checkpoint is over, one way or the other.
    pub progress: Notify,
    /// Why the last checkpoint could not be made; it is tried again.
    pub stall: RefCell<Option<Cause>>,
    /// Something was not written that should be: nothing is written any more.
    pub is_poisoned: Cell<bool>,
    pub is_closed: Cell<bool>,
    /// There are no records after the mark, or the mark is about to be written.
    pub is_marked: Cell<bool>,
    pub unmarked: Notify,
    pub counts: Cell<Counts>,
}

/// What a store did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub commits: u64,
    pub records: u64,
    pub checkpoints: u64,
}

/// What a reader sees: entries in the active table win over those in the frozen one, and those over the tree.
pub(super) struct View {
    pub active: Rc<Memtable>,
    /// On its way into the tree.
    pub frozen: Option<Rc<Memtable>>,
    pub tree: Rc<Tree>,
}

impl View {
    /// What waits to come into the tree.
    pub(super) fn load(&self) -> Load {
        self.frozen.as_ref().map_or(Load::default(), |table| table.load()).plus(self.active.load())
    }

    pub(super) fn is_merged(&self) -> bool {
        self.frozen.is_none() && self.active.is_empty()
    }
}

/// A transaction that waits for the writer.
pub(super) struct Pending {
    pub batch: Batch,
    /// What it read, if that matters.
    pub reads: Option<Reads>,
    pub reply: OneshotSender<Result<(), Cause>>,
}

impl Shared {
    /// Opens what is on the disk.
    pub(super) async fn open(disk: Disk, is_read_only: bool) -> Result<Rc<Shared>, Cause> {
        if disk.is_read_only() && !is_read_only {
            return Err(Cause::ReadOnly);
        }
        let superblock = read_superblock(&disk).await?;
        let layout = superblock.layout;
        if offset_of(layout.pages) > disk.len() {
            return Err(Cause::damaged("the disk is smaller than the key-value store on it"));
        }
        if disk.info().sector_len > layout.log_unit as usize {
            return Err(Cause::unsupported(
                "the key-value store was made on a disk with smaller sectors; copy its entries",
            ));
        }
        let pages = Pages::new(disk, layout, superblock.store_id);
        let space = Space::new(layout, read_summary(&pages, superblock.generation).await?);
        let table = Memtable::default();
        let log =
            Reader::new(&pages).replay(&superblock, |sequence, changes| apply(&table, sequence, &changes)).await?;
        if log.sequence <= mark::read(&pages).await? {
            return Err(DAMAGED_END);
        }
        // Of values that were replaced in the log, the bitmaps say what is true.
        drop(table.take_dead());
        occupy_values(&pages, &space, &table).await?;
        if !is_read_only && log.head != log.tail {
            // What was read may not be safe yet, and is shown from now on.
            pages.disk.flush().await?;
        }
        Ok(Rc::new(Shared::new(pages, space, table, log, &superblock, is_read_only)))
    }

    fn new(
        pages: Pages,
        space: Space,
        table: Memtable,
        log: LogEnds,
        superblock: &Superblock,
        is_read_only: bool,
    ) -> Shared {
        let tree = Tree { root: superblock.root, height: superblock.height, entries: superblock.entries };
        let view = View { active: Rc::new(table), frozen: None, tree: Rc::new(tree) };
        Shared {
            pages,
            space,
            is_read_only,
            view: RefCell::new(Rc::new(view)),
            log: Cell::new(log),
            generation: Cell::new(superblock.generation),
            tail_sequence: Cell::new(superblock.log_sequence),
            boundary: Cell::new(None),
            snapshots: RefCell::default(),
            queue: RefCell::default(),
            work: Notify::of("something to write"),
            wants_checkpoint: Cell::new(false),
            wanted: Notify::of("a full log"),
            progress: Notify::of("the store's writer"),
            stall: RefCell::new(None),
            is_poisoned: Cell::new(false),
            is_closed: Cell::new(false),
            is_marked: Cell::new(true),
            unmarked: Notify::of("something to mark"),
            counts: Cell::default(),
        }
    }

    pub(super) fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    /// The newest state that a snapshot sees.
    pub(super) fn newest_snapshot(&self) -> Option<u64> {
        Some(*self.snapshots.borrow().last_key_value()?.0)
    }

    /// Asks for a checkpoint and does not wait for it.
    pub(super) fn want_checkpoint(&self) {
        self.wants_checkpoint.set(true);
        self.wanted.notify_one();
    }

    /// Waits for a checkpoint.
    pub(super) async fn checkpoint_once(&self) -> Result<(), Cause> {
        if self.is_closed.get() {
            return Err(Cause::Closed);
        }
        self.want_checkpoint();
        self.progress.notified().await;
        let stall = self.stall.borrow().clone();
        stall.map_or(Ok(()), Err)
    }

    pub(super) fn count(&self, f: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        f(&mut counts);
        self.counts.set(counts);
    }
}

const DAMAGED_END: Cause =
    Cause::damaged("the last record in the key-value store's log has not what was written to it");

/// Puts the changes of a record into a table that nobody reads yet.
fn apply(table: &Memtable, sequence: u64, bytes: &bytes::Bytes) -> Result<(), Cause> {
    for change in batch::changes(bytes) {
        let (key, value) = change?;
        table.insert(key, sequence, value, None);
    }
    Ok(())
}

/// Notes the pages of the values in the log, which no bitmap may have yet.
async fn occupy_values(pages: &Pages, space: &Space, table: &Memtable) -> Result<(), Cause> {
    let mut after = None;
    loop {
        let changes = table.changes_after(after.as_deref(), 256);
        let Some(last) = changes.last() else { return Ok(()) };
        after = Some(last.key.clone());
        for value in changes.iter().filter_map(|change| change.value.as_ref()) {
            pages.pages_of(value).await?.into_iter().for_each(|extent| space.occupy(extent));
        }
    }
}

/// The newer of the two superblocks.
pub(super) async fn read_superblock(disk: &Disk) -> Result<Superblock, Cause> {
    if disk.len() < 2 * offset_of(1) {
        return Err(not_a_store(disk).await?);
    }
    let first = disk.read(0, SUPER_LEN).await?;
    if first.starts_with(FORMATTING) {
        return Err(Cause::Blank);
    }
    let second = disk.read(offset_of(1), SUPER_LEN).await?;
    match (Superblock::decode(&first), Superblock::decode(&second)) {
        (Slot::Newer, _) | (_, Slot::Newer) => Err(Cause::unsupported(
            "it holds a key-value store of a later version; use a later version of this program",
        )),
        (Slot::Valid(a), Slot::Valid(b)) if a.store_id != b.store_id => {
            Err(Cause::damaged("its superblocks belong to two different key-value stores"))
        }
        (Slot::Valid(a), Slot::Valid(b)) => Ok(if a.generation > b.generation { a } else { b }),
        (Slot::Valid(only), _) | (_, Slot::Valid(only)) => Ok(only),
        _ if first.starts_with(MAGIC) || second.starts_with(MAGIC) => {
            Err(Cause::damaged("neither superblock of the key-value store is whole"))
        }
        _ => Err(not_a_store(disk).await?),
    }
}

/// Whether a key-value store is on the disk, whole or not.
pub(crate) async fn is_store(disk: &Disk) -> Result<bool, Cause> {
    for page in [0, 1].into_iter().filter(|page| offset_of(page + 1) <= disk.len()) {
        if disk.read(offset_of(page), MAGIC.len()).await? == MAGIC[..] {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn not_a_store(disk: &Disk) -> Result<Cause, Cause> {
    if mount::is_blank(disk).await? {
        return Ok(Cause::Blank);
    }
    Ok(Cause::unsupported(
        "it holds something that is not a key-value store; use a blank disk, or zero its first 1 MiB",
    ))
}

/// Makes an empty store. Until the last write, the disk counts as blank.
pub(super) async fn format(disk: &Disk) -> Result<(), Cause> {
    if disk.is_read_only() {
        return Err(Cause::ReadOnly);
    }
    let info = disk.info();
    let layout = Layout::new(disk.len(), info.sector_len.max(info.physical_sector_len))?;
    let superblock = Superblock {
        layout,
        store_id: unikernel_rt::entropy::u64(),
        generation: 1,
        root: None,
        height: 0,
        log_offset: 0,
        log_sequence: 1,
        entries: 0,
    };
    write_sector(disk, 0, FORMATTING).await?;
    disk.flush().await?;
    let pages = Pages::new(disk.clone(), layout, superblock.store_id);
    let groups: Vec<Group> =
        (0..layout.groups).map(|group| Group { free: layout.group_len(group) as u16, place: None, sum: 0 }).collect();
    for generation in [1, 2] {
        for (number, groups) in groups.chunks(super::layout::SUMMARY_GROUPS as usize).enumerate() {
            write_summary_page(&pages, generation, number as u32, groups).await?;
        }
        disk.flush().await?;
        write_superblock(disk, &Superblock { generation, ..superblock.clone() }).await?;
        disk.flush().await?;
    }
    Ok(())
}

/// Writes a superblock to its place: even generations to the first page, odd ones to the second.
pub(super) async fn write_superblock(disk: &Disk, superblock: &Superblock) -> Result<(), Cause> {
    write_sector(disk, offset_of((superblock.generation % 2) as u32), &superblock.encode()).await
}

pub(super) async fn write_sector(disk: &Disk, offset: u64, bytes: &[u8]) -> Result<(), Cause> {
    let mut buffer = Buffer::zeroed(disk.info().sector_len.max(SUPER_LEN));
    buffer[..bytes.len()].copy_from_slice(bytes);
    disk.write(offset, buffer).await
}

/// Writes a record of the log.
pub(super) async fn write_record(disk: &Disk, offset: u64, record: Buffer) -> Result<(), Cause> {
    if record.len() <= disk.info().segment_len_max {
        disk.write(offset, record).await
    } else {
        write_all(disk, offset, &record).await
    }
}
