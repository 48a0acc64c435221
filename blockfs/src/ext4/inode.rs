//! Inodes: what files, folders and links are, and where their content begins.

use super::{
    Image,
    bytes::{u16_at, u32_at},
    superblock::checksum,
};
use crate::{
    error::Cause,
    metadata::{Kind, Metadata},
};

/// The root's number.
pub(super) const ROOT: u32 = 2;
/// The part that every inode has.
const LEN_MIN: usize = 128;
/// What is read of it: there are no more fields.
const LEN_READ_MAX: usize = 256;
/// The content, or the way to it.
pub(super) const CONTENT_LEN: usize = 60;
const CONTENT_AT: usize = 0x28;

const IS_ENCRYPTED: u32 = 0x800;
const HAS_EXTENTS: u32 = 0x8_0000;
const HAS_CONTENT_INSIDE: u32 = 0x1000_0000;

/// An inode that was read.
#[derive(Clone)]
pub(super) struct Inode {
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) len: u64,
    pub(super) modified: u64,
    pub(super) content: [u8; CONTENT_LEN],
    pub(super) form: Form,
    /// What checksums of its blocks begin with, if there are any.
    pub(super) seed: Option<u32>,
}

/// How the content is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// By a tree of extents.
    Extents,
    /// By numbers of blocks: ext2 and ext3.
    Blocks,
    /// It is in the inode.
    Inside,
}

impl Inode {
    pub(super) async fn load(image: &Image, number: u32) -> Result<Inode, Cause> {
        let superblock = &image.superblock;
        if number == 0 || number > superblock.inodes {
            return Err(Cause::damaged("a name leads to an inode that is not there"));
        }
        let (group, index) = ((number - 1) / superblock.inodes_per_group, (number - 1) % superblock.inodes_per_group);
        let group_at = superblock.groups_at + u64::from(group) * u64::from(superblock.group_len);
        let group = image.read(group_at, superblock.group_len.into()).await?;
        let high = if group.len() >= 64 { u32_at(&group, 0x28) } else { 0 };
        let table = u64::from(high) << 32 | u64::from(u32_at(&group, 0x8));
        if table >= superblock.blocks {
            return Err(Cause::damaged("a table of inodes lies outside of the volume"));
        }
        let at = table * u64::from(superblock.block_len) + u64::from(index) * u64::from(superblock.inode_len);
        let bytes = image.read(at, superblock.inode_len.into()).await?;
        let seed = superblock.seed.map(|seed| {
            let seed = checksum(seed, &number.to_le_bytes());
            checksum(seed, &bytes[0x64..0x68])
        });
        if seed.is_some_and(|seed| !is_whole(seed, &bytes)) {
            return Err(Cause::damaged("the checksum of an inode is wrong"));
        }
        Inode::parse(number, &bytes[..bytes.len().min(LEN_READ_MAX)], seed)
    }

    fn parse(number: u32, bytes: &[u8], seed: Option<u32>) -> Result<Inode, Cause> {
        let (mode, flags) = (u16_at(bytes, 0), u32_at(bytes, 0x20));
        let kind = match mode & 0xf000 {
            0x8000 => Kind::File,
            0x4000 => Kind::Folder,
            0xa000 => Kind::Link,
            0x1000 | 0x2000 | 0x6000 | 0xc000 => Kind::Other,
            _ => return Err(Cause::damaged("an inode is of no known kind")),
        };
        if flags & IS_ENCRYPTED != 0 {
            return Err(Cause::unsupported("this file or folder is encrypted"));
        }
        let len = u64::from(u32_at(bytes, 0x6c)) << 32 | u64::from(u32_at(bytes, 4));
        let content: [u8; CONTENT_LEN] = bytes[CONTENT_AT..][..CONTENT_LEN].try_into().expect("the content's length");
        let is_short_link = kind == Kind::Link && len < CONTENT_LEN as u64 && flags & HAS_EXTENTS == 0;
        let form = match flags {
            _ if is_short_link || flags & HAS_CONTENT_INSIDE != 0 => Form::Inside,
            _ if flags & HAS_EXTENTS != 0 => Form::Extents,
            _ => Form::Blocks,
        };
        // Two bits more than the 32 since 1970.
        let has_more = bytes.len() >= 0x8c && u16_at(bytes, 0x80) >= 0xc;
        let epoch = if has_more { u64::from(u32_at(bytes, 0x88) & 3) } else { 0 };
        let modified = (i64::from(u32_at(bytes, 0x10) as i32) + ((epoch as i64) << 32)).max(0) as u64;
        Ok(Inode { number, kind, len, modified, content, form, seed })
    }

    pub(super) fn metadata(&self) -> Metadata {
        let len = if self.kind == Kind::File { self.len } else { 0 };
        Metadata { kind: self.kind, len, modified: Some(self.modified) }
    }
}

/// Whether an inode has the checksum that it says: over all of it, with zeros in the checksum's place.
fn is_whole(seed: u32, bytes: &[u8]) -> bool {
    let mut sum = checksum(seed, &bytes[..0x7c]);
    sum = checksum(sum, &[0, 0]);
    sum = checksum(sum, &bytes[0x7e..LEN_MIN]);
    let mut expected = u32::from(u16_at(bytes, 0x7c));
    let has_high = bytes.len() > LEN_MIN && u16_at(bytes, 0x80) >= 4;
    match has_high {
        true => {
            sum = checksum(sum, &bytes[LEN_MIN..0x82]);
            sum = checksum(sum, &[0, 0]);
            sum = checksum(sum, &bytes[0x84..]);
            expected |= u32::from(u16_at(bytes, 0x82)) << 16;
        }
        false => {
            sum = checksum(sum, &bytes[LEN_MIN..]);
            sum &= 0xffff;
        }
    }
    sum == expected
}
