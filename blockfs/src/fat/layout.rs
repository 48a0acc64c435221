//! Where things are on a FAT volume: the boot sector, parsed once. The source of the rules is Microsoft's "FAT: General
//! Overview of On-Disk Format", version 1.03.

use crate::error::Cause;
use core::ops::Range;

/// The boot sector is parsed from so many bytes, whatever the sector's length.
pub(super) const BOOT_LEN: usize = 512;
/// The first cluster's number.
pub(super) const FIRST: u32 = 2;
/// More clusters than this have no numbers in 28 bits.
const CLUSTERS_MAX: u32 = 0x0fff_fff5 - FIRST;
/// Volumes with fewer clusters are FAT12, and FAT16.
const CLUSTERS_OF_12: u32 = 4085;

/// Bits in an entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Bits12,
    Bits16,
    Bits32,
}

/// Where the root folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// A chain like other folders.
    Cluster(u32),
    /// Bytes of the disk, of a fixed number: FAT12 and FAT16.
    Region(Range<u64>),
}

/// Places and lengths in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) width: Width,
    pub(super) sector_len: u32,
    pub(super) cluster_len: u32,
    /// Their numbers begin with 2.
    pub(super) clusters: u32,
    /// The first table, and how long each is.
    pub(super) table: u64,
    pub(super) table_len: u64,
    pub(super) tables: u8,
    /// The only table in use, where they are not kept alike.
    pub(super) active: Option<u8>,
    pub(super) root: Root,
    pub(super) data: u64,
    /// The sector with the number of free clusters.
    pub(super) info: Option<u64>,
    pub(super) len: u64,
    pub(super) label: [u8; 11],
}

/// Whether the bytes look like the boot sector of a FAT volume, damaged or not.
pub(super) fn is_boot_sector(boot: &[u8]) -> bool {
    boot.len() >= BOOT_LEN
        && boot[510..512] == [0x55, 0xaa]
        && matches!(boot[0], 0xeb | 0xe9)
        && matches!(u16_at(boot, 11), 512 | 1024 | 2048 | 4096)
        && boot[13].is_power_of_two()
        && u16_at(boot, 14) != 0
        && matches!(boot[16], 1 | 2)
}

impl Layout {
    /// Reads the boot sector of a volume on a disk of `disk_len` bytes.
    pub(super) fn parse(boot: &[u8], disk_len: u64) -> Result<Layout, Cause> {
        if !is_boot_sector(boot) {
            return Err(Cause::damaged("the boot sector of the FAT volume makes no sense"));
        }
        let sector_len = u16_at(boot, 11).into();
        let in_sectors = |sectors: u32| u64::from(sectors) * u64::from(sector_len);
        let either = |short: usize, long: usize| match u16_at(boot, short) {
            0 => u32_at(boot, long),
            sectors => sectors.into(),
        };
        let cluster_len = u32::from(boot[13]) * sector_len;
        let is_32 = u16_at(boot, 22) == 0;
        let len = in_sectors(either(19, 32));
        let table = in_sectors(u16_at(boot, 14).into());
        let table_len = in_sectors(either(22, 36));
        let root = table + table_len * u64::from(boot[16]);
        let root_len = in_sectors((u32::from(u16_at(boot, 17)) * 32).div_ceil(sector_len));
        let data = root + root_len;
        if len > disk_len {
            return Err(Cause::damaged("the FAT volume is longer than the disk"));
        }
        if table_len == 0 || data >= len {
            return Err(Cause::damaged("the FAT volume has no place for files"));
        }
        if is_32 && u16_at(boot, 42) != 0 {
            return Err(Cause::unsupported("the FAT32 volume is of a later version"));
        }
        let clusters = ((len - data) / u64::from(cluster_len)).min(CLUSTERS_MAX.into()) as u32;
        let width = match clusters {
            _ if is_32 => Width::Bits32,
            0..CLUSTERS_OF_12 => Width::Bits12,
            _ => Width::Bits16,
        };
        // What the table has no entry for is no cluster.
        let entries = table_len * 8 / width.bits();
        let clusters = clusters.min((entries.min(u32::MAX.into()) as u32).saturating_sub(FIRST));
        let layout = Layout {
            width,
            sector_len,
            cluster_len,
            clusters,
            table,
            table_len,
            tables: boot[16],
            active: (is_32 && boot[40] & 0x80 != 0).then_some(boot[40] & 0x0f),
            root: if is_32 { Root::Cluster(u32_at(boot, 44)) } else { Root::Region(root..data) },
            data,
            info: Some(u16_at(boot, 48)).filter(|sector| is_32 && !matches!(sector, 0 | 0xffff)).map(u64::from),
            len,
            label: boot[if is_32 { 71 } else { 43 }..][..11].try_into().expect("eleven bytes"),
        };
        layout.check()
    }

    fn check(mut self) -> Result<Layout, Cause> {
        if self.clusters == 0 || self.active.is_some_and(|active| active >= self.tables) {
            return Err(Cause::damaged("the boot sector of the FAT volume contradicts itself"));
        }
        if let Root::Cluster(root) = self.root
            && !self.has(root)
        {
            return Err(Cause::damaged("the FAT volume's root folder lies outside of it"));
        }
        self.info = self.info.map(|sector| sector * u64::from(self.sector_len)).filter(|info| *info < self.table);
        Ok(self)
    }

    /// Whether there is a cluster of this number.
    pub(super) fn has(&self, cluster: u32) -> bool {
        (FIRST..self.end()).contains(&cluster)
    }

    /// The number after the last cluster's.
    pub(super) fn end(&self) -> u32 {
        FIRST + self.clusters
    }

    /// Where a cluster begins.
    pub(super) fn place_of(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - FIRST) * u64::from(self.cluster_len)
    }

    /// Clusters that hold so many bytes.
    pub(super) fn clusters_for(&self, len: u64) -> u32 {
        len.div_ceil(self.cluster_len.into()) as u32
    }

    /// Where the table that is read begins.
    pub(super) fn read_table(&self) -> u64 {
        self.table + self.table_len * u64::from(self.active.unwrap_or(0))
    }

    /// Where the tables that are written begin.
    pub(super) fn written_tables(&self) -> impl Iterator<Item = u64> {
        let tables = match self.active {
            Some(active) => active..active + 1,
            None => 0..self.tables,
        };
        let (table, table_len) = (self.table, self.table_len);
        tables.map(move |number| table + table_len * u64::from(number))
    }
}

impl Width {
    pub(super) fn bits(self) -> u64 {
        match self {
            Width::Bits12 => 12,
            Width::Bits16 => 16,
            Width::Bits32 => 32,
        }
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
