//! EROFS: images that `mkfs.erofs` or our own `Builder` makes, read-only.
//!
//! Mounting reads the superblock and the root's inode; a path costs a binary search per folder the first time, and a look
//! into a table after that. Plain content goes from the disk's cache to the reader without copying. Every number in an
//! image is distrusted: each is checked where it is read, and loops are bounded by what the disk holds.

#[cfg(not(target_os = "none"))]
mod build;
mod bytes;
mod chunks;
mod folder;
mod image;
mod inode;
mod names;
mod open;
mod packed;
mod resolve;
mod superblock;

#[cfg(not(target_os = "none"))]
pub use build::{Attributes, Builder, Content};

use crate::{
    Disk,
    error::Cause,
    fs::{FileSystem, Mode, Node, Reply},
    metadata::{Entry, Format, Kind, Metadata, VolumeInfo},
};
use ::bytes::Bytes;
use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{cell::RefCell, future::ready};
use image::Image;
use inode::Inode;
use names::Names;
use open::Found;
use superblock::Superblock;

/// Mounts the EROFS on `disk`; `None` if there is none.
pub(crate) async fn mount(disk: &Disk) -> Result<Option<Rc<dyn FileSystem>>, Cause> {
    let Some(head) = superblock_bytes(disk).await? else { return Ok(None) };
    let superblock = Superblock::parse(&head)?;
    superblock.verify(disk).await?;
    let info = VolumeInfo {
        format: Format::Erofs,
        len: superblock.len,
        block_len: 1 << superblock.block_bits,
        is_read_only: true,
        label: superblock.label.clone(),
        content: disk.content(),
    };
    let image = Rc::new(Image::new(disk.clone(), superblock));
    let root = Inode::load(&image, image.superblock.root).await?;
    if root.kind != Kind::Folder {
        return Err(Cause::damaged("the root of the EROFS is no folder"));
    }
    let root = Rc::new(Found { image: image.clone(), inode: root });
    Ok(Some(Rc::new(Erofs { info, image, root, names: RefCell::default() })))
}

async fn superblock_bytes(disk: &Disk) -> Result<Option<[u8; superblock::LEN]>, Cause> {
    if disk.len() < superblock::OFFSET + superblock::LEN as u64 {
        return Ok(None);
    }
    let read: Bytes = disk.read(superblock::OFFSET, superblock::LEN).await?;
    let head: [u8; superblock::LEN] = core::array::from_fn(|at| read[at]);
    Ok((bytes::u32_at(&head, 0) == superblock::MAGIC).then_some(head))
}

/// A mounted volume.
struct Erofs {
    info: VolumeInfo,
    image: Rc<Image>,
    root: Rc<Found>,
    names: RefCell<Names>,
}

impl FileSystem for Erofs {
    fn info(&self) -> &VolumeInfo {
        &self.info
    }

    fn metadata<'a>(&'a self, path: &'a str) -> Reply<'a, Metadata> {
        Box::pin(async { Ok(self.resolve(path).await?.metadata()) })
    }

    fn list<'a>(&'a self, path: &'a str) -> Reply<'a, Vec<Entry>> {
        Box::pin(async {
            let found = self.resolve(path).await?;
            match found.inode.kind {
                Kind::Folder => folder::list(&self.image, &found.inode).await,
                _ => Err(Cause::NotAFolder),
            }
        })
    }

    fn open<'a>(&'a self, path: &'a str, mode: Mode) -> Reply<'a, Rc<dyn Node>> {
        if mode != Mode::Read {
            return Box::pin(ready(Err(Cause::ReadOnly)));
        }
        if let Some(found) = self.known(path) {
            return Box::pin(ready(openable(found)));
        }
        Box::pin(async { openable(self.resolve(path).await?) })
    }
}

fn openable(found: Rc<Found>) -> Result<Rc<dyn Node>, Cause> {
    match found.inode.kind {
        Kind::File => Ok(found),
        Kind::Folder => Err(Cause::IsAFolder),
        _ => Err(Cause::unsupported("this is a device, pipe or socket, and not opened here")),
    }
}
