//! Writes the raw disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, Result};

use super::{
    config,
    create::{Content, content_len},
    esp::{self, Files},
    layout::{self, Kind, SECTOR_LEN},
};

/// Blocks of zeros this long are left out of a file.
const HOLE_LEN: usize = 64 * 1024;

/// What is on the disk.
pub(super) struct Disk<'a> {
    pub(super) files: Files<'a>,
    pub(super) bios: &'a [u8],
    pub(super) volumes: &'a [Content],
    /// The text of the config partition, if there is one.
    pub(super) config: Option<&'a str>,
}

/// Writes the disk; how long it is.
pub(super) fn disk(path: &Path, disk: &Disk<'_>, len_unit: u64) -> Result<u64> {
    let Disk { files, bios, volumes, config } = disk;
    let mut wanted = vec![("bios", Kind::Bios, bios.len() as u64), ("efi", Kind::Efi, esp::len(files))];
    for volume in *volumes {
        wanted.push((&volume.name, Kind::Content, content_len(volume)?));
    }
    // Behind the volumes, whose numbers are told.
    wanted.extend(config.map(|_| (config::NAME, Kind::Config, config::LEN)));
    let (parts, len) = layout::plan(&wanted, len_unit);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(len)?;
    layout::write_table(&mut file, &parts, len, bios)?;
    let rest = bios.get(SECTOR_LEN as usize..).unwrap_or_default();
    copy(rest, &mut file, parts[0].start)?;
    copy(&*esp::partition(files)?, &mut file, parts[1].start)?;
    for (volume, part) in volumes.iter().zip(&parts[2..]) {
        let content = File::open(&volume.file).with_context(|| format!("cannot read {}", volume.file.display()))?;
        copy(content, &mut file, part.start)?;
    }
    if let (Some(text), Some(part)) = (config, parts.iter().find(|part| part.kind == Kind::Config)) {
        copy(text.as_bytes(), &mut file, part.start)?;
    }
    file.sync_all()?;
    Ok(len)
}

/// Copies all to this place, but for long stretches of zeros.
pub(super) fn copy(mut from: impl Read, to: &mut File, start: u64) -> io::Result<()> {
    let (mut block, zeros) = (vec![0; HOLE_LEN], vec![0; HOLE_LEN]);
    let mut at = start;
    loop {
        let mut len = 0;
        while len < block.len() {
            match from.read(&mut block[len..])? {
                0 => break,
                more => len += more,
            }
        }
        if len == 0 {
            return Ok(());
        }
        if block[..len] != zeros[..len] {
            to.seek(SeekFrom::Start(at))?;
            to.write_all(&block[..len])?;
        }
        at += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::MetadataExt};

    #[test]
    fn a_disk_has_holes_and_its_volumes() {
        let folder = tempfile::tempdir().unwrap();
        let content = folder.path().join("content");
        fs::write(&content, [[7; 5000], [0; 5000]].concat()).unwrap();
        let files = Files { loader: b"MZ", kernel: &[1; 100_000], arguments: "" };
        let volumes = [Content { name: "site".into(), file: content.clone() }];
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        let whole = Disk { files, bios: &[0x90; 2000], volumes: &volumes, config: Some("env.A=\"1\"\n") };
        for path in &paths {
            assert_eq!(disk(path, &whole, 1 << 20).unwrap(), 69 << 20);
        }
        let [disk, other] = paths.each_ref().map(|path| fs::read(path).unwrap());
        assert!(disk == other, "the same each time");
        assert_eq!(disk[1 << 20..(1 << 20) + 1489], [&[0x90; 1488][..], &[0]].concat());
        assert!(disk[66 << 20..].starts_with(&fs::read(&content).unwrap()));
        assert!(disk[67 << 20..].starts_with(b"env.A=\"1\"\n\0"));
        assert_eq!(config::keys(&paths[0], 67 << 20, config::LEN).unwrap(), ["env.A"]);
        let stored_len = fs::metadata(&paths[0]).unwrap().blocks() * 512;
        assert!(stored_len < 4 << 20, "{stored_len} bytes are stored");
    }

    #[test]
    fn a_volume_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { loader: b"MZ", kernel: &[1; 100], arguments: "" };
        let volumes = [Content { name: "site".into(), file: folder.path().join("none") }];
        let whole = Disk { files, bios: &[0x90; 2000], volumes: &volumes, config: None };
        let error = disk(&folder.path().join("disk"), &whole, 1 << 20).unwrap_err();
        assert!(format!("{error:#}").contains("none: No such file"), "{error:#}");
    }
}
