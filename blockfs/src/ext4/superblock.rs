//! The superblock: what the volume is, and where its groups are described. The numbers are those of Linux,
//! `fs/ext4/ext4.h`.

use super::bytes::{u16_at, u32_at};
use crate::error::Cause;
use alloc::string::String;
use unikernel_rt::checksum::crc32c;

/// Where it is, and how long.
pub(super) const OFFSET: u64 = 1024;
pub(super) const LEN: usize = 1024;
const MAGIC: u16 = 0xef53;
/// Where its own checksum is.
const CHECKSUM_AT: usize = 0x3fc;

/// Features without which the volume cannot be understood, as far as we do:
const HAS_TYPES_IN_FOLDERS: u32 = 0x2;
const NEEDS_RECOVERY: u32 = 0x4;
const IS_JOURNAL: u32 = 0x8;
const HAS_64_BITS: u32 = 0x80;
const HAS_CHECKSUM_SEED: u32 = 0x2000;
/// ... extents, multiple mount protection, flexible groups, attributes in inodes, large folders, content in inodes,
/// encryption and folders without case, which concern single files.
const UNDERSTOOD: u32 = HAS_TYPES_IN_FOLDERS
    | HAS_64_BITS
    | HAS_CHECKSUM_SEED
    | 0x40
    | 0x100
    | 0x200
    | 0x400
    | 0x4000
    | 0x8000
    | 0x1_0000
    | 0x2_0000;
/// A feature that may be ignored by who only reads, but for its checksums.
const HAS_CHECKSUMS: u32 = 0x400;
/// The same: what a bit of its maps stands for.
const HAS_CLUSTERS: u32 = 0x200;

/// What is needed of it.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) block_len: u32,
    pub(super) blocks: u64,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_len: u16,
    /// Where the descriptions of the groups begin, in bytes, and how long each is.
    pub(super) groups_at: u64,
    pub(super) group_len: u16,
    pub(super) has_types_in_folders: bool,
    /// What checksums begin with, if there are any.
    pub(super) seed: Option<u32>,
    pub(super) label: String,
}

/// Whether these bytes are a superblock.
pub(super) fn is_superblock(bytes: &[u8]) -> bool {
    bytes.len() == LEN && u16_at(bytes, 0x38) == MAGIC
}

impl Superblock {
    pub(super) fn parse(bytes: &[u8], disk_len: u64) -> Result<Superblock, Cause> {
        let (incompatible, read_only) = (u32_at(bytes, 0x60), u32_at(bytes, 0x64));
        if incompatible & NEEDS_RECOVERY != 0 {
            return Err(Cause::unsupported(
                "the ext4 volume was not unmounted, and its journal has the last changes; run `e2fsck -p` on it first",
            ));
        }
        if incompatible & IS_JOURNAL != 0 {
            return Err(Cause::unsupported("it is the journal of an ext4 volume, not the volume"));
        }
        if incompatible & !UNDERSTOOD != 0 || read_only & HAS_CLUSTERS != 0 {
            return Err(Cause::unsupported(
                "the ext4 volume has features that are not read here (meta_bg, bigalloc, compression or newer ones)",
            ));
        }
        let is_wide = incompatible & HAS_64_BITS != 0;
        let high_blocks = if is_wide { u32_at(bytes, 0x150) } else { 0 };
        let block_len = 1024_u32.checked_shl(u32_at(bytes, 0x18)).unwrap_or(0);
        // The first revision has fixed lengths.
        let is_first = u32_at(bytes, 0x4c) == 0;
        let has_checksums = read_only & HAS_CHECKSUMS != 0;
        let seed = match incompatible & HAS_CHECKSUM_SEED {
            0 => checksum(!0, &bytes[0x68..0x78]),
            _ => u32_at(bytes, 0x270),
        };
        let name = &bytes[0x78..0x88];
        let name = &name[..name.iter().position(|byte| *byte == 0).unwrap_or(name.len())];
        let superblock = Superblock {
            block_len,
            blocks: u64::from(high_blocks) << 32 | u64::from(u32_at(bytes, 0x4)),
            inodes: u32_at(bytes, 0),
            inodes_per_group: u32_at(bytes, 0x28),
            inode_len: if is_first { 128 } else { u16_at(bytes, 0x58) },
            groups_at: (u64::from(u32_at(bytes, 0x14)) + 1) * u64::from(block_len),
            group_len: if is_wide { u16_at(bytes, 0xfe) } else { 32 },
            has_types_in_folders: incompatible & HAS_TYPES_IN_FOLDERS != 0,
            seed: has_checksums.then_some(seed),
            label: String::from_utf8_lossy(name).into_owned(),
        };
        if has_checksums && checksum(!0, &bytes[..CHECKSUM_AT]) != u32_at(bytes, CHECKSUM_AT) {
            return Err(Cause::damaged("the checksum of the ext4 superblock is wrong"));
        }
        superblock.check(disk_len)
    }

    fn check(self, disk_len: u64) -> Result<Superblock, Cause> {
        let makes_sense = matches!(self.block_len, 1024..=65536)
            && matches!(u32::from(self.inode_len), 128..=65536)
            && u32::from(self.inode_len) <= self.block_len
            && self.inode_len.is_power_of_two()
            && self.inodes_per_group > 0
            && matches!(self.group_len, 32..=1024)
            && self.group_len.is_power_of_two();
        if !makes_sense {
            return Err(Cause::damaged("the ext4 superblock contradicts itself"));
        }
        match self.blocks.checked_mul(self.block_len.into()) {
            Some(len) if len > 0 && len <= disk_len => Ok(self),
            _ => Err(Cause::damaged("the ext4 volume is longer than the disk")),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.blocks * u64::from(self.block_len)
    }
}

/// CRC-32C as ext4 has it: not inverted at either end.
pub(super) fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c(!seed, bytes)
}
