//! Where the partitions of a boot disk lie, and its partition table.

use std::{collections::BTreeMap, io};

use anyhow::{Context, Result};
use gpt::{
    DiskDevice, GptConfig,
    disk::LogicalBlockSize,
    mbr::ProtectiveMBR,
    partition::Partition,
    partition_types::{BIOS, EFI, LINUX_FS},
};
use uuid::Uuid;

use super::config;

pub(super) const SECTOR_LEN: u64 = 512;
/// Partitions begin at whole MiB, as disks of every kind like it.
pub(super) const UNIT: u64 = 1 << 20;
/// Of UTF-16 units in an entry of the table.
pub(super) const NAME_LEN_MAX: usize = 36;

/// Where a boot sector wants to know how many sectors follow it elsewhere, and where they lie.
const SECTORS_AT: usize = 418;
const FIRST_SECTOR_AT: usize = 424;
/// Its code; what follows are the disk's signature and the partition table.
const CODE_LEN: usize = 440;

/// A partition to be.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// In bytes, whole MiB.
    pub(super) start: u64,
    pub(super) len: u64,
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bios,
    Efi,
    Content,
    Config,
}

/// The partitions, one behind the other, and the length of the disk.
pub(super) fn plan(parts: &[(&str, Kind, u64)], len_unit: u64) -> (Vec<Part>, u64) {
    // The first MiB has the table; the last one its copy.
    let mut next = UNIT;
    let mut planned = Vec::new();
    for (name, kind, len) in parts {
        let len = len.next_multiple_of(UNIT);
        planned.push(Part { name: (*name).to_owned(), kind: *kind, start: next, len });
        next += len;
    }
    (planned, (next + UNIT).next_multiple_of(len_unit))
}

/// Writes the table, its copy, and the MBR with the boot sector's code.
pub(super) fn write_table(device: &mut impl DiskDevice, parts: &[Part], len: u64, bios_loader: &[u8]) -> Result<()> {
    let sectors = len / SECTOR_LEN;
    let bios = parts.iter().find(|part| part.kind == Kind::Bios).context("every disk has a partition for the BIOS")?;
    let mut mbr = ProtectiveMBR::with_lb_size(u32::try_from(sectors - 1).unwrap_or(u32::MAX));
    mbr.set_bootcode(boot_code(bios_loader, bios.start / SECTOR_LEN)?);
    mbr.overwrite_lba0(device).map_err(|error| io::Error::other(error.to_string()))?;
    let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(device, Some(guid(0)))?;
    let entries = parts.iter().zip(1..).map(|(part, number)| (number, entry(part, number)));
    table.update_partitions(entries.collect::<BTreeMap<_, _>>())?;
    table.write()?;
    Ok(())
}

fn boot_code(loader: &[u8], first_sector: u64) -> Result<[u8; CODE_LEN]> {
    let code = loader.first_chunk::<CODE_LEN>();
    let mut code = *code.context("the loader for a BIOS is damaged; build the tool again")?;
    let sectors = u16::try_from(loader.len().div_ceil(SECTOR_LEN as usize) - 1)?;
    code[SECTORS_AT..SECTORS_AT + 2].copy_from_slice(&sectors.to_le_bytes());
    code[FIRST_SECTOR_AT..FIRST_SECTOR_AT + 8].copy_from_slice(&first_sector.to_le_bytes());
    Ok(code)
}

fn entry(part: &Part, number: u32) -> Partition {
    let kind = match part.kind {
        Kind::Bios => BIOS,
        Kind::Efi => EFI,
        Kind::Content => LINUX_FS,
        Kind::Config => config::kind(),
    };
    Partition {
        part_type_guid: kind,
        part_guid: guid(number),
        first_lba: part.start / SECTOR_LEN,
        last_lba: (part.start + part.len) / SECTOR_LEN - 1,
        flags: 0,
        name: part.name.clone(),
    }
}

/// The same for every image: what is made of the same parts shall be the same. Number 0 is the disk.
pub(super) fn guid(number: u32) -> Uuid {
    Uuid::from_u128(0x5f0d_8f5e_6f1b_8c41_9a52_756e_696b_0000 + u128::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn partitions_are_where_they_were_planned() {
        let parts = [("bios", Kind::Bios, 1), ("efi", Kind::Efi, 64 << 20), ("site", Kind::Content, (3 << 20) + 1)];
        let (parts, len) = plan(&parts, 1 << 20);
        assert_eq!(len, 71 << 20);
        let mut disk = Cursor::new(vec![0; len as usize]);
        write_table(&mut disk, &parts, len, &[0x90; 1025]).unwrap();
        let bytes = disk.get_ref();
        assert_eq!(bytes[418..432], [2, 0, 0x90, 0x90, 0x90, 0x90, 0, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!((&bytes[446..451], &bytes[510..512]), (&[0, 0, 2, 0, 0xee][..], &[0x55, 0xaa][..]));
        let table = GptConfig::new().open_from_device(disk).unwrap();
        let found: Vec<_> = table.partitions().values().map(|part| (part.name.clone(), part.first_lba)).collect();
        let expected = [("bios", 2048), ("efi", 4096), ("site", 66 * 2048)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!(found, expected);
        assert!(table.backup_header().is_ok());
        assert_eq!(plan(&[], 1 << 30).1, 1 << 30);
    }
}
