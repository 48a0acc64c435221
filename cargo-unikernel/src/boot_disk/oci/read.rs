//! Reads an archive again.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use tar::Archive;

use super::{DISK, KERNEL, NAME_FOR_CONTAINERD, Reference, blob_path};
use crate::{boot_disk::hash::Hashed, fs::Draft};

/// The longest description that is read into memory.
const JSON_LEN_MAX: u64 = 1 << 20;
/// The longest kernel.
const KERNEL_LEN_MAX: u64 = 1 << 30;

/// What an archive holds.
pub(crate) struct Archived {
    pub(crate) reference: Reference,
    pub(crate) kernel: Vec<u8>,
    pub(crate) arguments: Vec<String>,
    pub(crate) has_disk: bool,
}

/// Reads what it holds; the disk is written to `disk` if somebody wants it.
///
/// # Errors
///
/// It is damaged, or not made by `image create`.
pub(crate) fn read(path: &Path, disk: Option<&Draft>) -> Result<Archived> {
    let mut file = File::open(path)?;
    check(&mut file)?;
    let index = ImageIndex::from_reader(&*entry(&mut file, "index.json", JSON_LEN_MAX)?)?;
    let [descriptor] = index.manifests().as_slice() else {
        anyhow::bail!("{} has {} images; it should have one", path.display(), index.manifests().len())
    };
    let manifest = ImageManifest::from_reader(&*blob(&mut file, descriptor)?)?;
    let name = descriptor.annotations().as_ref().and_then(|all| all.get(NAME_FOR_CONTAINERD));
    let reference = name.and_then(|name| name.parse().ok()).unwrap_or_else(|| Reference::of_file(path));
    let annotations = manifest.annotations().clone().unwrap_or_default();
    let line = annotations.get("com.urunc.unikernel.cmdline").map_or("", String::as_str);
    let [layer] = manifest.layers().as_slice() else {
        anyhow::bail!("{} is not made by `cargo unikernel image create`: it has several layers", path.display())
    };
    let (kernel, has_disk) = unpack(&mut file, layer, disk)?;
    let arguments = line.split_ascii_whitespace().map(str::to_owned).collect();
    Ok(Archived { reference, kernel, arguments, has_disk })
}

/// The kernel, and whether there is a disk.
fn unpack(file: &mut File, layer: &Descriptor, disk: Option<&Draft>) -> Result<(Vec<u8>, bool)> {
    let wanted = blob_path(layer.digest().digest());
    file.seek(SeekFrom::Start(0))?;
    let mut archive = Archive::new(file);
    let found = archive.entries()?.filter_map(Result::ok).find(|entry| is(entry, &wanted));
    let mut files = Archive::new(GzDecoder::new(found.context("a layer is missing; create the image again")?));
    let (mut kernel, mut has_disk) = (None, false);
    for entry in files.entries()? {
        let mut entry = entry?;
        if is(&entry, KERNEL) {
            kernel = Some(bounded(&mut entry, KERNEL_LEN_MAX)?);
        } else if is(&entry, DISK) {
            has_disk = true;
            if let Some(draft) = disk {
                io::copy(&mut entry, &mut File::create(draft.path())?)?;
            }
        }
    }
    Ok((kernel.context("there is no kernel in the image; is it of `cargo unikernel image create`?")?, has_disk))
}

fn is<R: Read>(entry: &tar::Entry<'_, R>, path: &str) -> bool {
    entry.path().is_ok_and(|found| found.as_ref() == Path::new(path))
}

fn blob(file: &mut File, descriptor: &Descriptor) -> Result<Vec<u8>> {
    entry(file, &blob_path(descriptor.digest().digest()), JSON_LEN_MAX)
}

/// Each blob has its checksum as its name.
fn check(file: &mut File) -> Result<()> {
    let mut archive = Archive::new(file);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Ok(name) = path.strip_prefix("blobs/sha256") else { continue };
        let mut hashed = Hashed::new(io::sink());
        io::copy(&mut entry, &mut hashed)?;
        let (_, found, len) = hashed.finish();
        let is_whole = len == entry.size() && Some(&*found) == name.to_str();
        ensure!(is_whole, "the image is damaged: a checksum is not right; create it again");
    }
    Ok(())
}

fn entry(file: &mut File, path: &str, len_max: u64) -> Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut archive = Archive::new(file);
    let found = archive.entries()?.filter_map(Result::ok).find(|entry| is(entry, path));
    bounded(&mut found.with_context(|| format!("{path} is missing; create the image again"))?, len_max)
}

fn bounded(from: &mut impl Read, len_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(len_max + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= len_max, "a file of the image is too long; create it again");
    Ok(bytes)
}
