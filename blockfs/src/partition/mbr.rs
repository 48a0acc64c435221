//! The table in the first sector, and the chain of logical partitions.

use super::{Partition, PartitionKind, bytes_of};
use crate::{Disk, error::Cause};
use alloc::{string::String, vec::Vec};

const ENTRIES: usize = 446;
const ENTRY_LEN: usize = 16;
const PROTECTIVE: u8 = 0xee;
/// Logical partitions have numbers from 5; Linux looks at up to 256 of them.
const LOGICAL_FIRST: u32 = 5;
const LOGICAL_MAX: usize = 256;

#[derive(Clone, Copy)]
struct Entry {
    kind: u8,
    /// In sectors.
    start: u64,
    len: u64,
}

impl Entry {
    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn is_used(&self) -> bool {
        self.kind != 0 && self.len != 0
    }
}

pub(super) struct Table([Entry; 4]);

impl Table {
    /// `None` for a sector that is none: a boot sector of a file system has the same signature, but no valid entries.
    pub(super) fn parse(sector: &[u8]) -> Option<Table> {
        if sector.len() < 512 || sector[510..512] != [0x55, 0xaa] {
            return None;
        }
        let entries = [0, 1, 2, 3].map(|place| &sector[ENTRIES + place * ENTRY_LEN..][..ENTRY_LEN]);
        let word = |entry: &[u8], at: usize| entry[at..at + 4].try_into().map_or(0, u32::from_le_bytes).into();
        let is_valid = |entry: &&[u8]| matches!(entry[0], 0 | 0x80);
        if !entries.iter().all(is_valid) {
            return None;
        }
        let table = Table(entries.map(|entry| Entry { kind: entry[4], start: word(entry, 8), len: word(entry, 12) }));
        table.0.iter().any(Entry::is_used).then_some(table)
    }

    /// Whether the table proper is a GPT.
    pub(super) fn is_protective(&self) -> bool {
        self.0.iter().any(|entry| entry.kind == PROTECTIVE)
    }
}

pub(super) async fn read(disk: &Disk, table: Table) -> Result<Vec<Partition>, Cause> {
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(&table.0) {
        if entry.is_extended() && entry.is_used() {
            read_logical(disk, entry.start, &mut found).await?;
        } else if entry.is_used() {
            found.push(partition(disk, number, entry, 0)?);
        }
    }
    found.sort_by_key(|partition| partition.number);
    Ok(found)
}

/// Each link of the chain describes one partition, from its own place, and the next link, from the chain's.
async fn read_logical(disk: &Disk, chain: u64, found: &mut Vec<Partition>) -> Result<(), Cause> {
    let sector_len = disk.info().sector_len as u64;
    let mut at = chain;
    for number in (LOGICAL_FIRST..).take(LOGICAL_MAX) {
        let place = at.checked_mul(sector_len).ok_or(Cause::damaged("a partition lies beyond the end of the disk"))?;
        let sector = disk.read(place, 512).await?;
        let Some(table) = Table::parse(&sector) else { return Ok(()) };
        let [entry, next, ..] = table.0;
        if entry.is_used() && !entry.is_extended() {
            found.push(partition(disk, number, &entry, at)?);
        }
        // Chains go forward; one that does not would never end.
        let next_at = chain + next.start;
        if !next.is_extended() || next_at <= at {
            return Ok(());
        }
        at = next_at;
    }
    Ok(())
}

fn partition(disk: &Disk, number: u32, entry: &Entry, from: u64) -> Result<Partition, Cause> {
    let start = from + entry.start;
    let range = bytes_of(disk, start, start + entry.len)?;
    Ok(Partition { number, range, name: String::new(), kind: PartitionKind::Byte(entry.kind) })
}
