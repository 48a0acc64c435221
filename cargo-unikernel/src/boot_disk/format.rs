//! Kinds of files, and how one is known by its content.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What kind of file an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// The bytes of the disk, with holes where they are zero.
    Raw,
    /// QEMU, libvirt, KubeVirt, OpenStack.
    Qcow2,
    /// VMware, VirtualBox.
    Vmdk,
    /// Azure, of fixed size; Hyper-V, generation 1.
    Vhd,
    /// Hyper-V.
    Vhdx,
    /// Google Compute Engine: `disk.raw` in an archive.
    Gce,
    /// No disk: the kernel with its boot arguments, for QEMU's `-kernel`, Firecracker, cloud-hypervisor.
    Elf,
    /// An archive of an OCI image, for Kubernetes: disk and kernel for KubeVirt, kernel for urunc.
    Oci,
}

impl Format {
    /// The disk's length is a multiple of this.
    pub(super) fn len_unit(self) -> u64 {
        match self {
            // https://cloud.google.com/compute/docs/import/import-existing-image
            Format::Gce => 1 << 30,
            // Azure takes whole MiB, and the others do not mind.
            _ => 1 << 20,
        }
    }

    /// The kind that this file is.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is none of them.
    pub(crate) fn of(path: &Path) -> Result<Format> {
        let read = || -> io::Result<_> {
            let mut file = File::open(path)?;
            // Enough for the header of a GPT.
            let (mut start, mut end) = (Vec::new(), Vec::new());
            (&mut file).take(1024).read_to_end(&mut start)?;
            let len = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(len.saturating_sub(512)))?;
            file.take(512).read_to_end(&mut end)?;
            Ok((start, end))
        };
        let (start, end) = read().with_context(|| format!("cannot read {}", path.display()))?;
        match known(&start, &end) {
            Some(format) => Ok(format),
            None => bail!(
                "{} is no image that starts by itself; make one with `cargo unikernel image create`, or look at a volume with \
                 `cargo unikernel image fs ls`",
                path.display()
            ),
        }
    }
}

fn known(start: &[u8], end: &[u8]) -> Option<Format> {
    let starts = |magic: &[u8]| start.starts_with(magic);
    let has = |at: usize, magic: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(magic));
    match () {
        () if starts(b"\x7fELF") => Some(Format::Elf),
        () if starts(b"QFI\xfb") => Some(Format::Qcow2),
        () if starts(b"KDMV") => Some(Format::Vmdk),
        () if starts(b"vhdxfile") => Some(Format::Vhdx),
        () if starts(b"\x1f\x8b") => Some(Format::Gce),
        // The mark of a tar archive, whose first file says what it is.
        () if has(257, b"ustar") && starts(b"oci-layout\0") => Some(Format::Oci),
        // A disk of fixed size begins as it is, and has a footer.
        () if end.starts_with(b"conectix") => Some(Format::Vhd),
        () if has(512, b"EFI PART") => Some(Format::Raw),
        () => None,
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("no format is hidden").get_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_content() {
        let check = |start: &[u8], end: &[u8], expected: Option<Format>| assert_eq!(known(start, end), expected);
        check(b"\x7fELF\x02", b"", Some(Format::Elf));
        check(b"QFI\xfb\0", b"", Some(Format::Qcow2));
        check(b"KDMV", b"", Some(Format::Vmdk));
        check(b"vhdxfile", b"", Some(Format::Vhdx));
        check(b"\x1f\x8b\x08", b"", Some(Format::Gce));
        let table = [&[0; 512][..], b"EFI PART"].concat();
        check(&table, b"conectix", Some(Format::Vhd));
        check(&table, &[0; 512], Some(Format::Raw));
        let mut archive = [0; 512];
        archive[..10].copy_from_slice(b"oci-layout");
        archive[257..262].copy_from_slice(b"ustar");
        check(&archive, b"", Some(Format::Oci));
        check(b"#!/bin/sh", b"", None);
        check(b"", b"", None);
    }
}
