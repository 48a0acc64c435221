//! From paths to inodes, through symbolic links.

use super::{
    Image,
    inode::{Form, Inode, ROOT},
};
use crate::{error::Cause, metadata::Kind};
use alloc::{vec, vec::Vec};

/// As in Linux: a path that leads through more is taken for a loop.
const LINKS_MAX: usize = 40;
/// The longest target of a link (`PATH_MAX` of Linux).
const TARGET_LEN_MAX: u64 = 4096;

impl Image {
    /// What a path leads to; never a link. `..` in a link does not leave the root.
    pub(super) async fn resolve(&self, path: &str) -> Result<Inode, Cause> {
        // Names still to be looked for, the next one last.
        let mut names: Vec<Vec<u8>> = parts(path.as_bytes());
        let (mut above, mut here) = (Vec::new(), Inode::load(self, ROOT).await?);
        let mut links = 0;
        while let Some(name) = names.pop() {
            if here.kind != Kind::Folder {
                return Err(Cause::NotAFolder);
            }
            if name == b".." {
                here = above.pop().unwrap_or(here);
                continue;
            }
            let child = Inode::load(self, self.find(&here, &name).await?).await?;
            match child.kind {
                Kind::Link => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Cause::TooManyLinks);
                    }
                    let target = self.target(&child).await?;
                    if target.starts_with(b"/") {
                        here = above.drain(..).next().unwrap_or(here);
                    }
                    names.extend(parts(&target));
                }
                // Folders that lead back to themselves do not know that.
                Kind::Folder if self.above(&child).await? != here.number => {
                    return Err(Cause::damaged("a folder does not know which folder it is in"));
                }
                _ => above.push(core::mem::replace(&mut here, child)),
            }
        }
        match here.kind {
            Kind::Folder if here.number == ROOT && !above.is_empty() => Err(Cause::damaged("the root is in a folder")),
            _ => Ok(here),
        }
    }

    async fn target(&self, link: &Inode) -> Result<Vec<u8>, Cause> {
        if link.len == 0 || link.len > TARGET_LEN_MAX {
            return Err(Cause::damaged("a link has a length that links do not have"));
        }
        let mut target = vec![0; link.len as usize];
        let mut done = 0;
        while done < target.len() {
            let piece = self.read_content(link, done as u64, target.len() - done).await?;
            target[done..done + piece.len()].copy_from_slice(&piece);
            done += piece.len();
        }
        Ok(target)
    }

    /// Whether the content of this file can be read at all.
    pub(super) fn check_openable(&self, inode: &Inode) -> Result<(), Cause> {
        match inode.kind {
            Kind::Folder => Err(Cause::IsAFolder),
            Kind::File if inode.form == Form::Inside && inode.len > inode.content.len() as u64 => {
                Err(Cause::unsupported("this file is in its inode and the attributes of that (inline_data)"))
            }
            Kind::File => Ok(()),
            _ => Err(Cause::unsupported("this is a device, pipe or socket, and not opened here")),
        }
    }
}

/// The names of a path, the last one first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(Vec::from).collect()
}
