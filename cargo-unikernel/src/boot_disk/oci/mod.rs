//! An image for container registries: an archive of an OCI image layout (image-spec 1.1) with one layer.
//!
//! | in the layer | who takes it |
//! |---|---|
//! | `disk/disk.qcow2` | KubeVirt, as a `containerDisk`: it wants one file in `/disk`, which user 107 can read |
//! | `unikernel/kernel.elf` | KubeVirt, as `kernelBoot`; urunc |
//! | `urunc.json` | urunc, where its container runtime does not hand it the annotations |

mod layer;
mod read;
mod reference;
mod urunc;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use anyhow::Result;
use oci_spec::image::{
    ANNOTATION_REF_NAME, Arch, ConfigBuilder, Descriptor, DescriptorBuilder, ImageConfigurationBuilder,
    ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder,
    SCHEMA_VERSION, Sha256Digest,
};
use serde::Serialize;

use super::hash::sha256;
use crate::fs::Draft;

pub(crate) use read::read;
pub(crate) use reference::Reference;

/// Where the kernel lies in the image.
pub(crate) const KERNEL: &str = "unikernel/kernel.elf";
/// Where the disk lies.
pub(crate) const DISK: &str = "disk/disk.qcow2";
/// By this name containerd's `ctr images import` knows the image.
const NAME_FOR_CONTAINERD: &str = "io.containerd.image.name";

/// What goes into an image.
pub(crate) struct Parts<'a> {
    /// The file of a qcow2 disk.
    pub(crate) disk: &'a Path,
    pub(crate) kernel: &'a [u8],
    pub(crate) arguments: &'a [String],
    pub(crate) reference: &'a Reference,
}

/// Writes the archive. `output` is where it will be; drafts lie beside it.
pub(crate) fn write(archive: &Path, output: &Path, parts: &Parts<'_>) -> Result<()> {
    let annotations = urunc::annotations(parts.arguments);
    let draft = Draft::called(output, "layer")?;
    let layer = layer::write(draft.path(), parts, &urunc::file(&annotations))?;
    let config = to_json(&config(&layer, parts.arguments, &annotations)?)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(described(MediaType::ImageConfig, &config)?)
        .layers(vec![Descriptor::new(MediaType::ImageLayerGzip, layer.len, digest(&layer.digest)?)])
        .annotations(annotations)
        .build()?;
    let manifest = to_json(&manifest)?;
    let index = to_json(&index(described(MediaType::ImageManifest, &manifest)?, parts.reference)?)?;
    let layout = to_json(&OciLayoutBuilder::default().image_layout_version("1.0.0").build()?)?;
    let mut out = tar::Builder::new(File::create(archive)?);
    append(&mut out, "oci-layout", layout.len() as u64, &*layout)?;
    append(&mut out, "index.json", index.len() as u64, &*index)?;
    for blob in [&config, &manifest] {
        append(&mut out, &blob_path(&sha256(blob)), blob.len() as u64, &**blob)?;
    }
    append(&mut out, &blob_path(&layer.digest), layer.len, File::open(draft.path())?)?;
    out.into_inner()?.sync_all()?;
    Ok(())
}

fn config(
    layer: &layer::Layer,
    arguments: &[String],
    annotations: &HashMap<String, String>,
) -> Result<oci_spec::image::ImageConfiguration, oci_spec::OciSpecError> {
    let run = ConfigBuilder::default().cmd(urunc::command(arguments)).labels(annotations.clone()).build()?;
    ImageConfigurationBuilder::default()
        .architecture(Arch::Amd64)
        // Of the host, which runs the machine: registries and container runtimes look for nothing else.
        .os(Os::Linux)
        .config(run)
        .rootfs(RootFsBuilder::default().diff_ids(vec![format!("sha256:{}", layer.diff_id)]).build()?)
        .build()
}

fn index(
    mut manifest: Descriptor,
    reference: &Reference,
) -> Result<oci_spec::image::ImageIndex, oci_spec::OciSpecError> {
    let names = [(ANNOTATION_REF_NAME, reference.tag()), (NAME_FOR_CONTAINERD, &reference.to_string())];
    let names = names.map(|(key, value)| (key.to_owned(), value.to_owned()));
    manifest.set_annotations(Some(names.into()));
    manifest.set_platform(Some(PlatformBuilder::default().architecture(Arch::Amd64).os(Os::Linux).build()?));
    ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![manifest])
        .build()
}

fn described(kind: MediaType, blob: &[u8]) -> Result<Descriptor> {
    let descriptor = DescriptorBuilder::default().media_type(kind).size(blob.len() as u64);
    Ok(descriptor.digest(digest(&sha256(blob))?).build()?)
}

fn digest(hex: &str) -> Result<Sha256Digest> {
    Ok(hex.parse()?)
}

fn blob_path(hex: &str) -> String {
    format!("blobs/sha256/{hex}")
}

/// With the keys in order: the types keep them in maps whose order is drawn anew in each process.
fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::to_value(value)?)?)
}

fn append<W: Write>(out: &mut tar::Builder<W>, path: &str, len: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(len);
    header.set_mode(0o644);
    out.append_data(&mut header, path, content)
}
