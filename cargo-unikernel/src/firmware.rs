//! Disks that a machine starts from, and the firmware that starts them.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What starts a machine's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Bios {
    /// A BIOS, which QEMU brings along.
    Seabios,
    /// UEFI.
    Ovmf,
}

/// How a disk's content lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// As it is.
    Raw,
    /// QEMU's own.
    Qcow2,
}

impl Format {
    /// That of a file; `None` where it is no disk that could be started from.
    pub fn of(file: &Path) -> Result<Option<Format>> {
        let read = || {
            let file = File::open(file)?;
            let (mut start, mut signature) = (Vec::new(), [0; 2]);
            (&file).take(4).read_to_end(&mut start)?;
            // A file that is shorter has none.
            let _ = file.read_exact_at(&mut signature, 510);
            std::io::Result::Ok((start, signature))
        };
        let (start, signature) = read().with_context(|| format!("cannot read the image {}", file.display()))?;
        Ok(match (&*start, signature) {
            // Whatever comes later.
            (b"\x7fELF", _) => None,
            // QEMU, docs/interop/qcow2.
            (b"QFI\xfb", _) => Some(Format::Qcow2),
            // At the end of a boot sector, and of the protective one that a GPT has (UEFI 2.10, 5.2.3).
            (_, [0x55, 0xaa]) => Some(Format::Raw),
            _ => None,
        })
    }

    /// As QEMU calls it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        }
    }
}

/// Where distributions have OVMF: its code, and the variables it begins with.
const OVMF: [(&str, &str); 4] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

impl Bios {
    /// The options that give it to a machine. What UEFI writes down is forgotten with the machine.
    pub fn arguments(self) -> Result<Vec<String>> {
        if self == Bios::Seabios {
            return Ok(Vec::new());
        }
        let there = OVMF.iter().find(|(code, variables)| Path::new(code).exists() && Path::new(variables).exists());
        let (code, variables) = there.context(
            "UEFI for QEMU is missing; install it (Debian, Ubuntu: `apt install ovmf`, Fedora: `dnf install edk2-ovmf`), or \
             start the disk with `--bios seabios`",
        )?;
        let drive = |unit: u8, access: &str, file: &str| {
            ["-drive".to_owned(), format!("if=pflash,unit={unit},format=raw,{access},file={file}")]
        };
        Ok([drive(0, "readonly=on", code), drive(1, "snapshot=on", variables)].concat())
    }
}

/// The disk that a machine starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootDisk {
    /// Its file.
    pub file: PathBuf,
    /// How its content lies there.
    pub format: Format,
    /// The firmware's options.
    pub firmware: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_known_by_their_first_sector() {
        let folder = tempfile::tempdir().unwrap();
        let check = |content: &[u8], expected: Option<Format>| {
            let file = folder.path().join("disk");
            std::fs::write(&file, content).unwrap();
            assert_eq!(Format::of(&file).unwrap(), expected);
        };
        let mut sector = vec![0; 512];
        check(&sector, None);
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        check(&sector, Some(Format::Raw));
        sector[..4].copy_from_slice(b"\x7fELF");
        check(&sector, None);
        check(b"QFI\xfb\0\0\0\x03", Some(Format::Qcow2));
        check(b"\x7fELF", None);
        check(b"", None);
        assert!(Format::of(&folder.path().join("nothing")).is_err());
    }

    #[test]
    fn a_bios_needs_no_option() {
        assert_eq!(Bios::Seabios.arguments().unwrap(), [""; 0]);
        if let Ok(arguments) = Bios::Ovmf.arguments() {
            assert!(
                arguments.len() == 4 && arguments[1].contains("readonly=on") && arguments[3].contains("snapshot=on")
            );
        }
    }
}
