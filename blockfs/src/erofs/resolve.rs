//! From paths to inodes, through symbolic links.

use super::{Erofs, folder, inode::Inode, open::Found};
use crate::{error::Cause, metadata::Kind, path};
use alloc::{rc::Rc, vec::Vec};
use bytes::Bytes;

/// As in Linux: a path that leads through more is taken for a loop.
const LINKS_MAX: usize = 40;
/// The longest target of a link, as in Linux (`PATH_MAX`, without the NUL).
const TARGET_LEN_MAX: u64 = 4095;

impl Erofs {
    /// What `path` leads to, if that was looked up before.
    pub(super) fn known(&self, path: &str) -> Option<Rc<Found>> {
        self.names.borrow_mut().get(path)
    }

    /// What `path` leads to. Never a link.
    pub(super) async fn resolve(&self, path: &str) -> Result<Rc<Found>, Cause> {
        if let Some(found) = self.known(path) {
            return Ok(found);
        }
        let found = match self.beside(path).await? {
            Some(found) => found,
            None => self.walk(path).await?,
        };
        self.names.borrow_mut().insert(path, found.clone());
        Ok(found)
    }

    /// The same by way of the folder around it, if that is known; `None` if it is not, or a link is met.
    async fn beside(&self, path: &str) -> Result<Option<Rc<Found>>, Cause> {
        let Some((around, name)) = path::split_last(path) else { return Ok(Some(self.root.clone())) };
        let around = if around.is_empty() { Some(self.root.clone()) } else { self.known(around) };
        let Some(around) = around else { return Ok(None) };
        let found = self.child(&around, name.as_bytes()).await?;
        Ok((found.inode.kind != Kind::Link).then_some(found))
    }

    /// The same from the root, name by name. A link's target takes the place of its name; `..` does not leave the root.
    async fn walk(&self, path: &str) -> Result<Rc<Found>, Cause> {
        let mut names = Vec::from(path.as_bytes());
        let (mut at, mut links) = (0, 0);
        let (mut above, mut here) = (Vec::new(), self.root.clone());
        while let Some(name) = next_name(&names, &mut at) {
            if here.inode.kind != Kind::Folder {
                return Err(Cause::NotAFolder);
            }
            if name == b".." {
                here = above.pop().unwrap_or(here);
                continue;
            }
            let child = self.child(&here, name).await?;
            if child.inode.kind != Kind::Link {
                self.remember_folder(path, &names, at, links, &child);
                above.push(core::mem::replace(&mut here, child));
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(Cause::TooManyLinks);
            }
            let target = self.target(&child.inode).await?;
            if target.starts_with(b"/") {
                above.clear();
                here = self.root.clone();
            }
            names = [&target[..], &names[at..]].join(&b'/');
            at = 0;
        }
        Ok(here)
    }

    /// The folder around the last name is where the next path is likely to lead.
    fn remember_folder(&self, path: &str, names: &[u8], at: usize, links: usize, child: &Rc<Found>) {
        let is_around = links == 0 && at < names.len() && !names[at..].contains(&b'/');
        if let (true, Some((around, _))) = (is_around, path::split_last(path)) {
            self.names.borrow_mut().insert(around, child.clone());
        }
    }

    async fn child(&self, folder: &Found, name: &[u8]) -> Result<Rc<Found>, Cause> {
        if folder.inode.kind != Kind::Folder {
            return Err(Cause::NotAFolder);
        }
        let number = folder::find(&self.image, &folder.inode, name).await?;
        let inode = Inode::load(&self.image, number).await?;
        Ok(Rc::new(Found { image: self.image.clone(), inode }))
    }

    async fn target(&self, link: &Inode) -> Result<Bytes, Cause> {
        if link.len == 0 || link.len > TARGET_LEN_MAX {
            return Err(Cause::damaged("a link of the EROFS has a length that links do not have"));
        }
        self.image.read(link, 0, link.len as usize).await
    }
}

/// The name at `at`, which moves behind it; `.` and nothing between slashes are no names.
fn next_name<'a>(names: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    loop {
        let rest = names.get(*at..).filter(|rest| !rest.is_empty())?;
        let len = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        *at = (*at + len + 1).min(names.len());
        if len > 0 && rest[..len] != *b"." {
            return Some(&rest[..len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links() {
        let check = |path: &str, expected: &[&str]| {
            let (mut at, mut found) = (0, Vec::new());
            while let Some(name) = next_name(path.as_bytes(), &mut at) {
                found.push(core::str::from_utf8(name).unwrap());
            }
            assert_eq!(found, expected, "{path:?}");
        };
        check("", &[]);
        check("/", &[]);
        check("a", &["a"]);
        check("/a/../b", &["a", "..", "b"]);
        check("./a//b/.", &["a", "b"]);
        check("...", &["..."]);
    }
}
