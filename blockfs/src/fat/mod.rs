//! FAT32, to read and write; FAT12 and FAT16, to read. For exchange with everything else: a loss of power may leave clusters
//! without a file behind, or a file under two names; never does it touch files that were not being changed.
//!
//! Content goes to the disk first, then the table, then the folder's entry: a file that is replaced has its old content until
//! the new one is there, in clusters of its own. A volume that is being changed says so on the disk, up to the next sync.
//!
//! Start with [`Fat`]; `layout` is the boot sector, `table` the table, `chain` and `space` are clusters in use and free ones,
//! `folder`, `entry` and `name` are folders, `file` and `open` the files that somebody has open.

mod chain;
mod entry;
mod file;
mod folder;
mod format;
mod layout;
mod mounted;
mod name;
mod open;
mod space;
mod table;
mod time;
mod turns;

pub(crate) use format::format;

use self::{
    entry::Entry,
    file::OpenFile,
    folder::Item,
    layout::{BOOT_LEN, Layout, Width, is_boot_sector},
    mounted::{Core, State},
    name::Name,
    open::Content,
    space::Space,
    turns::Turns,
};
use crate::{
    Disk, Volume,
    error::Cause,
    fs::{FileSystem, Mode, Node, Reply},
    metadata::{self, Format, Kind, Metadata, VolumeInfo},
    path::split_last,
};
use alloc::{boxed::Box, rc::Rc, string::String, vec::Vec};
use core::cell::RefCell;
use unikernel_rt::{sync::Semaphore, time::unix_time};

/// A path with more names leads in circles.
const DEPTH_MAX: usize = 128;

/// A mounted FAT volume.
struct Fat(Rc<Core>);

/// What a path leads to.
enum Found {
    Root,
    Item(Item),
}

/// Whether the disk begins like a FAT volume, damaged or not.
pub(crate) async fn is_fat(disk: &Disk) -> Result<bool, Cause> {
    Ok(disk.len() >= BOOT_LEN as u64 && is_boot_sector(&disk.read(0, BOOT_LEN).await?))
}

pub(crate) async fn mount(disk: Disk) -> Result<Volume, Cause> {
    Ok(Volume::new(Rc::new(Fat::mount(disk).await?)))
}

impl Fat {
    async fn mount(disk: Disk) -> Result<Fat, Cause> {
        let boot = disk.read(0, BOOT_LEN).await?;
        let layout = Layout::parse(&boot, disk.len())?;
        let note = match layout.info {
            Some(info) => Some(disk.read(info, 512).await?),
            None => None,
        };
        // Files that share a sector of the disk could not be written at the same time.
        let shares_sectors = (layout.sector_len as usize) < disk.info().sector_len;
        let info = VolumeInfo {
            format: Format::Fat,
            len: layout.len,
            block_len: layout.cluster_len,
            is_read_only: disk.is_read_only() || layout.width != Width::Bits32 || shares_sectors,
            label: String::new(),
            content: disk.content(),
        };
        let mut core = Core {
            space: Space::new(note.as_deref(), layout.clusters),
            disk,
            layout,
            info,
            turns: Turns::default(),
            table_turn: Semaphore::new(1),
            open: RefCell::default(),
            state: State::new(),
        };
        let label = core.label_entry().await?.unwrap_or(core.layout.label);
        core.info.label = match &label {
            b"NO NAME    " => String::new(),
            label => name::label(label),
        };
        Ok(Fat(Rc::new(core)))
    }
}

impl Core {
    /// The first clusters of the folders on the way to `path`, which is a folder; the last one is its own.
    async fn way(&self, path: &str) -> Result<Vec<u32>, Cause> {
        let mut way = alloc::vec![self.root()];
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if way.len() > DEPTH_MAX {
                return Err(Cause::InvalidName);
            }
            let around = way[way.len() - 1];
            // A name that FAT does not allow is not there.
            let Ok(name) = Name::parse(name) else { return Err(Cause::NotFound) };
            let item = self.find(around, &name).await?.ok_or(Cause::NotFound)?;
            if !item.entry.is_folder() {
                return Err(Cause::NotAFolder);
            }
            self.check_folder(item.entry.cluster(), around).await?;
            way.push(item.entry.cluster());
        }
        Ok(way)
    }

    async fn folder_at(&self, path: &str) -> Result<u32, Cause> {
        Ok(*self.way(path).await?.last().expect("the root at least"))
    }

    async fn look_up(&self, path: &str) -> Result<Found, Cause> {
        let Some((folder, name)) = split_last(path) else { return Ok(Found::Root) };
        let folder = self.folder_at(folder).await?;
        let Ok(name) = Name::parse(name) else { return Err(Cause::NotFound) };
        Ok(Found::Item(self.find(folder, &name).await?.ok_or(Cause::NotFound)?))
    }

    /// The content of a file that was found.
    fn content(self: &Rc<Self>, item: &Item) -> Result<Rc<Content>, Cause> {
        let (cluster, len) = (item.entry.cluster(), item.entry.len());
        if item.entry.is_folder() {
            return Err(Cause::IsAFolder);
        }
        if len > 0 && (!self.layout.has(cluster) || self.layout.clusters_for(len.into()) > self.layout.clusters) {
            return Err(Cause::damaged("a file lies outside of the volume"));
        }
        let mut open = self.open.borrow_mut();
        if let Some(content) = open.current(item.place) {
            return Ok(content);
        }
        let content = Content::new(self, item.place, cluster, len);
        open.set_current(&content);
        Ok(content)
    }

    async fn open_to_write(self: &Rc<Self>, path: &str, mode: Mode) -> Result<OpenFile, Cause> {
        let _change = self.turns.change().await;
        let (folder, name) = split_last(path).ok_or(Cause::IsAFolder)?;
        let folder = self.folder_at(folder).await?;
        let name = Name::parse(name)?;
        let found = self.find(folder, &name).await?;
        let (item, is_new) = match found {
            Some(item) => (item, false),
            None if mode == Mode::Edit => return Err(Cause::NotFound),
            None => {
                let _changing = self.begin_change().await?;
                let entry = Entry::new(Kind::File, 0, unix_time().as_secs());
                (self.insert(folder, &name, entry).await?, true)
            }
        };
        if item.entry.is_read_only() {
            return Err(Cause::ReadOnly);
        }
        let content = self.content(&item)?;
        if self.open.borrow().is_written(item.place) {
            return Err(Cause::Busy);
        }
        Ok(match mode == Mode::Create && !is_new {
            true => OpenFile::writer(self, Content::new(self, item.place, 0, 0), true),
            false => OpenFile::writer(self, content, false),
        })
    }

    async fn create_folder(self: &Rc<Self>, path: &str) -> Result<(), Cause> {
        let _change = self.turns.change().await;
        let (folder, name) = split_last(path).ok_or(Cause::Exists)?;
        let folder = self.folder_at(folder).await?;
        let name = Name::parse(name)?;
        if self.find(folder, &name).await?.is_some() {
            return Err(Cause::Exists);
        }
        let _changing = self.begin_change().await?;
        let now = unix_time().as_secs();
        let chain = self.new_folder(folder, now).await?;
        let first = chain.borrow().first();
        let made = self.insert(folder, &name, Entry::new(Kind::Folder, first, now)).await;
        if made.is_err() {
            self.cut(&chain, 0).await?;
        }
        made.map(drop)
    }

    async fn remove(self: &Rc<Self>, path: &str) -> Result<(), Cause> {
        let _change = self.turns.change().await;
        let Found::Item(item) = self.look_up(path).await? else { return Err(Cause::InvalidName) };
        let cluster = item.entry.cluster();
        if item.entry.is_folder() {
            self.check_folder(cluster, item.place.folder).await?;
            if !self.is_empty_folder(cluster).await? {
                return Err(Cause::NotEmpty);
            }
        }
        let _changing = self.begin_change().await?;
        self.erase(&item).await?;
        self.let_go(&item).await
    }

    /// Frees what an entry had, at once or when the last one who has it open closes it.
    async fn let_go(&self, item: &Item) -> Result<(), Cause> {
        let is_open = self.open.borrow_mut().remove(item.place);
        if is_open || item.entry.cluster() == 0 {
            return Ok(());
        }
        let chain = RefCell::new(chain::Chain::new(item.entry.cluster()));
        self.cut(&chain, 0).await
    }

    async fn rename(self: &Rc<Self>, from: &str, to: &str) -> Result<(), Cause> {
        let _change = self.turns.change().await;
        let Found::Item(item) = self.look_up(from).await? else { return Err(Cause::InvalidName) };
        let (folder, last) = split_last(to).ok_or(Cause::InvalidName)?;
        let way = self.way(folder).await?;
        let folder = *way.last().expect("the root at least");
        let name = Name::parse(last)?;
        if item.entry.is_folder() {
            if way.contains(&item.entry.cluster()) {
                return Err(Cause::InvalidName);
            }
            self.check_folder(item.entry.cluster(), item.place.folder).await?;
        }
        match self.find(folder, &name).await? {
            Some(target) if target.place == item.place => {
                let is_same = split_last(from).is_some_and(|(_, from)| name.is_exactly(from));
                if is_same { Ok(()) } else { self.rename_to_new(&item, folder, &name).await }
            }
            Some(target) => self.rename_over(&item, &target).await,
            None => self.rename_to_new(&item, folder, &name).await,
        }
    }

    /// The new name comes first: a loss of power leaves two names, not none.
    async fn rename_to_new(self: &Rc<Self>, item: &Item, folder: u32, name: &Name) -> Result<(), Cause> {
        let _changing = self.begin_change().await?;
        let new = self.insert(folder, name, item.entry).await?;
        if item.entry.is_folder() && folder != item.place.folder {
            self.move_folder(item.entry.cluster(), folder).await?;
        }
        self.open.borrow_mut().rename(item.place, new.place);
        self.erase(item).await
    }

    /// The entry that is there takes the content over, in one write.
    async fn rename_over(self: &Rc<Self>, item: &Item, target: &Item) -> Result<(), Cause> {
        if target.entry.is_folder() {
            return Err(Cause::IsAFolder);
        }
        if item.entry.is_folder() {
            return Err(Cause::NotAFolder);
        }
        let _changing = self.begin_change().await?;
        self.change_entry(target.place, |entry| entry.take_content(&item.entry)).await?;
        let freed = self.let_go(target).await;
        self.open.borrow_mut().rename(item.place, target.place);
        self.erase(item).await?;
        freed
    }
}

impl FileSystem for Fat {
    fn info(&self) -> &VolumeInfo {
        &self.0.info
    }

    fn metadata<'a>(&'a self, path: &'a str) -> Reply<'a, Metadata> {
        Box::pin(async move {
            self.0.background_done().await;
            let _look = self.0.turns.look().await;
            Ok(match self.0.look_up(path).await? {
                Found::Root => Metadata { kind: Kind::Folder, len: 0, modified: None },
                Found::Item(item) => item.entry.metadata(),
            })
        })
    }

    fn list<'a>(&'a self, path: &'a str) -> Reply<'a, Vec<metadata::Entry>> {
        Box::pin(async move {
            self.0.background_done().await;
            let _look = self.0.turns.look().await;
            let folder = self.0.folder_at(path).await?;
            self.0.list_folder(folder).await
        })
    }

    fn open<'a>(&'a self, path: &'a str, mode: Mode) -> Reply<'a, Rc<dyn Node>> {
        Box::pin(async move {
            self.0.background_done().await;
            if mode == Mode::Read {
                let _look = self.0.turns.look().await;
                let Found::Item(item) = self.0.look_up(path).await? else { return Err(Cause::IsAFolder) };
                return Ok(Rc::new(OpenFile::reader(&self.0, self.0.content(&item)?)) as Rc<dyn Node>);
            }
            let opened = self.change(path, async move |core, path| core.open_to_write(&path, mode).await).await;
            opened.map(|file| Rc::new(file) as Rc<dyn Node>)
        })
    }

    fn space(&self) -> Reply<'_, metadata::Space> {
        Box::pin(async {
            self.0.background_done().await;
            let in_bytes = |clusters: u32| u64::from(clusters) * u64::from(self.0.layout.cluster_len);
            Ok(metadata::Space { total: in_bytes(self.0.layout.clusters), free: in_bytes(self.0.free().await?) })
        })
    }

    fn create_folder<'a>(&'a self, path: &'a str) -> Reply<'a, ()> {
        Box::pin(self.change(path, async |core, path| core.create_folder(&path).await))
    }

    fn remove<'a>(&'a self, path: &'a str) -> Reply<'a, ()> {
        Box::pin(self.change(path, async |core, path| core.remove(&path).await))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Reply<'a, ()> {
        let to = String::from(to);
        Box::pin(self.change(from, async move |core, from| core.rename(&from, &to).await))
    }

    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(async {
            self.0.background_done().await;
            self.0.settle().await
        })
    }
}

impl Fat {
    /// Does `work` to its end, after the work of dropped files.
    async fn change<T: 'static>(
        &self,
        path: &str,
        work: impl AsyncFnOnce(Rc<Core>, String) -> Result<T, Cause> + 'static,
    ) -> Result<T, Cause> {
        if self.0.info.is_read_only {
            return Err(Cause::ReadOnly);
        }
        self.0.background_done().await;
        let (core, path) = (self.0.clone(), String::from(path));
        Core::whole(async move { work(core, path).await }).await
    }
}
