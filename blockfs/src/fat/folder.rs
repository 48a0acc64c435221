//! Folders: looking for names in them, and changing their entries.

use super::{
    chain::{Chain, Run},
    entry::{ENTRY_LEN, Entry, FREE, LAST},
    layout::Root,
    mounted::Core,
    name::{Name, Reader, Short},
};
use crate::{error::Cause, metadata};
use alloc::{rc::Rc, string::String, vec, vec::Vec};
use core::{cell::RefCell, ops::ControlFlow};

/// A folder has at most so many entries, those of long names among them.
const ENTRIES_MAX: u32 = 65536;
/// Folders are read in pieces of this length.
const PIECE_LEN: u64 = 64 * 1024;

/// Where an entry is: the folder's first cluster, 0 for a root of fixed length, and the entry's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) folder: u32,
    pub(super) number: u32,
}

/// A file or folder that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) place: Place,
    /// The number of its name's first entry.
    pub(super) first: u32,
    pub(super) entry: Entry,
}

/// The entries of a folder.
pub(super) struct Folder {
    first: u32,
    chain: RefCell<Chain>,
}

impl Folder {
    pub(super) fn new(first: u32) -> Folder {
        Folder { first, chain: RefCell::new(Chain::new(first)) }
    }
}

/// What a walk over a folder found out for a new name.
struct Gap {
    /// Where the entries fit, or the end.
    number: u32,
    /// Nothing follows.
    is_end: bool,
    /// Numbers of short names that are taken.
    taken: Vec<u32>,
}

impl Core {
    /// The root's first cluster; 0 if it is of fixed length.
    pub(super) fn root(&self) -> u32 {
        match self.layout.root {
            Root::Cluster(cluster) => cluster,
            Root::Region(_) => 0,
        }
    }

    /// Where the entry is on the disk, and how many bytes of the folder follow in one piece; `None` after the end.
    async fn find_entry(&self, folder: &Folder, number: u32) -> Result<Option<(u64, u64)>, Cause> {
        let at = u64::from(number) * ENTRY_LEN as u64;
        if let (Root::Region(region), 0) = (&self.layout.root, folder.first) {
            let start = region.start + at;
            return Ok((start < region.end).then(|| (start, region.end - start)));
        }
        let cluster_len = u64::from(self.layout.cluster_len);
        let run = self.locate(&folder.chain, (at / cluster_len) as u32).await?;
        Ok(run.map(|Run { cluster, count }| {
            let skipped = at % cluster_len;
            (self.layout.place_of(cluster) + skipped, u64::from(count) * cluster_len - skipped)
        }))
    }

    /// Shows every entry from `from` on to `visit`, used or not, up to the first that says it is the last. Returns how many
    /// there are.
    async fn visit(
        &self,
        folder: &Folder,
        from: u32,
        mut visit: impl FnMut(u32, &Entry) -> ControlFlow<()>,
    ) -> Result<u32, Cause> {
        let mut number = from;
        while let Some((start, len)) = self.find_entry(folder, number).await? {
            if number >= ENTRIES_MAX {
                return Err(Cause::damaged("a folder is longer than FAT allows"));
            }
            let bytes = self.disk.read_some(start, len.min(PIECE_LEN) as usize).await?;
            for entry in bytes.as_chunks().0 {
                let entry = Entry(*entry);
                if visit(number, &entry).is_break() || entry.0[0] == LAST {
                    return Ok(number);
                }
                number += 1;
            }
        }
        Ok(number)
    }

    /// Shows every file and folder to `visit`, with its name.
    async fn visit_items(
        &self,
        folder: &Folder,
        from: u32,
        mut visit: impl FnMut(Item, &[u16], &Entry) -> ControlFlow<()>,
    ) -> Result<(), Cause> {
        let mut reader = Reader::new();
        let each = |number: u32, entry: &Entry| {
            if entry.0[0] == FREE || entry.0[0] == LAST {
                reader.reset();
            } else if entry.is_long_name() {
                reader.push(entry);
            } else {
                let count = reader.count;
                let long = reader.long(entry.short_name());
                let first = if long.is_some() { number - count } else { number };
                let item = Item { place: Place { folder: folder.first, number }, first, entry: *entry };
                let is_item = !entry.is_label() && !entry.is_dot();
                let flow = match long {
                    _ if !is_item => ControlFlow::Continue(()),
                    Some(long) => visit(item, long, entry),
                    None => visit(item, Short::of(entry).units(), entry),
                };
                reader.reset();
                return flow;
            }
            ControlFlow::Continue(())
        };
        self.visit(folder, from, each).await.map(drop)
    }

    /// What a folder has under this name.
    pub(super) async fn find(&self, folder: u32, name: &Name) -> Result<Option<Item>, Cause> {
        let mut found = None;
        let each = |item: Item, units: &[u16], entry: &Entry| {
            if name.is(units) || name.is(Short::of(entry).units()) {
                found = Some(item);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        self.visit_items(&Folder::new(folder), 0, each).await?;
        Ok(found)
    }

    /// What is in a folder.
    pub(super) async fn list_folder(&self, folder: u32) -> Result<Vec<metadata::Entry>, Cause> {
        let mut entries = Vec::new();
        let each = |item: Item, units: &[u16], _: &Entry| {
            entries.push(metadata::Entry { name: String::from_utf16_lossy(units), kind: item.entry.kind() });
            ControlFlow::Continue(())
        };
        self.visit_items(&Folder::new(folder), 0, each).await?;
        Ok(entries)
    }

    pub(super) async fn is_empty_folder(&self, folder: u32) -> Result<bool, Cause> {
        let mut is_empty = true;
        let each = |_: Item, _: &[u16], _: &Entry| {
            is_empty = false;
            ControlFlow::Break(())
        };
        self.visit_items(&Folder::new(folder), 0, each).await?;
        Ok(is_empty)
    }

    /// The volume's name, which is an entry of the root.
    pub(super) async fn label_entry(&self) -> Result<Option<[u8; 11]>, Cause> {
        let mut label = None;
        let each = |_: u32, entry: &Entry| {
            if entry.0[0] != FREE && entry.0[0] != LAST && entry.is_label() {
                label = Some(*entry.short_name());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        self.visit(&Folder::new(self.root()), 0, each).await?;
        Ok(label)
    }

    /// Checks that a folder knows where it is. Folders that lead back to themselves do not.
    pub(super) async fn check_folder(&self, folder: u32, around: u32) -> Result<(), Cause> {
        if !self.layout.has(folder) {
            return Err(Cause::damaged("a folder lies outside of the volume"));
        }
        let start = self.disk.read(self.layout.place_of(folder), 2 * ENTRY_LEN).await?;
        let [itself, above] =
            [0, 1].map(|number| Entry(*start[number * ENTRY_LEN..].first_chunk().expect("two entries")));
        let is_above = above.cluster() == around || around == self.root() && above.cluster() == 0;
        match itself.is_dot() && above.is_dot() && itself.cluster() == folder && is_above {
            true => Ok(()),
            false => Err(Cause::damaged("a folder does not know which folder it is in")),
        }
    }

    /// Gives an entry new content.
    pub(super) async fn change_entry(&self, place: Place, change: impl FnOnce(&mut Entry)) -> Result<(), Cause> {
        let found = self.find_entry(&Folder::new(place.folder), place.number).await?;
        let (at, _) = found.ok_or(Cause::damaged("a folder became shorter"))?;
        let mut entry = Entry(self.disk.read(at, ENTRY_LEN).await?[..].try_into().expect("one entry"));
        change(&mut entry);
        self.disk.write_bytes(at, &entry.0).await
    }

    /// Removes the entries of an item.
    pub(super) async fn erase(&self, item: &Item) -> Result<(), Cause> {
        let folder = Folder::new(item.place.folder);
        // The last one first: without it the others are no name.
        for number in (item.first..=item.place.number).rev() {
            let found = self.find_entry(&folder, number).await?;
            let (at, _) = found.ok_or(Cause::damaged("a folder became shorter"))?;
            self.disk.write_bytes(at, &[FREE]).await?;
        }
        Ok(())
    }

    /// Adds an entry under a name that the folder does not have. Returns where it is.
    pub(super) async fn insert(self: &Rc<Self>, folder: u32, name: &Name, entry: Entry) -> Result<Item, Cause> {
        let folder = Folder::new(folder);
        let gap = self.gap(&folder, name).await?;
        let basis = name.basis();
        let short = match name.as_short() {
            Some(short) => short,
            None => basis.numbered(free_number(gap.taken, basis.is_lossy())),
        };
        let bytes = name.entries(&short, entry);
        let count = (bytes.len() / ENTRY_LEN) as u32;
        self.make_room(&folder, gap.number + count).await?;
        if gap.is_end {
            self.mark_end(&folder, gap.number + count).await?;
        }
        self.write_entries(&folder, gap.number, &bytes).await?;
        let place = Place { folder: folder.first, number: gap.number + count - 1 };
        let entry = Entry(*bytes.last_chunk().expect("an entry at least"));
        Ok(Item { place, first: gap.number, entry })
    }

    async fn gap(&self, folder: &Folder, name: &Name) -> Result<Gap, Cause> {
        let (basis, wanted) = (name.basis(), name.entries_max());
        let (mut free, mut found, mut taken) = (0, None, Vec::new());
        let each = |number: u32, entry: &Entry| {
            if entry.0[0] == FREE {
                free += 1;
                if free == wanted && found.is_none() {
                    found = Some(number + 1 - wanted);
                }
            } else if entry.0[0] != LAST {
                free = 0;
                if !entry.is_long_name() && !entry.is_label() {
                    taken.extend(basis.number_of(entry.short_name()));
                }
            }
            ControlFlow::Continue(())
        };
        let end = self.visit(folder, 0, each).await?;
        Ok(Gap { number: found.unwrap_or(end - free), is_end: found.is_none(), taken })
    }

    /// Makes the folder long enough for `count` entries.
    async fn make_room(self: &Rc<Self>, folder: &Folder, count: u32) -> Result<(), Cause> {
        if count > ENTRIES_MAX {
            return Err(Cause::Full);
        }
        let needed = self.layout.clusters_for(u64::from(count) * ENTRY_LEN as u64);
        let (have, tail) = self.end_of(&folder.chain).await?;
        if needed > have {
            let reservation = self.reserve(tail, needed - have).await?;
            for run in &reservation.runs {
                let start = self.layout.place_of(run.cluster);
                let len = u64::from(run.count) * u64::from(self.layout.cluster_len);
                self.disk.write_zeroes(start..start + len).await?;
            }
            self.link(&folder.chain, tail, reservation).await?;
        }
        Ok(())
    }

    /// Behind the last entry, others count on zeros; what is there may be anything.
    async fn mark_end(&self, folder: &Folder, number: u32) -> Result<(), Cause> {
        if let Some((at, _)) = self.find_entry(folder, number).await?
            && self.disk.read(at, 1).await?[0] != LAST
        {
            self.disk.write_bytes(at, &[LAST]).await?;
        }
        Ok(())
    }

    async fn write_entries(&self, folder: &Folder, first: u32, bytes: &[u8]) -> Result<(), Cause> {
        let mut done = 0;
        while done < bytes.len() {
            let number = first + (done / ENTRY_LEN) as u32;
            let found = self.find_entry(folder, number).await?;
            let (at, len) = found.ok_or(Cause::damaged("a folder became shorter"))?;
            let part = (bytes.len() - done).min(len as usize);
            self.disk.write_bytes(at, &bytes[done..done + part]).await?;
            done += part;
        }
        Ok(())
    }

    /// The first cluster of a new folder, with its entries for itself and for the folder around it.
    pub(super) async fn new_folder(self: &Rc<Self>, around: u32, now: u64) -> Result<Rc<RefCell<Chain>>, Cause> {
        let reservation = self.reserve(None, 1).await?;
        let cluster = reservation.runs[0].cluster;
        let mut bytes = vec![0; self.layout.cluster_len as usize];
        let above = if around == self.root() { 0 } else { around };
        for (number, (name, cluster)) in [(b".          ", cluster), (b"..         ", above)].into_iter().enumerate() {
            let mut entry = Entry::new(metadata::Kind::Folder, cluster, now);
            entry.set_short_name(name);
            bytes[number * ENTRY_LEN..][..ENTRY_LEN].copy_from_slice(&entry.0);
        }
        self.disk.write_bytes(self.layout.place_of(cluster), &bytes).await?;
        let chain = Rc::new(RefCell::new(Chain::new(0)));
        self.link(&chain, None, reservation).await?;
        Ok(chain)
    }

    /// Tells a folder that was moved which folder it is in now.
    pub(super) async fn move_folder(&self, folder: u32, around: u32) -> Result<(), Cause> {
        let above = if around == self.root() { 0 } else { around };
        self.change_entry(Place { folder, number: 1 }, |entry| entry.set_cluster(above)).await
    }
}

/// The lowest number that is not taken.
fn free_number(mut taken: Vec<u32>, is_lossy: bool) -> u32 {
    taken.sort_unstable();
    taken.into_iter().fold(u32::from(is_lossy), |free, number| if number == free { free + 1 } else { free })
}
