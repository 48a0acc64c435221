//! ext2, ext3 and ext4, read-only: images that `mke2fs -d` makes of a folder, and volumes that Linux unmounted.
//!
//! Content goes from the disk's cache to the reader without copying, as many bytes as an extent has in one piece. Checksums
//! of inodes, folders and trees are checked where the volume has them. Every number is distrusted, loops are bounded, and
//! nothing of the volume is kept in memory but the superblock.

mod bytes;
mod folder;
mod inode;
mod map;
mod resolve;
mod superblock;

use crate::{
    Disk,
    error::Cause,
    fs::{FileSystem, Mode, Node, Reply},
    metadata::{Entry, Format, Kind, Metadata, VolumeInfo},
};
use ::bytes::Bytes;
use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{cell::Cell, future::ready};
use inode::{Form, Inode, ROOT};
use map::Run;
use superblock::Superblock;

/// Zeros are handed out in pieces of this length.
static ZEROES: [u8; 4096] = [0; 4096];
/// The disk reads ahead so much at once.
const PIECE_LEN: usize = 128 * 1024;

/// Mounts the ext2, ext3 or ext4 on `disk`; `None` if there is none.
pub(crate) async fn mount(disk: &Disk) -> Result<Option<Rc<dyn FileSystem>>, Cause> {
    if disk.len() < superblock::OFFSET + superblock::LEN as u64 {
        return Ok(None);
    }
    let bytes = disk.read(superblock::OFFSET, superblock::LEN).await?;
    if !superblock::is_superblock(&bytes) {
        return Ok(None);
    }
    let superblock = Superblock::parse(&bytes, disk.len())?;
    let info = VolumeInfo {
        format: Format::Ext4,
        len: superblock.len(),
        block_len: superblock.block_len,
        is_read_only: true,
        label: superblock.label.clone(),
        content: disk.content(),
    };
    let image = Rc::new(Image { disk: disk.clone(), superblock });
    if Inode::load(&image, ROOT).await?.kind != Kind::Folder {
        return Err(Cause::damaged("the root of the ext4 volume is no folder"));
    }
    Ok(Some(Rc::new(Ext4 { image, info })))
}

/// A mounted volume.
struct Ext4 {
    image: Rc<Image>,
    info: VolumeInfo,
}

/// The bytes of a volume, and how they are divided.
struct Image {
    disk: Disk,
    superblock: Superblock,
}

impl Image {
    /// Bytes of the volume.
    async fn read(&self, at: u64, len: usize) -> Result<Bytes, Cause> {
        match at.checked_add(len as u64) {
            Some(end) if end <= self.superblock.len() => self.disk.read(at, len).await,
            _ => Err(Cause::damaged("something lies outside of the volume")),
        }
    }

    /// At least one and at most `len` bytes of a file, at a place before its end.
    async fn read_content(&self, inode: &Inode, offset: u64, len: usize) -> Result<Bytes, Cause> {
        if inode.form == Form::Inside {
            let content = inode.content.get(offset as usize..);
            let content = content.ok_or(Cause::damaged("a file is longer than its inode"))?;
            return Ok(Bytes::copy_from_slice(&content[..content.len().min(len)]));
        }
        let run = self.locate(inode, offset / u64::from(self.superblock.block_len)).await?;
        self.read_run(run, offset, len).await
    }

    async fn read_run(&self, run: Run, offset: u64, len: usize) -> Result<Bytes, Cause> {
        match self.place(run, offset, len) {
            (Some(at), len) => self.disk.read_some(at, len).await,
            (None, len) => Ok(zeroes(len)),
        }
    }

    /// Where on the disk bytes of a file are, and how many of them are in this run, which begins with their block.
    fn place(&self, run: Run, offset: u64, len: usize) -> (Option<u64>, usize) {
        let block_len = u64::from(self.superblock.block_len);
        let skipped = offset % block_len;
        let most = run.count.saturating_mul(block_len) - skipped;
        (run.block.map(|block| block * block_len + skipped), most.min(len as u64) as usize)
    }
}

fn zeroes(len: usize) -> Bytes {
    Bytes::from_static(&ZEROES[..len.min(ZEROES.len())])
}

impl FileSystem for Ext4 {
    fn info(&self) -> &VolumeInfo {
        &self.info
    }

    fn metadata<'a>(&'a self, path: &'a str) -> Reply<'a, Metadata> {
        Box::pin(async { Ok(self.image.resolve(path).await?.metadata()) })
    }

    fn list<'a>(&'a self, path: &'a str) -> Reply<'a, Vec<Entry>> {
        Box::pin(async {
            let inode = self.image.resolve(path).await?;
            if inode.kind == Kind::Folder { self.image.list(&inode).await } else { Err(Cause::NotAFolder) }
        })
    }

    fn open<'a>(&'a self, path: &'a str, mode: Mode) -> Reply<'a, Rc<dyn Node>> {
        if mode != Mode::Read {
            return Box::pin(ready(Err(Cause::ReadOnly)));
        }
        Box::pin(async {
            let inode = self.image.resolve(path).await?;
            self.image.check_openable(&inode)?;
            Ok(Rc::new(OpenFile { image: self.image.clone(), inode, last: Cell::new(None) }) as Rc<dyn Node>)
        })
    }
}

/// An open file.
struct OpenFile {
    image: Rc<Image>,
    inode: Inode,
    /// The run that was used last.
    last: Cell<Option<Run>>,
}

impl OpenFile {
    /// The run that begins with the block of `offset`, if that is known.
    fn known(&self, offset: u64) -> Option<Run> {
        self.last.get()?.from(offset / u64::from(self.image.superblock.block_len))
    }

    async fn read(&self, offset: u64, len: usize) -> Result<Bytes, Cause> {
        if self.inode.form == Form::Inside {
            return self.image.read_content(&self.inode, offset, len).await;
        }
        let run = match self.known(offset) {
            Some(run) => run,
            None => {
                let index = offset / u64::from(self.image.superblock.block_len);
                let run = self.image.locate(&self.inode, index).await?;
                self.last.set(Some(run));
                run
            }
        };
        self.image.read_run(run, offset, len).await
    }
}

impl Node for OpenFile {
    fn len(&self) -> u64 {
        self.inode.len
    }

    fn read_at(&self, offset: u64, len: usize) -> Reply<'_, Bytes> {
        Box::pin(self.read(offset, len))
    }

    fn read_now(&self, offset: u64, len: usize) -> Option<Bytes> {
        match self.image.place(self.known(offset)?, offset, len) {
            (Some(at), len) => self.image.disk.read_cached(at, len),
            (None, len) => Some(zeroes(len)),
        }
    }

    fn prefetch(&self, offset: u64, len: usize) {
        let Some(run) = self.known(offset) else { return };
        let (Some(at), len) = self.image.place(run, offset, len) else { return };
        for start in (0..len).step_by(PIECE_LEN) {
            self.image.disk.prefetch(at + start as u64, (len - start).min(PIECE_LEN));
        }
    }
}
