//! Finds a partition by its type in a GPT (UEFI 2.10, chapter 5).

use crate::{ReadAt, number};
use core::ops::Range;

/// Sectors of other lengths are none that a BIOS reads.
pub const SECTOR_LEN: u64 = 512;

/// The type of the EFI system partition, C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it is stored.
pub const EFI_SYSTEM: [u8; 16] = *b"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b";

const NO_TABLE: &str = "the disk has no partition table (GPT); write the image to it again";
/// An entry has at least so many bytes, and more than this nobody uses.
const ENTRY_LEN: Range<u64> = 128..4097;
/// Entries looked at; tables have 128.
const ENTRIES_MAX: u64 = 1024;

/// The bytes of the first partition of this type.
///
/// # Errors
///
/// The disk cannot be read, or has no such partition.
pub fn find(disk: &mut impl ReadAt, kind: [u8; 16]) -> Result<Range<u64>, &'static str> {
    let mut header = [0; 92];
    disk.read_at(SECTOR_LEN, &mut header)?;
    let (table, count, entry_len) = (number(&header, 72, 8), number(&header, 80, 4), number(&header, 84, 4));
    if !header.starts_with(b"EFI PART") || !ENTRY_LEN.contains(&entry_len) {
        return Err(NO_TABLE);
    }
    let table = table.checked_mul(SECTOR_LEN).ok_or(NO_TABLE)?;
    for index in 0..count.min(ENTRIES_MAX) {
        let mut entry = [0; 48];
        disk.read_at(table.checked_add(index * entry_len).ok_or(NO_TABLE)?, &mut entry)?;
        if entry.starts_with(&kind) {
            let end = number(&entry, 40, 8).checked_add(1).and_then(|end| end.checked_mul(SECTOR_LEN));
            let range = number(&entry, 32, 8).saturating_mul(SECTOR_LEN)..end.ok_or(NO_TABLE)?;
            return if range.is_empty() { Err(NO_TABLE) } else { Ok(range) };
        }
    }
    Err("the disk has no EFI system partition; write the image to it again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 34 * 512];
        disk[512..520].copy_from_slice(b"EFI PART");
        for (at, value) in [(72, 2_u64), (80, 128), (84, 128)] {
            disk[512 + at..512 + at + 4].copy_from_slice(&value.to_le_bytes()[..4]);
        }
        let entry = 1024 + 2 * 128;
        disk[entry..entry + 16].copy_from_slice(&EFI_SYSTEM);
        disk[entry + 32..entry + 40].copy_from_slice(&2048_u64.to_le_bytes());
        disk[entry + 40..entry + 48].copy_from_slice(&4095_u64.to_le_bytes());
        disk
    }

    #[test]
    fn partitions() {
        let find = |disk: Vec<u8>| find(&mut &*disk, EFI_SYSTEM);
        assert_eq!(find(disk()), Ok(1 << 20..2 << 20));
        let changed = |at: usize, bytes: &[u8]| {
            let mut disk = disk();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
            find(disk)
        };
        assert_eq!(changed(512, b"X"), Err(NO_TABLE));
        assert_eq!(changed(512 + 84, &[0; 4]), Err(NO_TABLE));
        assert!(changed(512 + 72, &[0xff; 8]).is_err());
        assert!(changed(1024 + 256, &[0; 16]).is_err());
        assert_eq!(changed(1024 + 256 + 40, &[0xff; 8]), Err(NO_TABLE));
        assert_eq!(changed(1024 + 256 + 32, &[0xff; 8]), Err(NO_TABLE));
    }
}
