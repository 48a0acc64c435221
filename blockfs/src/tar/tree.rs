//! The folders that the paths of an archive make.

use super::header::{Complete, utf8};
use crate::error::Cause;
use alloc::{boxed::Box, collections::BTreeMap, string::String, vec, vec::Vec};

/// A mounted archive keeps about 100 bytes and the name of each entry in memory; larger trees want another format.
const ENTRIES_MAX: usize = 1 << 20;
/// As Linux has it.
const LINKS_MAX: usize = 40;
/// Folders in folders: deeper trees are made to hurt.
const DEPTH_MAX: usize = 256;

const ROOT: usize = 0;

pub(super) struct Tree(Vec<Node>);

pub(super) struct Node {
    pub(super) item: Item,
    pub(super) modified: Option<u64>,
    parent: usize,
}

pub(super) enum Item {
    Folder(BTreeMap<Box<str>, usize>),
    File { start: u64, len: u64 },
    Link(Box<str>),
    Other,
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree(vec![Node { item: Item::Folder(BTreeMap::new()), modified: None, parent: ROOT }])
    }

    pub(super) fn node(&self, number: usize) -> &Node {
        &self.0[number]
    }

    /// Adds an entry; a later one replaces an earlier one, as unpacking would. Folders around it need no entry.
    pub(super) fn add(&mut self, entry: Complete) -> Result<(), Cause> {
        let path = utf8(entry.path)?;
        let mut names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        if names.contains(&"..") || names.len() > DEPTH_MAX {
            return Err(Cause::damaged("a path in the archive leads out of it"));
        }
        let Some(last) = names.pop() else {
            self.0[ROOT].modified = entry.modified;
            return Ok(());
        };
        let mut folder = ROOT;
        for name in names {
            folder = self.folder_in(folder, name)?;
        }
        let item = match entry.kind {
            0 | b'0' | b'7' => Item::File { start: entry.start, len: entry.len },
            b'1' => self.hard_link(utf8(entry.link)?)?,
            b'2' => Item::Link(utf8(entry.link)?.into()),
            b'5' => {
                let folder = self.folder_in(folder, last)?;
                self.0[folder].modified = entry.modified;
                return Ok(());
            }
            b'S' => return Err(Cause::unsupported("the archive has sparse files; make it without `--sparse`")),
            _ => Item::Other,
        };
        self.put(folder, last, Node { item, modified: entry.modified, parent: folder })?;
        Ok(())
    }

    /// The folder `name` in another, made if it is not there.
    fn folder_in(&mut self, folder: usize, name: &str) -> Result<usize, Cause> {
        if let Item::Folder(entries) = &self.0[folder].item
            && let Some(number) = entries.get(name)
            && matches!(self.0[*number].item, Item::Folder(_))
        {
            return Ok(*number);
        }
        self.put(folder, name, Node { item: Item::Folder(BTreeMap::new()), modified: None, parent: folder })
    }

    fn put(&mut self, folder: usize, name: &str, node: Node) -> Result<usize, Cause> {
        let number = self.0.len();
        if number >= ENTRIES_MAX || self.0.try_reserve(1).is_err() {
            return Err(Cause::OutOfMemory);
        }
        let Item::Folder(entries) = &mut self.0[folder].item else { return Err(Cause::NotAFolder) };
        entries.insert(name.into(), number);
        self.0.push(node);
        Ok(number)
    }

    /// Another name of a file that came before.
    fn hard_link(&self, to: String) -> Result<Item, Cause> {
        let to: Vec<&str> = to.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        let number = to.iter().try_fold(ROOT, |folder, name| match &self.0[folder].item {
            Item::Folder(entries) => entries.get(*name).copied(),
            _ => None,
        });
        match number.map(|number| &self.0[number].item) {
            Some(Item::File { start, len }) => Ok(Item::File { start: *start, len: *len }),
            Some(Item::Link(to)) => Ok(Item::Link(to.clone())),
            _ => Err(Cause::damaged("a hard link in the archive leads nowhere")),
        }
    }

    /// What a path leads to, through symbolic links.
    pub(super) fn find(&self, path: &str) -> Result<&Node, Cause> {
        let mut left: Vec<&str> = names_of(path);
        let (mut at, mut links) = (ROOT, 0);
        while let Some(name) = left.pop() {
            let next = match (&self.0[at].item, name) {
                (Item::Folder(_), "..") => self.0[at].parent,
                (Item::Folder(entries), name) => *entries.get(name).ok_or(Cause::NotFound)?,
                _ => return Err(Cause::NotAFolder),
            };
            let Item::Link(to) = &self.0[next].item else {
                at = next;
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(Cause::TooManyLinks);
            }
            if to.starts_with('/') {
                at = ROOT;
            }
            left.extend(names_of(to));
        }
        Ok(&self.0[at])
    }
}

/// The names of a path, the last one first.
fn names_of(path: &str) -> Vec<&str> {
    path.split('/').rev().filter(|name| !matches!(*name, "" | ".")).collect()
}
