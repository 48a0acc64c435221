//! The superblock: what a volume consists of, and what it takes to read it.
//!
//! The layout is that of Linux (`fs/erofs/erofs_fs.h`).

use super::bytes::{u16_at, u32_at, u64_at};
use crate::{Disk, error::Cause};
use alloc::{format, string::String};
use unikernel_rt::checksum::crc32c;

/// Where it is: the start is left to boot loaders.
pub(super) const OFFSET: u64 = 1024;
/// Its fixed part.
pub(super) const LEN: usize = 128;
pub(super) const MAGIC: u32 = 0xe0f5_e1e2;

/// Sectors to the largest page that Linux has.
pub(super) const BLOCK_BITS: core::ops::RangeInclusive<u8> = 9..=16;

/// Compatible feature: there is a checksum.
pub(super) const HAS_CHECKSUM: u32 = 1;
/// Compatible feature: inodes have their own times.
#[cfg_attr(target_os = "none", expect(dead_code, reason = "images are made on a workstation"))]
pub(super) const HAS_TIMES: u32 = 2;

/// Incompatible feature: LZ4 data stand at the end of their blocks, after zeros.
const ZERO_PADDING: u32 = 0x01;
/// Incompatible features that need no other reading of what is read here: clusters of several blocks and files in chunks
/// say so themselves; a second algorithm is looked at per file; names of attributes are not read.
const BIG_CLUSTERS: u32 = 0x02;
pub(super) const CHUNKS: u32 = 0x04;
const SECOND_ALGORITHM_OR_DEVICES: u32 = 0x08;
const PACKED_TAILS: u32 = 0x10;
const ATTRIBUTE_PREFIXES: u32 = 0x40;
const KNOWN: u32 =
    ZERO_PADDING | BIG_CLUSTERS | CHUNKS | SECOND_ALGORITHM_OR_DEVICES | PACKED_TAILS | ATTRIBUTE_PREFIXES;

/// What those bits mean that are refused.
const REFUSED: [(u32, &str); 3] = [
    (0x20, "fragments or deduplicated clusters (the options -Efragments and -Ededupe of mkfs.erofs)"),
    (0x80, "block numbers of 48 bits"),
    (0x100, "a separate area for metadata"),
];

/// Algorithms that are not read, by their bit.
const ALGORITHMS_REFUSED: [(u16, &str); 3] = [(2, "LZMA"), (4, "DEFLATE"), (8, "Zstandard")];

/// A superblock that makes sense.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) block_bits: u32,
    /// Of the root folder.
    pub(super) root: u64,
    /// The time of inodes that have none of their own.
    pub(super) build_time: u64,
    /// Bytes of the volume.
    pub(super) len: u64,
    /// Where inodes are counted from, in bytes.
    pub(super) inodes: u64,
    pub(super) label: String,
    pub(super) is_zero_padded: bool,
    /// Files with full indexes have a header before them.
    pub(super) has_full_headers: bool,
    checksum: Option<u32>,
}

impl Superblock {
    /// Reads the fixed part, whose magic number was seen. Its sum is looked at by [`verify`](Self::verify).
    pub(super) fn parse(bytes: &[u8; LEN]) -> Result<Superblock, Cause> {
        if !BLOCK_BITS.contains(&bytes[12]) {
            return Err(Cause::damaged("the block length of the EROFS is none that exists"));
        }
        let block_bits = u32::from(bytes[12]);
        let features = u32_at(bytes, 80);
        refuse(features, bytes)?;
        let blocks = u64::from(u32_at(bytes, 36));
        let label = bytes[64..80].split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Superblock {
            block_bits,
            root: u16_at(bytes, 14).into(),
            build_time: u64_at(bytes, 24),
            len: blocks << block_bits,
            inodes: u64::from(u32_at(bytes, 40)) << block_bits,
            label: String::from_utf8_lossy(label).into(),
            is_zero_padded: features & ZERO_PADDING != 0,
            has_full_headers: features & (BIG_CLUSTERS | PACKED_TAILS) != 0,
            checksum: (u32_at(bytes, 8) & HAS_CHECKSUM != 0).then(|| u32_at(bytes, 4)),
        })
    }

    pub(super) fn block_len(&self) -> u64 {
        1 << self.block_bits
    }

    /// Looks whether the disk has all of the volume, and at the checksum, which covers the rest of the superblock's block.
    pub(super) async fn verify(&self, disk: &Disk) -> Result<(), Cause> {
        if self.len > disk.len() {
            return Err(Cause::damaged("the disk ends before the EROFS on it does"));
        }
        let Some(expected) = self.checksum else { return Ok(()) };
        let len = if self.block_len() > OFFSET { self.block_len() - OFFSET } else { self.block_len() };
        if OFFSET + len > disk.len() {
            return Err(Cause::damaged("the disk ends within the superblock of the EROFS"));
        }
        let bytes = disk.read(OFFSET, len as usize).await?;
        match sum(&bytes) == expected {
            true => Ok(()),
            false => Err(Cause::damaged("the superblock of the EROFS does not match its checksum")),
        }
    }
}

/// The sum of a superblock's block, which begins with it; the sum itself counts as zero. CRC32C, and not inverted.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let magic = crc32c(0, &bytes[..4]);
    !crc32c(crc32c(magic, &[0; 4]), &bytes[8..])
}

fn refuse(features: u32, bytes: &[u8; LEN]) -> Result<(), Cause> {
    if let Some((_, what)) = REFUSED.iter().find(|(bit, _)| features & bit != 0) {
        return Err(unsupported(what));
    }
    if features & !KNOWN != 0 {
        let what = format!("features of a later time (bits {:#x})", features & !KNOWN);
        return Err(unsupported(&what));
    }
    if u16_at(bytes, 86) != 0 {
        return Err(unsupported("data on other devices"));
    }
    if bytes[90] != 0 {
        return Err(unsupported("folders with blocks of their own length"));
    }
    // The word is a bitmap of algorithms only if files say which they use.
    let algorithms = if features & BIG_CLUSTERS != 0 { u16_at(bytes, 84) } else { 0 };
    match ALGORITHMS_REFUSED.iter().find(|(bit, _)| algorithms & bit != 0) {
        Some((_, name)) => Err(unsupported(&format!("files compressed with {name}"))),
        None => Ok(()),
    }
}

fn unsupported(what: &str) -> Cause {
    Cause::Unsupported(format!("its EROFS has {what}, which are not read here; make the image without").into())
}
