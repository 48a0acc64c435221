//! Reads files of a FAT32 volume (Microsoft, FAT32 File System Specification 1.03), for firmware that knows no file system.
//!
//! Files are found and read as they are, so whatever may change the volume may change them.

use crate::{ReadAt, number};

const DAMAGED: &str = "the file system of the EFI system partition is damaged; write the image to the disk again";
const NOT_FAT32: &str = "the EFI system partition is not FAT32; format it so, or write the image to the disk again";
const ENTRY_LEN: usize = 32;
/// Characters of a long name that one entry holds, and where in it.
const NAME_PART: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Longer names cannot be.
const NAME_LEN_MAX: usize = 20 * NAME_PART.len();
const ATTRIBUTE_FOLDER: u8 = 0x10;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTES_LONG_NAME: u8 = 0x0f;
/// A folder has at most 65,536 entries.
const FOLDER_LEN_MAX: u32 = 65_536 * ENTRY_LEN as u32;

/// A volume in a partition.
pub struct Volume<D> {
    disk: D,
    /// Where its table of clusters begins, in bytes.
    table: u64,
    /// Where cluster 2, the first, begins.
    data: u64,
    cluster_len: u64,
    /// Beyond the last cluster.
    clusters_end: u32,
    root: u32,
}

/// A file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    first: u32,
    len: u32,
    is_folder: bool,
}

/// A file that is open.
pub struct File<'v, D> {
    volume: &'v mut Volume<D>,
    item: Item,
    /// A cluster of it, and its number within the file: reading goes on from there.
    at: (u64, u32),
}

impl<D: ReadAt> Volume<D> {
    /// Opens the volume that begins at `start`.
    ///
    /// # Errors
    ///
    /// There is none, or the disk cannot be read.
    pub fn open(mut disk: D, start: u64) -> Result<Volume<D>, &'static str> {
        let mut sector = [0; 512];
        disk.read_at(start, &mut sector)?;
        let field = |at: usize, len: usize| number(&sector, at, len);
        let (sector_len, per_cluster, tables) = (field(11, 2), field(13, 1), field(16, 1));
        // FAT32 has no root folder of a fixed length, and no length of its tables in 16 bits.
        let is_ours = sector[510..] == [0x55, 0xaa]
            && sector_len.is_power_of_two()
            && (512..=4096).contains(&sector_len)
            && per_cluster.is_power_of_two()
            && (field(17, 2), field(22, 2)) == (0, 0);
        if !is_ours {
            return Err(NOT_FAT32);
        }
        let (reserved, table_len) = (field(14, 2), field(36, 4));
        let before = reserved + tables * table_len;
        let clusters = field(32, 4).checked_sub(before).ok_or(DAMAGED)? / per_cluster;
        let clusters = clusters.min(table_len * sector_len / 4).min(0x0fff_fff0);
        Ok(Volume {
            disk,
            table: start + reserved * sector_len,
            data: start + before * sector_len,
            cluster_len: per_cluster * sector_len,
            clusters_end: clusters as u32 + 2,
            root: field(44, 4) as u32,
        })
    }

    /// Opens a file. Letters count as the same in both cases.
    ///
    /// # Errors
    ///
    /// `Ok(None)` when it is not there; an error when that cannot be told.
    pub fn file(&mut self, path: &[&str]) -> Result<Option<File<'_, D>>, &'static str> {
        let mut item = Item { first: self.root, len: FOLDER_LEN_MAX, is_folder: true };
        for name in path {
            match self.look_up(item, name)? {
                Some(found) if item.is_folder => item = found,
                _ => return Ok(None),
            }
        }
        Ok((!item.is_folder).then_some(File { volume: self, item, at: (0, item.first) }))
    }

    fn look_up(&mut self, folder: Item, wanted: &str) -> Result<Option<Item>, &'static str> {
        let mut long = LongName::default();
        let mut file = File { volume: self, item: folder, at: (0, folder.first) };
        for place in (0..FOLDER_LEN_MAX).step_by(ENTRY_LEN) {
            let mut entry = [0; ENTRY_LEN];
            if file.is_end(place.into())? {
                return Ok(None);
            }
            file.read_at(place.into(), &mut entry)?;
            match (entry[0], entry[11]) {
                (0, _) => return Ok(None),
                (0xe5, _) => long = LongName::default(),
                (_, ATTRIBUTES_LONG_NAME) => long.add(&entry),
                (_, attributes) if attributes & ATTRIBUTE_LABEL != 0 => long = LongName::default(),
                (_, attributes) => {
                    if long.is(wanted) || is_short_name(&entry, wanted) {
                        let is_folder = attributes & ATTRIBUTE_FOLDER != 0;
                        let len = if is_folder { FOLDER_LEN_MAX } else { number(&entry, 28, 4) as u32 };
                        let first = (number(&entry, 20, 2) << 16 | number(&entry, 26, 2)) as u32;
                        return Ok(Some(Item { first, len, is_folder }));
                    }
                    long = LongName::default();
                }
            }
        }
        Ok(None)
    }

    /// The cluster after this one; `None` at the end of a file.
    fn next(&mut self, cluster: u32) -> Result<Option<u32>, &'static str> {
        let mut entry = [0; 4];
        self.disk.read_at(self.table + u64::from(cluster) * 4, &mut entry)?;
        match u32::from_le_bytes(entry) & 0x0fff_ffff {
            0x0fff_fff8.. => Ok(None),
            next if self.is_cluster(next) => Ok(Some(next)),
            _ => Err(DAMAGED),
        }
    }

    fn is_cluster(&self, number: u32) -> bool {
        (2..self.clusters_end).contains(&number)
    }
}

impl<D: ReadAt> File<'_, D> {
    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> u64 {
        self.item.len.into()
    }

    /// Goes to a cluster of the file; false when it has not so many.
    fn seek(&mut self, index: u64) -> Result<bool, &'static str> {
        if index < self.at.0 {
            self.at = (0, self.item.first);
        }
        if !self.volume.is_cluster(self.at.1) {
            return if self.item.first == 0 { Ok(false) } else { Err(DAMAGED) };
        }
        while self.at.0 < index {
            match self.volume.next(self.at.1)? {
                Some(next) => self.at = (self.at.0 + 1, next),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn is_end(&mut self, place: u64) -> Result<bool, &'static str> {
        Ok(!self.seek(place / self.volume.cluster_len)?)
    }

    /// Bytes from `place` on that lie together on the disk, up to `len`; where the first is.
    fn run(&mut self, place: u64, len: u64) -> Result<(u64, u64), &'static str> {
        let cluster_len = self.volume.cluster_len;
        if !self.seek(place / cluster_len)? {
            return Err(DAMAGED);
        }
        let within = place % cluster_len;
        let start = self.volume.data + u64::from(self.at.1 - 2) * cluster_len + within;
        let mut run_len = cluster_len - within;
        while run_len < len {
            match self.volume.next(self.at.1)? {
                Some(next) if next == self.at.1 + 1 => self.at = (self.at.0 + 1, next),
                _ => break,
            }
            run_len += cluster_len;
        }
        Ok((start, run_len.min(len)))
    }
}

impl<D: ReadAt> ReadAt for File<'_, D> {
    fn read_at(&mut self, mut place: u64, mut bytes: &mut [u8]) -> Result<(), &'static str> {
        if place.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len()) {
            return Err("a file of the image ends too early; create the image again");
        }
        while !bytes.is_empty() {
            let (start, len) = self.run(place, bytes.len() as u64)?;
            let (part, rest) = bytes.split_at_mut(len as usize);
            self.volume.disk.read_at(start, part)?;
            place += len;
            bytes = rest;
        }
        Ok(())
    }
}

/// A name in several entries, whose last part comes first.
struct LongName {
    units: [u16; NAME_LEN_MAX],
    len: usize,
}

impl Default for LongName {
    fn default() -> Self {
        LongName { units: [0; NAME_LEN_MAX], len: 0 }
    }
}

impl LongName {
    fn add(&mut self, entry: &[u8; ENTRY_LEN]) {
        // The parts count from 1; the first to come has a mark.
        let part = usize::from(entry[0] & 0x3f);
        if !(1..=NAME_LEN_MAX / NAME_PART.len()).contains(&part) {
            return;
        }
        let start = (part - 1) * NAME_PART.len();
        for (index, at) in NAME_PART.into_iter().enumerate() {
            let unit = number(entry, at, 2) as u16;
            self.units[start + index] = unit;
            if matches!(unit, 0 | 0xffff) && entry[0] & 0x40 != 0 {
                self.len = self.len.max(start + index);
                return;
            }
        }
        self.len = self.len.max(start + NAME_PART.len());
    }

    fn is(&self, wanted: &str) -> bool {
        let same =
            |(unit, wanted): (&u16, u8)| u8::try_from(*unit).is_ok_and(|unit| unit.eq_ignore_ascii_case(&wanted));
        self.len == wanted.len() && self.units.iter().zip(wanted.bytes()).all(same)
    }
}

/// Whether the entry's own name, eight letters and three, is this one.
fn is_short_name(entry: &[u8; ENTRY_LEN], wanted: &str) -> bool {
    let (stem, extension) = wanted.split_once('.').unwrap_or((wanted, ""));
    let is = |field: &[u8], part: &str| field.trim_ascii_end().eq_ignore_ascii_case(part.as_bytes());
    is(&entry[..8], stem) && is(&entry[8..11], extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
    use std::{
        format,
        io::{Cursor, Write},
        string::String,
        vec,
        vec::Vec,
    };

    /// The partition is not at the beginning of the disk.
    const START: usize = 1 << 20;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index * 7 + index / 251) as u8).collect()
    }

    /// Two files whose clusters alternate, and others.
    fn disk() -> Vec<u8> {
        let mut volume = Cursor::new(vec![0; 40 << 20]);
        let options = FormatVolumeOptions::new().fat_type(FatType::Fat32).bytes_per_cluster(512);
        format_volume(&mut volume, options).unwrap();
        let fs = FileSystem::new(&mut volume, FsOptions::new()).unwrap();
        let root = fs.root_dir();
        for index in 0..100 {
            root.create_file(&format!("a file with a long name, number {index}")).unwrap();
        }
        root.remove("a file with a long name, number 3").unwrap();
        let folder = root.create_dir("unikernel").unwrap();
        let mut files = ["kernel.elf", "boot-arguments.txt"].map(|name| folder.create_file(name).unwrap());
        for part in content(20_000).chunks(700) {
            files.iter_mut().for_each(|file| file.write_all(part).unwrap());
        }
        folder.create_file("empty").unwrap();
        drop((files, folder, root));
        fs.unmount().unwrap();
        [vec![0; START], volume.into_inner()].concat()
    }

    fn read(disk: &[u8], path: &[&str]) -> Result<Option<Vec<u8>>, &'static str> {
        let mut volume = Volume::open(disk, START as u64)?;
        let Some(mut file) = volume.file(path)? else { return Ok(None) };
        let mut bytes = vec![0; file.len() as usize];
        file.read_at(0, &mut bytes)?;
        Ok(Some(bytes))
    }

    #[test]
    fn files_in_pieces() {
        let disk = disk();
        let check = |path: &str, expected: Option<Vec<u8>>| {
            assert!(read(&disk, &path.split('/').collect::<Vec<_>>()) == Ok(expected), "{path}");
        };
        check("unikernel/kernel.elf", Some(content(20_000)));
        check("Unikernel/BOOT-arguments.TXT", Some(content(20_000)));
        check("unikernel/empty", Some(vec![]));
        check("a file with a long name, number 99", Some(vec![]));
        for path in
            ["a file with a long name, number 3", "unikernel", "unikernel/kernel", "unikernel/kernel.elf/x", "x"]
        {
            check(path, None);
        }
    }

    #[test]
    fn parts_of_a_file() {
        let disk = disk();
        let mut volume = Volume::open(&*disk, START as u64).unwrap();
        let mut file = volume.file(&["unikernel", "kernel.elf"]).unwrap().unwrap();
        let expected = content(20_000);
        for (place, len) in [(19_999, 1), (0, 1), (511, 2), (512, 512), (5000, 9000), (20_000, 0), (3, 5)] {
            let mut bytes = vec![0; len];
            file.read_at(place as u64, &mut bytes).unwrap();
            assert!(bytes == expected[place..place + len], "{place} {len}");
        }
        assert!(file.read_at(19_999, &mut [0; 2]).is_err());
        assert!(file.read_at(u64::MAX, &mut [0; 2]).is_err());
    }

    /// Any byte of the boot sector, of the table and of the folders may be wrong: that is an error or another file, no panic.
    #[test]
    fn damage_is_no_panic() {
        let whole = disk();
        let mut damaged = whole.clone();
        let mut errors = Vec::<String>::new();
        let table = START + 32 * 512;
        let volume = Volume::open(&*whole, START as u64).unwrap();
        let (table_at, data) = (volume.table as usize, volume.data as usize);
        assert!(table_at <= table + 4096);
        let places = (START..START + 90).chain(table_at..table_at + 64).chain((data..data + 16_384).step_by(5));
        for place in places {
            for value in [0, 1, 0x80, 0xff] {
                damaged[place] = value;
                if let Err(error) = read(&damaged, &["unikernel", "kernel.elf"]) {
                    errors.push(error.into());
                }
            }
            damaged[place] = whole[place];
        }
        errors.sort();
        errors.dedup();
        assert!(
            errors.iter().any(|error| error == NOT_FAT32) && errors.iter().any(|error| error == DAMAGED),
            "{errors:?}"
        );
    }
}
