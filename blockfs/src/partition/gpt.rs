//! GUID partition tables (UEFI 2.10, 5.3).

use super::{Partition, PartitionKind, bytes_of};
use crate::{Disk, error::Cause};
use alloc::{string::String, vec::Vec};

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_LEN: usize = 92;
/// The specification's minimum, and what everybody writes.
const ENTRY_LEN_MIN: usize = 128;
/// Entries of all tables seen have 16 KiB together; more is refused rather than read into memory.
const ENTRIES_LEN_MAX: usize = 256 * 1024;

struct Header {
    entries_at: u64,
    entries: usize,
    entry_len: usize,
    entries_sum: u32,
}

/// The table at the start, or, if that is damaged, its copy in the last sector.
pub(super) async fn read(disk: &Disk) -> Result<Vec<Partition>, Cause> {
    let last = (disk.len() / disk.info().sector_len as u64).saturating_sub(1);
    match read_at(disk, 1).await {
        Err(Cause::Damaged(what)) => read_at(disk, last).await.map_err(|_| Cause::Damaged(what)),
        result => result,
    }
}

async fn read_at(disk: &Disk, sector: u64) -> Result<Vec<Partition>, Cause> {
    let sector_len = disk.info().sector_len;
    let bytes = disk.read(sector * sector_len as u64, sector_len).await?;
    let header = Header::parse(&bytes, sector)?;
    let at = header.entries_at.checked_mul(sector_len as u64).ok_or(DAMAGED)?;
    let entries = disk.read(at, header.entries * header.entry_len).await?;
    if crc32fast::hash(&entries) != header.entries_sum {
        return Err(DAMAGED);
    }
    let entries = (1..).zip(entries.chunks(header.entry_len));
    entries.filter_map(|(number, entry)| partition(disk, number, entry).transpose()).collect()
}

const DAMAGED: Cause = Cause::damaged("its partition table (GPT) is not what its checksum says");

impl Header {
    fn parse(bytes: &[u8], sector: u64) -> Result<Header, Cause> {
        let word = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let long = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let len = word(12) as usize;
        if bytes[..8] != *SIGNATURE || !(HEADER_LEN..=bytes.len()).contains(&len) || long(24) != sector {
            return Err(DAMAGED);
        }
        let mut sum = crc32fast::Hasher::new();
        sum.update(&bytes[..16]);
        sum.update(&[0; 4]);
        sum.update(&bytes[20..len]);
        if sum.finalize() != word(16) {
            return Err(DAMAGED);
        }
        let (entries, entry_len) = (word(80) as usize, word(84) as usize);
        let total = entries.checked_mul(entry_len).filter(|total| *total <= ENTRIES_LEN_MAX);
        if entry_len < ENTRY_LEN_MIN || total.is_none() {
            return Err(DAMAGED);
        }
        Ok(Header { entries_at: long(72), entries, entry_len, entries_sum: word(88) })
    }
}

/// `None` for an entry that is not used.
fn partition(disk: &Disk, number: u32, entry: &[u8]) -> Result<Option<Partition>, Cause> {
    let kind: [u8; 16] = entry[..16].try_into().map_err(|_| DAMAGED)?;
    if kind == [0; 16] {
        return Ok(None);
    }
    let long = |at: usize| entry[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    let (first, last) = (long(32), long(40));
    let range = bytes_of(disk, first, last.checked_add(1).ok_or(DAMAGED)?)?;
    let letters = entry[56..ENTRY_LEN_MIN].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let letters = char::decode_utf16(letters.take_while(|letter| *letter != 0));
    let name: String = letters.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Ok(Some(Partition { number, range, name, kind: PartitionKind::Guid(kind) }))
}
