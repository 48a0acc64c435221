//! Folders of the workstation.

use super::{Attributes, Builder, Content, Seen, invalid};
use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    string::String,
    vec,
    vec::Vec,
};

/// What is known of a file of the workstation; an error names it.
pub(super) fn about(path: &Path) -> io::Result<Metadata> {
    fs::metadata(path).map_err(|error| named(path, &error))
}

pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), std::format!("{}: {error}", path.display()))
}

impl Builder {
    /// Everything below a folder of the workstation: files, folders, links, files with several names. Modes and times are
    /// kept, owners are not.
    ///
    /// # Errors
    ///
    /// Something cannot be read; a name is not UTF-8; there is a pipe, socket or device.
    pub fn from_folder(root: &Path) -> io::Result<Builder> {
        let mut builder = Builder::new();
        builder.folder("", attributes(&about(root)?))?;
        let (mut seen, mut folders) = (Seen::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let mut names = names(&root.join(&folder))?;
            // The order of what is added is that of the image.
            names.sort_unstable();
            for name in names {
                let path = if folder.is_empty() { name } else { folder.clone() + "/" + &name };
                if builder.add_from(root, &path, &mut seen)? {
                    folders.push(path);
                }
            }
        }
        Ok(builder)
    }

    /// Adds what is at `path` below `root`. True if that is a folder.
    fn add_from(&mut self, root: &Path, path: &str, seen: &mut Seen) -> io::Result<bool> {
        let host = root.join(path);
        let about = fs::symlink_metadata(&host).map_err(|error| named(&host, &error))?;
        let (kind, attributes) = (about.file_type(), attributes(&about));
        if kind.is_dir() {
            self.folder(path, attributes)?;
            return Ok(true);
        }
        if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
            return Err(invalid(format_args!(
                "{} is a pipe, socket or device, which images have no use for; remove it",
                host.display()
            )));
        }
        if about.nlink() > 1 {
            if let Some(of) = seen.get(&(about.dev(), about.ino())) {
                self.same(path, of)?;
                return Ok(false);
            }
            seen.insert((about.dev(), about.ino()), path.into());
        }
        if kind.is_symlink() {
            let target = fs::read_link(&host).map_err(|error| named(&host, &error))?;
            let target = target.to_str().ok_or_else(|| not_utf8(&host))?;
            self.link(path, target, attributes)?;
        } else {
            self.file(path, Content::Path(host), attributes)?;
        }
        Ok(false)
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|error| named(folder, &error))?;
    let name = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.map_err(|error| named(folder, &error))?;
        entry.file_name().into_string().map_err(|_| not_utf8(&entry.path()))
    };
    entries.map(name).collect()
}

fn not_utf8(path: &Path) -> io::Error {
    invalid(format_args!(
        "{} has a name or target that is not UTF-8, and could not be opened; rename it",
        path.display()
    ))
}

fn attributes(about: &Metadata) -> Attributes {
    Attributes { mode: (about.mode() & 0o7777) as u16, modified: about.mtime().max(0) as u64 }
}
