//! Looks into an image that was made before.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use fatfs::{FileSystem, FsOptions};
use gpt::{
    GptConfig,
    partition_types::{BIOS, EFI},
};
use serde::Serialize;

use super::{
    Format, bare, config, convert,
    esp::{self, Never},
    layout::SECTOR_LEN,
    oci::{self, Reference},
};
use crate::fs::Draft;

const KERNEL: &str = "unikernel/kernel.elf";
const ARGUMENTS: &str = "unikernel/boot-arguments.txt";
/// The longest kernel, and the longest file of boot arguments, that are read.
const KERNEL_LEN_MAX: u64 = 1 << 30;
const ARGUMENTS_LEN_MAX: u64 = 16 * 1024;

/// An image and what is in it.
pub(crate) struct Opened {
    pub(crate) format: Format,
    /// What an OCI image is called.
    pub(crate) reference: Option<Reference>,
    /// The ELF file that is started.
    pub(crate) kernel: Vec<u8>,
    pub(crate) arguments: Vec<String>,
    /// The keys on its config partition, if there is one.
    pub(crate) config: Option<Vec<String>>,
    /// Of the disk, if there is one.
    pub(crate) partitions: Vec<Partition>,
    /// The bytes of the disk.
    pub(super) raw: Option<Raw>,
}

/// A partition of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Partition {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// In bytes.
    pub(crate) start: u64,
    pub(crate) len: u64,
    #[serde(skip)]
    is_efi: bool,
    #[serde(skip)]
    is_content: bool,
    #[serde(skip)]
    is_config: bool,
}

/// The file of a raw disk.
pub(super) enum Raw {
    /// The image itself.
    Image(PathBuf),
    /// Made of it, to be forgotten.
    Copy(Draft),
}

impl Raw {
    pub(super) fn path(&self) -> &Path {
        match self {
            Raw::Image(path) => path,
            Raw::Copy(draft) => draft.path(),
        }
    }
}

impl Opened {
    /// Reads what there is to know.
    ///
    /// # Errors
    ///
    /// It cannot be read, is damaged, or is no image that starts by itself.
    pub(crate) fn open(path: &Path) -> Result<Opened> {
        let format = Format::of(path)?;
        let opened = match format {
            Format::Elf => Opened::kernel(path),
            Format::Oci => Opened::archive(path),
            _ => raw_of(format, path).and_then(|raw| Opened::disk(format, raw)),
        };
        opened.with_context(|| format!("cannot look into {}", path.display()))
    }

    fn kernel(path: &Path) -> Result<Opened> {
        let kernel = crate::image::read(path)?;
        let arguments = bare::arguments(&kernel)?;
        let (config, partitions) = (None, Vec::new());
        Ok(Opened { format: Format::Elf, reference: None, kernel, arguments, config, partitions, raw: None })
    }

    fn archive(path: &Path) -> Result<Opened> {
        let draft = scratch(path, "qcow2")?;
        let archived = oci::read(path, Some(&draft))?;
        let (reference, kernel, arguments) = (Some(archived.reference), archived.kernel, archived.arguments);
        if archived.has_disk {
            let disk = Opened::disk(Format::Qcow2, raw_of(Format::Qcow2, draft.path())?)?;
            return Ok(Opened { format: Format::Oci, reference, kernel, arguments, ..disk });
        }
        let (config, partitions) = (None, Vec::new());
        Ok(Opened { format: Format::Oci, reference, kernel, arguments, config, partitions, raw: None })
    }

    fn disk(format: Format, raw: Raw) -> Result<Opened> {
        let partitions = partitions(raw.path())?;
        let mut volume = Part::of(raw.path(), &partitions, false)?;
        let mut read = |path: &str, len_max| read_file(&mut volume, path, len_max);
        let kernel = read(KERNEL, KERNEL_LEN_MAX)?.with_context(|| format!("there is no {KERNEL} on the disk"))?;
        let text = read(ARGUMENTS, ARGUMENTS_LEN_MAX)?.unwrap_or_default();
        let arguments = words(&text)?;
        let config = partitions.iter().find(|part| part.is_config);
        let config = config.map(|part| config::keys(raw.path(), part.start, part.len)).transpose()?;
        Ok(Opened { format, reference: None, kernel, arguments, config, partitions, raw: Some(raw) })
    }
}

impl Opened {
    /// The partitions that are the app's.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(|part| part.is_content)
    }
}

/// The bytes of the disk in this image.
pub(super) fn raw_of(format: Format, path: &Path) -> Result<Raw> {
    if format == Format::Raw {
        return Ok(Raw::Image(path.to_owned()));
    }
    let draft = scratch(path, "raw")?;
    convert::to_raw(format, path, draft.path())?;
    Ok(Raw::Copy(draft))
}

/// A file for what is needed only now; the folder of the image may be somebody else's.
pub(super) fn scratch(path: &Path, word: &str) -> Result<Draft> {
    Draft::called(&env::temp_dir().join(path.file_name().unwrap_or_default()), word)
}

fn partitions(raw: &Path) -> Result<Vec<Partition>> {
    let disk =
        GptConfig::new().writable(false).open(raw).context("there is no partition table; create the image again")?;
    let of_disk = disk.partitions().iter().filter(|(_, part)| part.is_used());
    Ok(of_disk
        .map(|(number, part)| Partition {
            number: *number,
            name: part.name.clone(),
            start: part.first_lba.saturating_mul(SECTOR_LEN),
            len: (part.last_lba + 1).saturating_sub(part.first_lba).saturating_mul(SECTOR_LEN),
            is_efi: part.part_type_guid == EFI,
            is_content: ![BIOS.guid, EFI.guid, config::kind().guid].contains(&part.part_type_guid.guid),
            is_config: part.part_type_guid.guid == config::kind().guid,
        })
        .collect())
}

/// The words of the file, as the loaders read it.
fn words(file: &[u8]) -> Result<Vec<String>> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let text =
        std::str::from_utf8(file).with_context(|| format!("{ARGUMENTS} is not UTF-8; save it in this encoding"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    Ok(lines.flat_map(str::split_ascii_whitespace).map(str::to_owned).collect())
}

/// Writes other boot arguments to the disk.
pub(super) fn write_arguments(raw: &Path, arguments: &[String]) -> Result<()> {
    let volume = Part::of(raw, &partitions(raw)?, true)?;
    let text = esp::arguments_file(arguments);
    let written = esp::change(volume, |fs| {
        let mut file = fs.root_dir().create_file(ARGUMENTS)?;
        file.truncate()?;
        file.write_all(text.as_bytes())
    });
    written.context("cannot write the boot arguments")
}

/// Writes another text to the config partition of the disk.
pub(super) fn write_config(raw: &Path, text: &str) -> Result<()> {
    let partitions = partitions(raw)?;
    let part = partitions.iter().find(|part| part.is_config).context("there is no config partition on the disk")?;
    config::write(raw, part.start, part.len, text)
}

fn read_file(volume: &mut Part, path: &str, len_max: u64) -> Result<Option<Vec<u8>>> {
    volume.seek(SeekFrom::Start(0))?;
    let fs = FileSystem::new(volume, FsOptions::new().time_provider(&Never)).context("its file system is damaged")?;
    let file = match fs.root_dir().open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(len_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_max {
        bail!("{path} on the disk is too long");
    }
    Ok(Some(bytes))
}

/// The EFI system partition, as a file of its own.
struct Part {
    disk: File,
    start: u64,
    len: u64,
    at: u64,
}

impl Part {
    fn of(raw: &Path, partitions: &[Partition], is_writable: bool) -> Result<Part> {
        let efi = partitions.iter().find(|part| part.is_efi).context("there is no EFI system partition on the disk")?;
        let disk = OpenOptions::new().read(true).write(is_writable).open(raw)?;
        Ok(Part { disk, start: efi.start, len: efi.len, at: 0 })
    }

    /// How many of so many bytes are there; the file is at the right place then.
    fn go(&mut self, wanted: usize) -> io::Result<usize> {
        let place = self.start.checked_add(self.at).ok_or(io::ErrorKind::InvalidData)?;
        self.disk.seek(SeekFrom::Start(place))?;
        Ok(wanted.min(usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX)))
    }
}

impl Read for Part {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = self.go(bytes.len())?;
        let len = self.disk.read(&mut bytes[..len])?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.go(bytes.len())?;
        let len = self.disk.write(&bytes[..len])?;
        self.at += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.sync_all()
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_by_the_loaders() {
        let check = |file: &str, expected: &[&str]| assert_eq!(words(file.as_bytes()).unwrap(), expected, "{file:?}");
        check("", &[]);
        check("\u{feff}# a\n  # b\r\nip=dhcp  c\r\n\nd=e#f", &["ip=dhcp", "c", "d=e#f"]);
        assert!(words(&[0xff]).is_err());
    }
}
