//! The entries of folders: 32 bytes each, of which a file has one, and some before it for its long name.

use super::{
    layout::{u16_at, u32_at},
    time,
};
use crate::metadata::{Kind, Metadata};

pub(super) const ENTRY_LEN: usize = 32;
/// The first byte of an entry that is not used, ...
pub(super) const FREE: u8 = 0xe5;
/// ... and of one after which none is.
pub(super) const LAST: u8 = 0;
/// Stands for a first byte that happens to be [`FREE`].
pub(super) const ESCAPED_FREE: u8 = 0x05;

const READ_ONLY: u8 = 0x01;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
/// A part of a long name has these attributes, which nothing else can have.
const LONG_NAME: u8 = 0x0f;
const ATTRIBUTES: u8 = 0x3f;

/// The entry of a file or folder, in the disk's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(pub(super) [u8; ENTRY_LEN]);

impl Entry {
    /// An entry without a name, made at `now` in seconds since 1970.
    pub(super) fn new(kind: Kind, cluster: u32, now: u64) -> Entry {
        let mut bytes = [0; ENTRY_LEN];
        bytes[11] = if kind == Kind::Folder { FOLDER } else { ARCHIVE };
        let (date, time, hundredths) = time::encode(now);
        bytes[13] = hundredths;
        bytes[14..16].copy_from_slice(&time.to_le_bytes());
        bytes[16..18].copy_from_slice(&date.to_le_bytes());
        bytes[18..20].copy_from_slice(&date.to_le_bytes());
        let mut entry = Entry(bytes);
        entry.set_content(cluster, 0, now);
        entry
    }

    pub(super) fn is_long_name(&self) -> bool {
        self.0[11] & ATTRIBUTES == LONG_NAME
    }

    pub(super) fn is_label(&self) -> bool {
        !self.is_long_name() && self.0[11] & LABEL != 0
    }

    pub(super) fn is_folder(&self) -> bool {
        self.0[11] & FOLDER != 0
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.0[11] & READ_ONLY != 0
    }

    /// A folder's entry for itself or for the one around it.
    pub(super) fn is_dot(&self) -> bool {
        matches!(&self.0[..11], b".          " | b"..         ")
    }

    pub(super) fn short_name(&self) -> &[u8; 11] {
        self.0.first_chunk().expect("an entry begins with its name")
    }

    pub(super) fn set_short_name(&mut self, name: &[u8; 11]) {
        self.0[..11].copy_from_slice(name);
        // Bits that say which parts of a short name are lower case.
        self.0[12] = 0;
    }

    pub(super) fn cluster(&self) -> u32 {
        u32::from(u16_at(&self.0, 20)) << 16 | u32::from(u16_at(&self.0, 26))
    }

    pub(super) fn len(&self) -> u32 {
        u32_at(&self.0, 28)
    }

    pub(super) fn set_content(&mut self, cluster: u32, len: u32, now: u64) {
        self.set_cluster(cluster);
        self.0[28..32].copy_from_slice(&len.to_le_bytes());
        let (date, time, _) = time::encode(now);
        self.0[22..24].copy_from_slice(&time.to_le_bytes());
        self.0[24..26].copy_from_slice(&date.to_le_bytes());
        self.0[18..20].copy_from_slice(&date.to_le_bytes());
        if !self.is_folder() {
            self.0[11] |= ARCHIVE;
        }
    }

    pub(super) fn set_cluster(&mut self, cluster: u32) {
        self.0[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
        self.0[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    }

    /// Takes content, attributes and times from another entry; the name stays.
    pub(super) fn take_content(&mut self, other: &Entry) {
        self.0[13..].copy_from_slice(&other.0[13..]);
        self.0[11] = other.0[11];
    }

    pub(super) fn kind(&self) -> Kind {
        if self.is_folder() { Kind::Folder } else { Kind::File }
    }

    pub(super) fn metadata(&self) -> Metadata {
        Metadata {
            kind: self.kind(),
            len: if self.is_folder() { 0 } else { self.len().into() },
            modified: time::decode(u16_at(&self.0, 24), u16_at(&self.0, 22)),
        }
    }
}
