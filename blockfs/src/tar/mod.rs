//! Archives of `tar`, read-only: the quickest way to put files on a disk.
//!
//! POSIX.1-1988 (ustar), with the long names of GNU tar and the extended headers of POSIX.1-2001 (pax). The headers are
//! read once, when the archive is mounted, so that takes a look at each; a file lies in one piece and is read from the
//! disk's cache without copying.

mod header;
mod tree;

use crate::{
    Disk,
    error::Cause,
    fs::{FileSystem, Mode, Node, Reply},
    metadata::{Entry, Format, Kind, Metadata, VolumeInfo},
};
use alloc::{boxed::Box, rc::Rc, string::String, vec::Vec};
use bytes::Bytes;
use core::future::ready;
use header::{BLOCK_LEN, Header};
use tree::{Item, Tree};

/// Whether the disk begins with the header of an entry.
pub(crate) fn recognise(start: &[u8]) -> bool {
    matches!(Header::parse(start), Ok(Some(_)))
}

pub(crate) async fn mount(disk: Disk) -> Result<Rc<dyn FileSystem>, Cause> {
    let tree = read_headers(&disk).await?;
    let info = VolumeInfo {
        format: Format::Tar,
        len: disk.len(),
        block_len: BLOCK_LEN as u32,
        is_read_only: true,
        label: String::new(),
        content: disk.content(),
    };
    Ok(Rc::new(Archive { disk, tree, info }))
}

/// The archive ends with blocks of zeros, or with the disk.
async fn read_headers(disk: &Disk) -> Result<Tree, Cause> {
    let mut tree = Tree::new();
    let mut more = header::Extended::default();
    let mut at = 0;
    while at + BLOCK_LEN <= disk.len() {
        let Some(header) = Header::parse(&disk.read(at, BLOCK_LEN as usize).await?)? else { break };
        let start = at + BLOCK_LEN;
        let len = more.len_of(&header);
        let end = start.checked_add(len).filter(|end| *end <= disk.len());
        let end = end.ok_or(Cause::damaged("an entry of the archive reaches beyond its end"))?;
        if header.is_about_the_next() {
            more.read(&header, disk, start).await?;
        } else {
            tree.add(core::mem::take(&mut more).complete(header, start))?;
        }
        at = end.next_multiple_of(BLOCK_LEN);
    }
    Ok(tree)
}

struct Archive {
    disk: Disk,
    tree: Tree,
    info: VolumeInfo,
}

impl Archive {
    fn open_file(&self, path: &str, mode: Mode) -> Result<Rc<dyn Node>, Cause> {
        if mode != Mode::Read {
            return Err(Cause::ReadOnly);
        }
        match self.tree.find(path)?.item {
            Item::File { start, len } => Ok(Rc::new(TarFile { disk: self.disk.clone(), start, len })),
            Item::Folder(_) => Err(Cause::IsAFolder),
            _ => Err(Cause::unsupported("it is a device, a pipe or a socket")),
        }
    }

    fn metadata_of(&self, path: &str) -> Result<Metadata, Cause> {
        let node = self.tree.find(path)?;
        let len = if let Item::File { len, .. } = node.item { len } else { 0 };
        Ok(Metadata { kind: node.kind(), len, modified: node.modified })
    }

    fn entries_of(&self, path: &str) -> Result<Vec<Entry>, Cause> {
        let Item::Folder(entries) = &self.tree.find(path)?.item else { return Err(Cause::NotAFolder) };
        let entries = entries.iter().map(|(name, number)| {
            let kind = self.tree.node(*number).kind();
            Entry { name: String::from(&**name), kind }
        });
        Ok(entries.collect())
    }
}

impl FileSystem for Archive {
    fn info(&self) -> &VolumeInfo {
        &self.info
    }

    fn metadata<'a>(&'a self, path: &'a str) -> Reply<'a, Metadata> {
        Box::pin(ready(self.metadata_of(path)))
    }

    fn list<'a>(&'a self, path: &'a str) -> Reply<'a, Vec<Entry>> {
        Box::pin(ready(self.entries_of(path)))
    }

    fn open<'a>(&'a self, path: &'a str, mode: Mode) -> Reply<'a, Rc<dyn Node>> {
        Box::pin(ready(self.open_file(path, mode)))
    }
}

/// Bytes of the disk, in one piece.
struct TarFile {
    disk: Disk,
    start: u64,
    len: u64,
}

impl Node for TarFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize) -> Reply<'_, Bytes> {
        Box::pin(self.disk.read_some(self.start + offset, len))
    }

    fn read_now(&self, offset: u64, len: usize) -> Option<Bytes> {
        self.disk.read_cached(self.start + offset, len)
    }

    fn prefetch(&self, offset: u64, len: usize) {
        self.disk.prefetch(self.start + offset, len);
    }
}

impl tree::Node {
    fn kind(&self) -> Kind {
        match self.item {
            Item::File { .. } => Kind::File,
            Item::Folder(_) => Kind::Folder,
            Item::Link(_) => Kind::Link,
            Item::Other => Kind::Other,
        }
    }
}
