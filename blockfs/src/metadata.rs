//! What is known about volumes, files and folders.

use alloc::string::String;

/// The format of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// EROFS, the enhanced read-only file system of Linux (`mkfs.erofs`).
    Erofs,
    /// An archive of `tar`, read-only.
    Tar,
    /// ext2, ext3 or ext4 (`mke2fs`), read-only.
    Ext4,
    /// littlefs, to read and write; survives a loss of power.
    Littlefs,
    /// FAT32, to read and write, for exchange; a loss of power may damage it.
    Fat,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The format.
    pub format: Format,
    /// Bytes of the file system.
    pub len: u64,
    /// The unit in which it gives space to files, in bytes.
    pub block_len: u32,
    /// Nothing can be written.
    pub is_read_only: bool,
    /// The volume's name, where the format has one.
    pub label: String,
    /// A number that is another one when anything on the volume is another one: every byte that is read is checked
    /// against a checksum. `None` without such checksums.
    pub content: Option<u32>,
}

/// What is free. In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What files could have if there were none.
    pub total: u64,
    /// What is left.
    pub free: u64,
}

/// A file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, in listings; [`metadata`](crate::Volume::metadata) is about what it leads to.
    Link,
    /// A device, pipe or socket: listed, never opened.
    Other,
}

/// About a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Bytes in it; of a folder 0.
    pub len: u64,
    /// When it was last changed, in seconds since 1970; `None` where the format does not say.
    pub modified: Option<u64>,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the path. A name that is not UTF-8 has replacement characters, and cannot be opened.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}
