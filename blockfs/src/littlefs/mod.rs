//! littlefs: to read and write, and safe when the power is lost.
//!
//! The code of littlefs waits for its disk in plain functions, so it runs on a [fiber](unikernel_rt::fiber): [`Bridge`] is the
//! way to it. One operation runs at a time, and always to its end; other tasks run while it waits. Files that are
//! read do not take part: [`Blocks`](blocks::Blocks) finds their bytes on the disk by itself, while others write.
//!
//! A mounted volume takes the fiber's stack (64 KiB), 64 KiB of pages, up to 256 KiB of writes that wait, 8 KiB of caches, and
//! an eighth of a byte for each block, at most 32 KiB; a file open for writing 4 KiB, one open for reading 200 bytes.

mod blocks;
mod bridge;
mod format;
mod geometry;
mod node;
mod storage;

pub(crate) use format::format;
pub(crate) use geometry::Head;

use crate::{
    Disk, Volume,
    error::Cause,
    fs::{FileSystem, Mode, Node, Reply},
    metadata::{Entry, Format, Kind, Metadata, Space, VolumeInfo},
};
use alloc::{
    boxed::Box,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use bridge::Bridge;
use node::{Reader, Writer};

/// A mounted volume; its open files have it too.
struct System {
    bridge: Bridge,
    disk: Disk,
    info: VolumeInfo,
    block_count: u32,
}

/// Mounts the volume with this head.
pub(crate) async fn mount(disk: Disk, head: Head) -> Result<Volume, Cause> {
    let geometry = head.geometry(&disk)?;
    let (bridge, block_count) = Bridge::mount(disk.clone(), geometry).await?;
    let len = u64::from(block_count) * u64::from(geometry.block_len);
    let info = VolumeInfo {
        format: Format::Littlefs,
        len,
        block_len: geometry.block_len,
        is_read_only: disk.is_read_only(),
        label: String::new(),
        content: disk.content(),
    };
    Ok(Volume::new(Rc::new(Handle(Rc::new(System { bridge, disk, info, block_count })))))
}

/// What a [`Volume`] has.
struct Handle(Rc<System>);

impl System {
    fn check_writable(&self) -> Result<(), Cause> {
        if self.info.is_read_only { Err(Cause::ReadOnly) } else { Ok(()) }
    }
}

impl FileSystem for Handle {
    fn info(&self) -> &VolumeInfo {
        &self.0.info
    }

    /// Every folder has two blocks of its own.
    fn folder_count_max(&self) -> u64 {
        u64::from(self.0.block_count / 2)
    }

    fn metadata<'a>(&'a self, path: &'a str) -> Reply<'a, Metadata> {
        let path = path.to_string();
        Box::pin(async move {
            let info = self.0.bridge.run(move |volume| volume.info(&path)).await?;
            let kind = if info.is_folder { Kind::Folder } else { Kind::File };
            Ok(Metadata { kind, len: info.len.into(), modified: info.modified })
        })
    }

    fn list<'a>(&'a self, path: &'a str) -> Reply<'a, Vec<Entry>> {
        let path = path.to_string();
        Box::pin(async move {
            let entries = self.0.bridge.run(move |volume| volume.list(&path)).await?;
            let entry = |entry: unikernel_littlefs::Entry| Entry {
                name: String::from_utf8_lossy(&entry.name).into_owned(),
                kind: if entry.is_folder { Kind::Folder } else { Kind::File },
            };
            Ok(entries.into_iter().map(entry).collect())
        })
    }

    fn open<'a>(&'a self, path: &'a str, mode: Mode) -> Reply<'a, Rc<dyn Node>> {
        Box::pin(async move {
            let mode = match mode {
                Mode::Read => return Reader::open(&self.0, path).await,
                Mode::Edit => unikernel_littlefs::Mode::Edit,
                Mode::Append => unikernel_littlefs::Mode::Append,
                Mode::Create => unikernel_littlefs::Mode::Create,
            };
            self.0.check_writable()?;
            Writer::open(&self.0, path, mode).await
        })
    }

    fn space(&self) -> Reply<'_, Space> {
        Box::pin(async move {
            let used = self.0.bridge.run(|volume| volume.used_blocks()).await?;
            let free = self.0.block_count.saturating_sub(used);
            Ok(Space { total: self.0.info.len, free: u64::from(free) * u64::from(self.0.info.block_len) })
        })
    }

    fn create_folder<'a>(&'a self, path: &'a str) -> Reply<'a, ()> {
        let path = path.to_string();
        Box::pin(async move {
            self.0.check_writable()?;
            self.0.bridge.run(move |volume| volume.create_folder(&path)).await
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Reply<'a, ()> {
        let path = path.to_string();
        Box::pin(async move {
            self.0.check_writable()?;
            self.0.bridge.run(move |volume| volume.remove(&path)).await
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Reply<'a, ()> {
        let (from, to) = (from.to_string(), to.to_string());
        Box::pin(async move {
            self.0.check_writable()?;
            self.0.bridge.run(move |volume| rename(volume, &from, &to)).await
        })
    }

    /// Every operation is safe when it is done; but files that were dropped may still wait to be closed.
    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(self.0.bridge.run(|_| Ok(())))
    }
}

/// littlefs replaces empty folders too; we promise not to.
fn rename(volume: &mut bridge::Littlefs, from: &str, to: &str) -> unikernel_littlefs::Result<()> {
    use unikernel_littlefs::Error;
    if from != to && matches!(volume.info(to), Ok(info) if info.is_folder) {
        volume.info(from)?;
        return Err(Error::Exists);
    }
    volume.rename(from, to)
}
