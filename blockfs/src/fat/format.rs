//! Making an empty volume: FAT32, as large as the disk.

use super::{
    layout::{BOOT_LEN, FIRST, Layout},
    space::{INFO_LEAD, INFO_MARK, INFO_MARK_AT},
    table::END,
};
use crate::{Disk, error::Cause, mount::FORMATTING};
use alloc::{vec, vec::Vec};
use unikernel_rt::device::Buffer;

/// With fewer clusters others would take it for FAT16. Some more, as the specification asks for distance.
const CLUSTERS_MIN: u64 = 65525 + 16;
/// Clusters of a page are read and written at once; smaller ones only where there would be too few.
const CLUSTER_LEN: u64 = 4096;
const CLUSTER_LEN_MAX: u64 = 32 * 1024;
/// A table of more entries takes more memory in others than they like.
const CLUSTERS_LIKED: u64 = 1 << 21;
/// The table begins here, and data on a multiple of it.
const ALIGNMENT: u64 = 16 * 1024;
/// Where the copy of the boot sector is, in sectors.
const BACKUP_AT: u16 = 6;
/// The medium is no floppy disk.
const MEDIUM: u8 = 0xf8;

/// Puts an empty volume on the disk. Until it is there, the disk counts as blank.
pub(crate) async fn format(disk: &Disk) -> Result<(), Cause> {
    let sector_len = disk.info().sector_len;
    let (mut boot, layout) = plan(disk.len(), sector_len as u64)?;
    boot.resize(sector_len, 0);
    let mut marker = Buffer::zeroed(sector_len);
    marker[..FORMATTING.len()].copy_from_slice(FORMATTING);
    disk.write(0, marker).await?;
    disk.flush().await?;

    let data = layout.place_of(FIRST);
    disk.write_zeroes(sector_len as u64..data + u64::from(layout.cluster_len)).await?;
    // The first two entries are no clusters: the medium, and that the volume is in order. The third is the root's.
    let entries: Vec<u8> =
        [0x0fff_ff00 | u32::from(MEDIUM), END, END].iter().flat_map(|entry| entry.to_le_bytes()).collect();
    for table in layout.written_tables() {
        disk.write_bytes(table, &entries).await?;
    }
    let info = info_sector(layout.clusters - 1, sector_len);
    let backup = u64::from(BACKUP_AT) * sector_len as u64;
    disk.write_bytes(backup, &[&boot[..], &info].concat()).await?;
    disk.write_bytes(sector_len as u64, &info).await?;
    disk.flush().await?;
    disk.write_bytes(0, &boot).await?;
    disk.flush().await
}

/// Divides the disk.
fn plan(disk_len: u64, sector_len: u64) -> Result<(Vec<u8>, Layout), Cause> {
    let len = (disk_len / sector_len).min(u32::MAX.into()) * sector_len;
    let mut cluster_len = CLUSTER_LEN.max(sector_len);
    while len / cluster_len > CLUSTERS_LIKED && cluster_len < CLUSTER_LEN_MAX {
        cluster_len *= 2;
    }
    loop {
        // Each cluster takes an entry in both tables; of what is there, so that no table is too short for the clusters that
        // others count in the volume.
        let clusters = len.saturating_sub(ALIGNMENT) / (cluster_len + 8);
        let table_len = ((clusters + 2) * 4).next_multiple_of(ALIGNMENT / 2);
        let data = ALIGNMENT + 2 * table_len;
        let clusters = len.saturating_sub(data) / cluster_len;
        if clusters >= CLUSTERS_MIN {
            let boot = boot_bytes(sector_len, cluster_len, len, table_len);
            let layout = Layout::parse(&boot, len)?;
            return Ok((boot, layout));
        }
        if cluster_len == sector_len {
            return Err(Cause::unsupported(match sector_len {
                512 => "FAT32 needs a disk of at least 33 MiB",
                _ => "FAT32 needs a disk of at least 257 MiB, when its sectors have 4096 bytes",
            }));
        }
        cluster_len /= 2;
    }
}

/// The boot sector.
fn boot_bytes(sector_len: u64, cluster_len: u64, len: u64, table_len: u64) -> Vec<u8> {
    let mut serial = [0; 4];
    unikernel_rt::entropy::fill(&mut serial);
    let mut boot = vec![0; BOOT_LEN];
    let mut put = |at: usize, bytes: &[u8]| boot[at..at + bytes.len()].copy_from_slice(bytes);
    // A jump over the numbers, to an endless loop: nothing boots from here.
    put(0, &[0xeb, 0x58, 0x90]);
    put(3, b"UNIKERNL");
    put(11, &(sector_len as u16).to_le_bytes());
    put(13, &[(cluster_len / sector_len) as u8]);
    put(14, &((ALIGNMENT / sector_len) as u16).to_le_bytes());
    // Two tables.
    put(16, &[2]);
    put(21, &[MEDIUM]);
    // What a BIOS thinks of the disk.
    put(24, &[63, 0, 255, 0]);
    put(32, &((len / sector_len) as u32).to_le_bytes());
    put(36, &((table_len / sector_len) as u32).to_le_bytes());
    put(44, &FIRST.to_le_bytes());
    put(48, &1_u16.to_le_bytes());
    put(50, &BACKUP_AT.to_le_bytes());
    put(64, &[0x80, 0, 0x29]);
    put(67, &serial);
    put(71, b"NO NAME    FAT32   ");
    put(90, &[0xeb, 0xfe]);
    put(510, &[0x55, 0xaa]);
    boot
}

/// The sector with the number of free clusters.
fn info_sector(free: u32, sector_len: usize) -> Vec<u8> {
    let mut info = vec![0; sector_len];
    let mut put = |at: usize, number: u32| info[at..at + 4].copy_from_slice(&number.to_le_bytes());
    put(0, INFO_LEAD);
    put(INFO_MARK_AT, INFO_MARK);
    put(INFO_MARK_AT + 4, free);
    put(INFO_MARK_AT + 8, FIRST + 1);
    put(508, 0xaa55_0000);
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_has_an_entry() {
        for len in (34 << 20..80 << 20).step_by(12 * 1024) {
            let (boot, _) = plan(len, 512).unwrap();
            let table_len = u64::from(u32::from_le_bytes(boot[36..40].try_into().unwrap())) * 512;
            let clusters = (len - ALIGNMENT - 2 * table_len) / (u64::from(boot[13]) * 512);
            assert!((clusters + 2) * 4 <= table_len, "{len}");
        }
    }
}
