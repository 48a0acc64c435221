//! Partition tables: GPT (UEFI 2.10, chapter 5) and MBR.
//!
//! A volume may be a partition: [`partitions`] tells which there are, and [`Disk::part`] is one of them.

mod gpt;
mod mbr;

use crate::{Disk, config::CONFIG_PARTITION, error::Cause};
use alloc::{string::String, vec::Vec};
use core::ops::Range;

/// A partition of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number in the table, from 1.
    pub number: u32,
    /// Where it is, in bytes.
    pub range: Range<u64>,
    /// Its name, in a GPT; else empty.
    pub name: String,
    /// What it is for.
    pub kind: PartitionKind,
}

/// What the table says that a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionKind {
    /// The GUID of a type, in the order of bytes in which it is stored.
    Guid([u8; 16]),
    /// The type byte of an MBR.
    Byte(u8),
}

impl PartitionKind {
    /// Whether it has what starts the machine, and no volume: EFI system partitions, those for a BIOS, and the configuration.
    pub(crate) fn has_no_volume(self) -> bool {
        // C12A7328-F81F-11D2-BA4B-00A0C93EC93B and 21686148-6449-6E6F-744E-656564454649.
        const EFI_SYSTEM: [u8; 16] = *b"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b";
        const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
        match self {
            PartitionKind::Guid(kind) => [EFI_SYSTEM, BIOS_BOOT, CONFIG_PARTITION].contains(&kind),
            PartitionKind::Byte(kind) => kind == 0xef,
        }
    }
}

/// The partitions of a disk, in the order of its table; empty when it has no table. A GPT counts before the MBR that
/// protects it; its copy at the end of the disk is read when it is damaged.
///
/// ```
/// # use unikernel_rt::sim::SimDisk;
/// # unikernel_rt::sim::run("", async {
/// use unikernel_blockfs::{Disk, partition::{PartitionKind, partitions}};
///
/// # let mut sector = [0; 512];
/// # sector[446 + 4] = 0x0c;
/// # sector[446 + 8..][..8].copy_from_slice(&[0x00, 0x08, 0, 0, 0x00, 0x08, 0, 0]);
/// # sector[510..].copy_from_slice(&[0x55, 0xaa]);
/// # let device = SimDisk::new(4 << 20);
/// # device.poke(0, &sector);
/// # let device = device.device();
/// let disk = Disk::new(device);
/// let all = partitions(&disk).await?;
/// assert_eq!(all[0].range, 1 << 20..2 << 20);
/// assert_eq!(all[0].kind, PartitionKind::Byte(0x0c));
///
/// let first = disk.partition(1).await?;
/// assert_eq!(first.len(), 1 << 20);
/// # Ok::<_, unikernel_blockfs::Cause>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// The table is damaged: partitions reach beyond the end, overlap, or are not what their checksum says; the device failed.
pub async fn partitions(disk: &Disk) -> Result<Vec<Partition>, Cause> {
    let first = match disk.len() {
        512.. => disk.read(0, 512).await?,
        _ => return Ok(Vec::new()),
    };
    let Some(table) = mbr::Table::parse(&first) else { return Ok(Vec::new()) };
    let found = match table.is_protective() {
        true => gpt::read(disk).await?,
        false => mbr::read(disk, table).await?,
    };
    check(disk, &found)?;
    Ok(found)
}

impl Disk {
    /// The partition of this number.
    ///
    /// # Errors
    ///
    /// There is none; as for [`partitions`].
    pub async fn partition(&self, number: u32) -> Result<Disk, Cause> {
        let found = partitions(self).await?.into_iter().find(|partition| partition.number == number);
        self.part(found.ok_or(Cause::NotFound)?.range)
    }

    /// The partition of this name, in a GPT.
    ///
    /// # Errors
    ///
    /// There is none; as for [`partitions`].
    pub async fn partition_named(&self, name: &str) -> Result<Disk, Cause> {
        let found = partitions(self).await?.into_iter().find(|partition| partition.name == name);
        self.part(found.ok_or(Cause::NotFound)?.range)
    }
}

fn check(disk: &Disk, found: &[Partition]) -> Result<(), Cause> {
    let mut ranges: Vec<&Range<u64>> = found.iter().map(|partition| &partition.range).collect();
    ranges.sort_by_key(|range| range.start);
    let overlap = ranges.windows(2).any(|pair| pair[1].start < pair[0].end);
    let outside = ranges.iter().any(|range| range.is_empty() || range.end > disk.len());
    match overlap || outside {
        true => Err(Cause::damaged("its partitions overlap, or reach beyond its end")),
        false => Ok(()),
    }
}

/// Sectors `first` to `end` as bytes.
fn bytes_of(disk: &Disk, first: u64, end: u64) -> Result<Range<u64>, Cause> {
    let sector_len = disk.info().sector_len as u64;
    let outside = Cause::damaged("a partition reaches beyond the end of the disk");
    match (first.checked_mul(sector_len), end.checked_mul(sector_len)) {
        (Some(start), Some(end)) if start < end => Ok(start..end),
        _ => Err(outside),
    }
}
