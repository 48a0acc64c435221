//! From the raw disk to other kinds of files: by `qemu-img`, and an archive for Google's cloud.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder, read::GzDecoder};

use super::{Format, layout, write};
use crate::fs::Draft;

/// The converter's program name.
pub(super) const QEMU_IMG: &str = "qemu-img";

impl Format {
    /// `qemu-img`'s name of it, and its options.
    fn of_qemu_img(self) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Format::Raw | Format::Gce | Format::Elf => None,
            // In an OCI image the disk is one of these.
            Format::Qcow2 | Format::Oci => Some(("qcow2", None)),
            Format::Vmdk => Some(("vmdk", None)),
            // The size as it is, instead of one that an old disk's heads and cylinders could have.
            Format::Vhd => Some(("vpc", Some("subformat=fixed,force_size=on"))),
            Format::Vhdx => Some(("vhdx", None)),
        }
    }
}

/// The words after the program name; `None` where it is not needed.
pub(super) fn command(format: Format, disk: &Path, output: &Path) -> Option<Vec<OsString>> {
    let (name, options) = format.of_qemu_img()?;
    let mut words: Vec<OsString> = ["convert", "-f", "raw", "-O", name].map(OsString::from).into();
    if let Some(options) = options {
        words.extend(["-o", options].map(OsString::from));
    }
    words.extend([disk, output].map(plain));
    Some(words)
}

/// The path as a word that is taken for no option and no protocol, such as `nbd:`.
fn plain(path: &Path) -> OsString {
    let is_plain = path.is_absolute() || !path.to_string_lossy().contains(':');
    let is_plain = is_plain && !path.to_string_lossy().starts_with('-');
    if is_plain { path.into() } else { Path::new(".").join(path).into() }
}

/// Finds `qemu-img` before anything is built, where it will be needed.
pub(super) fn check(format: Format) -> Result<()> {
    if format.of_qemu_img().is_none() { Ok(()) } else { check_qemu_img() }
}

/// Fails where there is no `qemu-img`.
pub(crate) fn check_qemu_img() -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = env::split_paths(&path).any(|folder| folder.join(QEMU_IMG).is_file());
    ensure!(
        is_there,
        "there is no `{QEMU_IMG}` on your PATH, which makes qcow2, vmdk, vhd and vhdx; install it with `apt-get install qemu-utils`, \
         `dnf install qemu-img` or `pacman -S qemu-img`, or choose `--format raw`"
    );
    Ok(())
}

/// Makes the file of the raw disk, as a draft of `output`.
pub(super) fn convert(format: Format, disk: Draft, output: &Path) -> Result<Draft> {
    if format == Format::Raw {
        return Ok(disk);
    }
    let converted = Draft::called(output, "converted")?;
    match command(format, disk.path(), converted.path()) {
        Some(words) => run(&words)?,
        None => archive(disk.path(), converted.path()).context("cannot write the archive")?,
    }
    if format == Format::Vhd {
        settle_footer(converted.path()).context("cannot write the footer of the disk")?;
    }
    Ok(converted)
}

/// Gives the disk's footer the same time and number each time, where `qemu-img` writes the clock's and a random one
/// (Microsoft, Virtual Hard Disk Image Format Specification 1.0).
fn settle_footer(disk: &Path) -> Result<()> {
    const LEN: usize = 512;
    const SUM: Range<usize> = 64..68;
    let file = OpenOptions::new().read(true).write(true).open(disk)?;
    let place = file.metadata()?.len().checked_sub(LEN as u64).context("there is none")?;
    let mut footer = [0; LEN];
    file.read_exact_at(&mut footer, place)?;
    ensure!(footer.starts_with(b"conectix"), "there is none");
    footer[24..28].fill(0);
    footer[68..84].copy_from_slice(layout::guid(0).as_bytes());
    footer[SUM].fill(0);
    let sum = footer.iter().fold(0, |sum: u32, byte| sum.wrapping_add(u32::from(*byte)));
    footer[SUM].copy_from_slice(&(!sum).to_be_bytes());
    Ok(file.write_all_at(&footer, place)?)
}

/// Writes the bytes of the disk that an image of this kind holds.
pub(super) fn to_raw(format: Format, image: &Path, raw: &Path) -> Result<()> {
    if format == Format::Raw {
        let mut to = OpenOptions::new().write(true).create(true).truncate(true).open(raw)?;
        to.set_len(fs::metadata(image)?.len())?;
        return Ok(write::copy(File::open(image)?, &mut to, 0)?);
    }
    let Some((name, _)) = format.of_qemu_img() else { return unpack(image, raw) };
    check(format)?;
    let words = ["convert", "-f", name, "-O", "raw"].map(OsString::from);
    run(&[&words[..], &[plain(image), plain(raw)]].concat())
}

/// The disk in an archive for Google's cloud.
fn unpack(archive: &Path, raw: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(archive)?));
    let mut entries = archive.entries()?;
    let mut disk = entries.next().context("the archive is empty; create the image again")??;
    ensure!(disk.path()? == Path::new("disk.raw"), "there is no `disk.raw` in the archive; create the image again");
    let mut to = OpenOptions::new().write(true).create(true).truncate(true).open(raw)?;
    to.set_len(disk.size())?;
    Ok(write::copy(&mut disk, &mut to, 0)?)
}

fn run(words: &[OsString]) -> Result<()> {
    // It ends with us, however we end.
    let mut command = Command::new(env::current_exe().context("cannot find this program")?);
    command.arg("babysit").arg(std::process::id().to_string()).arg("--").arg(QEMU_IMG).args(words);
    let output = command.output().with_context(|| format!("cannot start {QEMU_IMG}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{QEMU_IMG} failed: {}", said.trim());
    Ok(())
}

/// An archive with the disk as `disk.raw`, in the old GNU format, which knows holes, compressed.
fn archive(disk: &Path, output: &Path) -> Result<()> {
    let out = GzBuilder::new().write(File::create(output)?, Compression::fast());
    let mut archive = tar::Builder::new(out);
    // Without the times and the owner that the file has here.
    archive.mode(tar::HeaderMode::Deterministic);
    archive.append_file("disk.raw", &mut File::open(disk)?)?;
    archive.into_inner()?.finish()?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let check = |format, expected: &str| {
            let words = command(format, "a".as_ref(), "b,c".as_ref());
            let line = words.map(|words| crate::qemu::shell_line(QEMU_IMG, &words)).unwrap_or_default();
            assert_eq!(line, expected);
        };
        check(Format::Raw, "");
        check(Format::Gce, "");
        check(Format::Qcow2, "qemu-img convert -f raw -O qcow2 a b,c");
        let words = command(Format::Vmdk, "nbd:a".as_ref(), "-b".as_ref()).unwrap();
        assert_eq!(words[5..], ["./nbd:a", "./-b"].map(OsString::from));
        check(Format::Vhd, "qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on a b,c");
    }
}
