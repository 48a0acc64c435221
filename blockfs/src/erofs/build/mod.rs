//! Makes EROFS images, on a workstation.
//!
//! An image is the superblock's block, then the inodes with the last bytes of their files, then whole blocks of content.
//! The same entries make the same image, bit for bit: owners are left out, and nobody looks at the clock.

mod entries;
mod host;
mod plan;
mod write;

use super::superblock;
use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Seek, Write},
    path::PathBuf,
    string::String,
    vec,
    vec::Vec,
};

/// The number of the root among the nodes.
const ROOT: usize = 0;

/// What an image will hold: folders, files and links are added, then it is written.
///
/// Folders that an entry lies in and that were not added are there with the mode 0755 and the time 0.
///
/// ```no_run
/// use unikernel_blockfs::erofs::{Attributes, Builder, Content};
///
/// let mut site = Builder::from_folder("site".as_ref())?;
/// site.file("version.txt", Content::Bytes(b"7".to_vec()), Attributes::file(1_700_000_000))?;
/// site.write(&mut std::fs::File::create("site.img")?)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Builder {
    nodes: Vec<Node>,
    label: [u8; 16],
    block_len: u64,
}

/// What every Linux reads.
const BLOCK_LEN_DEFAULT: u64 = 4096;

/// Mode and time of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions, the lower twelve bits of a mode.
    pub mode: u16,
    /// When it was last changed, in seconds since 1970.
    pub modified: u64,
}

impl Attributes {
    /// Those of a file that everybody may read.
    pub fn file(modified: u64) -> Attributes {
        Attributes { mode: 0o644, modified }
    }

    /// Those of a folder that everybody may list.
    pub fn folder(modified: u64) -> Attributes {
        Attributes { mode: 0o755, modified }
    }
}

/// Where the content of a file comes from.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of the workstation; it is read when the image is written.
    Path(PathBuf),
}

struct Node {
    attributes: Attributes,
    /// Names that lead here.
    links: u32,
    kind: NodeKind,
}

enum NodeKind {
    Folder { around: usize, entries: BTreeMap<String, usize> },
    File { content: Content, len: u64 },
    Link { target: String },
}

impl Builder {
    /// An empty root.
    pub fn new() -> Builder {
        let kind = NodeKind::Folder { around: ROOT, entries: BTreeMap::new() };
        Builder {
            nodes: vec![Node { attributes: Attributes::folder(0), links: 2, kind }],
            label: [0; 16],
            block_len: BLOCK_LEN_DEFAULT,
        }
    }

    /// Gives the volume a name.
    ///
    /// # Errors
    ///
    /// It has more than 16 bytes.
    pub fn label(&mut self, label: &str) -> io::Result<()> {
        match self.label.get_mut(..label.len()) {
            Some(place) => place.copy_from_slice(label.as_bytes()),
            None => {
                return Err(invalid(format_args!("the label `{label}` has more than 16 bytes; take a shorter one")));
            }
        }
        Ok(())
    }

    /// Sets the length of blocks, which is 4096: a power of two from 512 to 65536. Linux reads shorter ones since 6.4, and none
    /// that are longer than its pages.
    ///
    /// # Errors
    ///
    /// It is none of these.
    pub fn block_len(&mut self, len: u32) -> io::Result<()> {
        if !len.is_power_of_two() || !superblock::BLOCK_BITS.contains(&(len.ilog2() as u8)) {
            return Err(invalid(format_args!("blocks cannot have {len} bytes; take 4096")));
        }
        self.block_len = len.into();
        Ok(())
    }

    /// Adds a folder; one that is there, and the root as `""`, gets these attributes.
    ///
    /// # Errors
    ///
    /// The path has names that are not allowed; one of them is a file or link.
    pub fn folder(&mut self, path: &str, attributes: Attributes) -> io::Result<()> {
        let number = self.folder_at(path.trim_matches('/'), path)?;
        self.nodes[number].attributes = attributes;
        Ok(())
    }

    /// Adds a file.
    ///
    /// # Errors
    ///
    /// As for [`folder`](Self::folder); there is something under this path; the workstation's file is not there.
    pub fn file(&mut self, path: &str, content: Content, attributes: Attributes) -> io::Result<()> {
        let len = match &content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Path(host) => host::about(host)?.len(),
        };
        self.add(path, attributes, NodeKind::File { content, len })
    }

    /// Adds a symbolic link; an absolute target begins at the volume's root.
    ///
    /// # Errors
    ///
    /// As for [`file`](Self::file); the target is empty or longer than 4095 bytes.
    pub fn link(&mut self, path: &str, target: &str, attributes: Attributes) -> io::Result<()> {
        if target.is_empty() || target.len() > 4095 || target.contains('\0') {
            return Err(invalid(format_args!("the link `{path}` has a target that links cannot have")));
        }
        self.add(path, attributes, NodeKind::Link { target: target.into() })
    }

    /// Adds another name for a file or link that is there.
    ///
    /// # Errors
    ///
    /// As for [`file`](Self::file); there is nothing under `of`, or a folder.
    pub fn same(&mut self, path: &str, of: &str) -> io::Result<()> {
        let none = || invalid(format_args!("`{path}` cannot be the same as `{of}`, which is no file; add that first"));
        let number = self.find(of).ok_or_else(none)?;
        if let NodeKind::Folder { .. } = self.nodes[number].kind {
            return Err(none());
        }
        self.name(path, Some(number))?;
        self.nodes[number].links += 1;
        Ok(())
    }

    /// Writes the image, from the start of `image` on. Returns its length. Files are copied piece by piece, so it may be
    /// larger than the memory.
    ///
    /// # Errors
    ///
    /// The image cannot be written; a file cannot be read, or has another length than when it was added.
    pub fn write(self, image: &mut (impl Write + Seek)) -> io::Result<u64> {
        let plan = plan::Plan::new(&self.nodes, self.block_len)?;
        write::write(&self.nodes, &plan, self.label, image)
    }

    fn add(&mut self, path: &str, attributes: Attributes, kind: NodeKind) -> io::Result<()> {
        self.name(path, None)?;
        self.nodes.push(Node { attributes, links: 1, kind });
        Ok(())
    }

    /// Names a node that is no folder: the next one that is added, if there is no `number`.
    fn name(&mut self, path: &str, number: Option<usize>) -> io::Result<()> {
        let trimmed = path.trim_matches('/');
        let (around, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        check_name(name, path)?;
        let around = self.folder_at(around, path)?;
        let number = number.unwrap_or(self.nodes.len());
        let NodeKind::Folder { entries, .. } = &mut self.nodes[around].kind else { unreachable!("`folder_at` checks") };
        if entries.contains_key(name) {
            return Err(invalid(format_args!("`{path}` is there twice; remove one")));
        }
        entries.insert(name.into(), number);
        Ok(())
    }

    /// The folder at `path`, made where it is missing; `whole` is what errors are about.
    fn folder_at(&mut self, path: &str, whole: &str) -> io::Result<usize> {
        let mut here = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            check_name(name, whole)?;
            let next = self.nodes.len();
            let NodeKind::Folder { entries, .. } = &mut self.nodes[here].kind else {
                return Err(invalid(format_args!("`{whole}` leads through something that is no folder; rename one")));
            };
            let number = *entries.entry(name.into()).or_insert(next);
            if number == next {
                let kind = NodeKind::Folder { around: here, entries: BTreeMap::new() };
                self.nodes.push(Node { attributes: Attributes::folder(0), links: 2, kind });
                self.nodes[here].links += 1;
            }
            here = number;
        }
        match self.nodes[here].kind {
            NodeKind::Folder { .. } => Ok(here),
            _ => Err(invalid(format_args!("`{whole}` leads through something that is no folder; rename one"))),
        }
    }

    fn find(&self, path: &str) -> Option<usize> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(ROOT, |here, name| match &self.nodes[here].kind {
            NodeKind::Folder { entries, .. } => entries.get(name).copied(),
            _ => None,
        })
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl core::fmt::Debug for Builder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Builder({} entries)", self.nodes.len() - 1)
    }
}

fn check_name(name: &str, path: &str) -> io::Result<()> {
    let is_allowed =
        !matches!(name, "" | "." | "..") && name.len() <= crate::path::NAME_LEN_MAX && !name.contains('\0');
    if is_allowed {
        Ok(())
    } else {
        Err(invalid(format_args!("`{path}` has the name `{name}`, which no file can have")))
    }
}

fn invalid(what: core::fmt::Arguments<'_>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, std::format!("{what}"))
}

/// Files of the workstation that have several names, by device and inode.
type Seen = HashMap<(u64, u64), String>;
