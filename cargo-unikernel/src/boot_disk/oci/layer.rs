//! The layer: a compressed archive of the files.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use super::{DISK, KERNEL, Parts};
use crate::boot_disk::hash::Hashed;

/// The user `qemu` of KubeVirt's containers, and its group.
/// <https://kubevirt.io/user-guide/storage/disks_and_volumes/#containerdisk>
const QEMU: u64 = 107;
const ROOT: u64 = 0;

/// What is known of a layer that was written.
pub(super) struct Layer {
    /// Checksum of the file.
    pub(super) digest: String,
    /// Checksum of what is in it, before it was compressed.
    pub(super) diff_id: String,
    /// Length of the file.
    pub(super) len: u64,
}

/// Writes it.
pub(super) fn write(path: &Path, parts: &Parts<'_>, urunc: &str) -> Result<Layer> {
    let file = Hashed::new(File::create(path)?);
    let mut out = tar::Builder::new(Hashed::new(GzBuilder::new().write(file, Compression::default())));
    let disk = File::open(parts.disk).with_context(|| format!("cannot read {}", parts.disk.display()))?;
    folder(&mut out, "disk/")?;
    append(&mut out, DISK, (QEMU, 0o440), fs::metadata(parts.disk)?.len(), disk)?;
    folder(&mut out, "unikernel/")?;
    append(&mut out, KERNEL, (QEMU, 0o444), parts.kernel.len() as u64, parts.kernel)?;
    append(&mut out, "urunc.json", (ROOT, 0o444), urunc.len() as u64, urunc.as_bytes())?;
    let (compressed, diff_id, _) = out.into_inner()?.finish();
    let (file, digest, len) = compressed.finish()?.finish();
    file.sync_all()?;
    Ok(Layer { digest, diff_id, len })
}

fn folder(out: &mut tar::Builder<impl Write>, path: &str) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Directory);
    own(&mut header, (QEMU, 0o555));
    header.set_size(0);
    out.append_data(&mut header, path, io::empty())
}

fn append(
    out: &mut tar::Builder<impl Write>,
    path: &str,
    owner: (u64, u32),
    len: u64,
    content: impl Read,
) -> io::Result<()> {
    // In this format a length may exceed 8 GiB.
    let mut header = Header::new_gnu();
    own(&mut header, owner);
    header.set_size(len);
    out.append_data(&mut header, path, content)
}

/// Without a time, so that the same parts make the same layer.
fn own(header: &mut Header, (user, mode): (u64, u32)) {
    header.set_uid(user);
    header.set_gid(user);
    header.set_mode(mode);
    header.set_mtime(0);
}
