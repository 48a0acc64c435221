//! Disks as people write them: `--disk FILE[,serial=NAME][,ro]` and `--volume NAME=FILE[,size=SIZE]`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// An image, or a folder that becomes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFile {
    /// A raw image, a block device, or a folder.
    pub path: PathBuf,
    /// The name under which the app may ask for it.
    pub serial: Option<Name>,
    /// The app cannot write to it, whatever the file allows.
    pub is_read_only: bool,
}

/// A disk that is made at first use and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFile {
    /// Its serial.
    pub name: Name,
    /// The image.
    pub path: PathBuf,
    /// What it is made with, where that was said.
    pub size: Option<Size>,
}

impl FromStr for DiskFile {
    type Err = String;

    /// Options are read from the end, so a file name may have commas.
    fn from_str(text: &str) -> Result<DiskFile, String> {
        let mut disk = DiskFile { path: PathBuf::new(), serial: None, is_read_only: false };
        let mut rest = text;
        while let Some((start, option)) = rest.rsplit_once(',') {
            match option.strip_prefix("serial=") {
                Some(name) => disk.serial = Some(name.parse()?),
                None if option == "ro" => disk.is_read_only = true,
                None => break,
            }
            rest = start;
        }
        if rest.is_empty() {
            return Err(format!("`{text}` names no file; write FILE[,serial=NAME][,ro], such as `site.img,ro`"));
        }
        disk.path = rest.into();
        Ok(disk)
    }
}

impl fmt::Display for DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(serial) = &self.serial {
            write!(f, ",serial={serial}")?;
        }
        if self.is_read_only { f.write_str(",ro") } else { Ok(()) }
    }
}

impl FromStr for VolumeFile {
    type Err = String;
    fn from_str(text: &str) -> Result<VolumeFile, String> {
        let wrong =
            || format!("`{text}` is no volume; write NAME=FILE[,size=SIZE], such as `state=state.img,size=64M`");
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (path, size) = match rest.rsplit_once(",size=") {
            Some((path, size)) => (path, Some(size.parse()?)),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(wrong());
        }
        Ok(VolumeFile { name: name.parse()?, path: path.into(), size })
    }
}

impl fmt::Display for VolumeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.path.display())?;
        match self.size {
            Some(size) => write!(f, ",size={size}"),
            None => Ok(()),
        }
    }
}

/// The serial of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// The field of virtio-blk (virtio 1.2, 5.2.6: the answer to VIRTIO_BLK_T_GET_ID).
const NAME_LEN_MAX: usize = 20;

impl FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Name, String> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if is_plain && (1..=NAME_LEN_MAX).contains(&text.len()) {
            return Ok(Name(text.into()));
        }
        Err(format!(
            "`{text}` is no name of a disk; take 1 to {NAME_LEN_MAX} letters, digits, `-`, `_` or `.`, such as `state`"
        ))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The size of a disk, in bytes; a multiple of the sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// The unit in which QEMU measures disks.
const SECTOR_LEN: u64 = 512;

impl Size {
    /// Enough for the state of most apps; the file is sparse, so it takes what is used.
    pub const DEFAULT: Size = Size(64 << 20);

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// Most bytes in a file on a workstation: what a signed 64-bit offset reaches.
const LEN_MAX: u64 = i64::MAX as u64;

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Size, String> {
        let shift = match text.bytes().last().map(|byte| byte.to_ascii_uppercase()) {
            Some(b'K') => 10,
            Some(b'M') => 20,
            Some(b'G') => 30,
            Some(b'T') => 40,
            _ => 0,
        };
        let digits = if shift > 0 { &text[..text.len() - 1] } else { text };
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        match bytes.filter(|bytes| (1..=LEN_MAX).contains(bytes) && bytes.is_multiple_of(SECTOR_LEN)) {
            Some(bytes) => Ok(Size(bytes)),
            None => Err(format!(
                "`{text}` is no size of a disk; write a number with K, M, G or T, such as `64M`, or a multiple of \
                 {SECTOR_LEN} bytes"
            )),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K"), (0, "")];
        let fits = |shift: u32| self.0.is_multiple_of(1 << shift);
        let (shift, unit) = units.into_iter().find(|(shift, _)| fits(*shift)).unwrap_or((0, ""));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

/// A file as QEMU's options take it: commas are doubled, and no part is taken for a protocol.
pub fn for_qemu(path: &Path) -> String {
    let text = path.display().to_string().replace(',', ",,");
    let has_colon = text.split('/').next().is_some_and(|first| first.contains(':'));
    if has_colon { format!("./{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = String> + fmt::Display>(text: &str, expected: Result<&str, &str>) {
        match (text.parse::<T>().map(|parsed| parsed.to_string()), expected) {
            (Ok(shown), Ok(expected)) => assert_eq!(shown, expected, "{text}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn disks() {
        check::<DiskFile>("site.img", Ok("site.img"));
        check::<DiskFile>("a b.img,ro", Ok("a b.img,ro"));
        check::<DiskFile>("x,ro,serial=site", Ok("x,serial=site,ro"));
        check::<DiskFile>("one,two,serial=site", Ok("one,two,serial=site"));
        check::<DiskFile>("ro", Ok("ro"));
        check::<DiskFile>("", Err("`` names no file"));
        check::<DiskFile>(",ro", Err("`,ro` names no file"));
        check::<DiskFile>("x,serial=", Err("`` is no name of a disk"));
        check::<DiskFile>("x,serial=123456789012345678901", Err("take 1 to 20 letters"));
    }

    #[test]
    fn volumes() {
        check::<VolumeFile>("state=state.img", Ok("state=state.img"));
        check::<VolumeFile>("a-b.c_1=x=y,z,size=4096", Ok("a-b.c_1=x=y,z,size=4K"));
        check::<VolumeFile>("state", Err("`state` is no volume; write NAME=FILE"));
        check::<VolumeFile>("state=", Err("is no volume"));
        check::<VolumeFile>("state=,size=1M", Err("is no volume"));
        check::<VolumeFile>("=state.img", Err("`` is no name of a disk"));
        check::<VolumeFile>("über=x", Err("`über` is no name of a disk"));
        check::<VolumeFile>("state=x,size=lots", Err("`lots` is no size of a disk"));
    }

    #[test]
    fn sizes() {
        check::<Size>("64M", Ok("64M"));
        check::<Size>("65536k", Ok("64M"));
        check::<Size>("512", Ok("512"));
        check::<Size>("1025K", Ok("1025K"));
        check::<Size>("8388607T", Ok("8388607T"));
        for wrong in ["", "M", "0", "0M", "513", "-1M", "1.5G", "64MB", "8388608T", "99999999999999999999", "1€"] {
            check::<Size>(wrong, Err("is no size of a disk"));
        }
    }

    #[test]
    fn files_for_qemu() {
        let check = |path: &str, expected: &str| assert_eq!(for_qemu(Path::new(path)), expected);
        check("a,b.img", "a,,b.img");
        check("nbd:x", "./nbd:x");
        check("/a/nbd:x", "/a/nbd:x");
    }
}
