//! A folder of the workstation, as what goes into an image.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, Result, bail};

/// A file, folder or link below the folder.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct Item {
    /// Names joined by slashes.
    pub path: String,
    /// What it is.
    pub kind: ItemKind,
    /// Permissions.
    pub mode: u16,
    /// Seconds since 1970.
    pub modified: u64,
    /// Nanoseconds of that, to see whether it changed.
    pub nanoseconds: i64,
}

/// What an item is.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub enum ItemKind {
    /// A folder; what is in it comes after it.
    Folder,
    /// A file of this length; maybe another name of an earlier one.
    File {
        /// In bytes.
        len: u64,
        /// The path of that.
        same_as: Option<String>,
    },
    /// A symbolic link and where it leads.
    Link(String),
}

/// Everything below `root`, sorted, so that the same folder gives the same image. `mtime` replaces all times.
pub fn scan(root: &Path, mtime: Option<u64>) -> Result<Vec<Item>> {
    let mut scan = Scan { items: Vec::new(), seen: HashMap::new(), mtime };
    scan.folder(root, "")?;
    Ok(scan.items)
}

struct Scan {
    items: Vec<Item>,
    /// Files with several names, by device and inode.
    seen: HashMap<(u64, u64), String>,
    mtime: Option<u64>,
}

impl Scan {
    fn folder(&mut self, host: &Path, path: &str) -> Result<()> {
        let names = names(host).with_context(|| format!("cannot list {}", host.display()))?;
        for name in names {
            let host = host.join(&name);
            let Some(name) = name.to_str() else {
                bail!("{} has a name that is not UTF-8, so no app could open it; rename it", host.display());
            };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let metadata = fs::symlink_metadata(&host).with_context(|| format!("cannot look at {}", host.display()))?;
            let item = self.item(&host, path.clone(), &metadata)?;
            self.items.push(item);
            if metadata.is_dir() {
                self.folder(&host, &path)?;
            }
        }
        Ok(())
    }

    fn item(&mut self, host: &Path, path: String, metadata: &Metadata) -> Result<Item> {
        let kind = if metadata.is_dir() {
            ItemKind::Folder
        } else if metadata.is_symlink() {
            let target = fs::read_link(host).with_context(|| format!("cannot read {}", host.display()))?;
            match target.to_str() {
                Some(target) => ItemKind::Link(target.into()),
                None => bail!("{} leads to a name that is not UTF-8; remove it", host.display()),
            }
        } else if metadata.is_file() {
            let key = (metadata.dev(), metadata.ino());
            let same_as = if metadata.nlink() > 1 { self.seen.get(&key).cloned() } else { None };
            if metadata.nlink() > 1 && same_as.is_none() {
                self.seen.insert(key, path.clone());
            }
            ItemKind::File { len: metadata.len(), same_as }
        } else {
            bail!("{} is a pipe, socket or device, which images have no use for; remove it", host.display());
        };
        let modified = self.mtime.unwrap_or(metadata.mtime().max(0).cast_unsigned());
        let mode = (metadata.mode() & 0o7777) as u16;
        Ok(Item { path, kind, mode, modified, nanoseconds: metadata.mtime_nsec() })
    }
}

fn names(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_is_sorted_and_folders_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("b/empty")).unwrap();
        fs::write(path("b/z"), "zz").unwrap();
        fs::write(path("a"), "").unwrap();
        fs::hard_link(path("b/z"), path("c")).unwrap();
        symlink("b/z", path("d")).unwrap();
        let items = scan(folder.path(), Some(7)).unwrap();
        let shown: Vec<_> = items.iter().map(|item| (item.path.as_str(), item.kind.clone(), item.modified)).collect();
        let file = |len, same_as: Option<&str>| ItemKind::File { len, same_as: same_as.map(str::to_owned) };
        let expected = [
            ("a", file(0, None), 7),
            ("b", ItemKind::Folder, 7),
            ("b/empty", ItemKind::Folder, 7),
            ("b/z", file(2, None), 7),
            ("c", file(2, Some("b/z")), 7),
            ("d", ItemKind::Link("b/z".into()), 7),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_no_image_can_hold_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let error = scan(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("is a pipe, socket or device"), "{error}");
    }
}
