//! `image arguments`: the boot arguments of a finished image, shown or replaced.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    Format, Opened, bare, beside, check_arguments, convert, create::checksum_line, hash::sha256_of, oci, opened,
};
use crate::{
    catalog::Record,
    fs::{Draft, print},
};

/// Whose, and to what they are changed.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image that `image create` made.
    image: PathBuf,
    /// Takes all of them away.
    #[arg(long, conflicts_with = "arguments")]
    none: bool,
    /// Prints them as JSON.
    #[arg(long)]
    json: bool,
    /// The boot arguments (`key=value`) that it has from now on; without any it keeps what it has, and they are printed.
    #[arg(last = true, value_name = "BOOT ARGUMENTS")]
    arguments: Vec<String>,
}

impl Arguments {
    /// Changes them, if asked to, and prints them.
    pub fn exec(self) -> Result<u8> {
        let image = Opened::open(&self.image)?;
        let arguments = match self.none || !self.arguments.is_empty() {
            true => {
                check_arguments(&self.arguments)?;
                replace(&self.image, image, &Change { arguments: &self.arguments, config: None })?;
                self.arguments
            }
            false => image.arguments,
        };
        let text = match self.json {
            true => json!({ "file": self.image, "boot_arguments": arguments }).to_string(),
            false => arguments.join(" "),
        };
        print(&text)?;
        Ok(0)
    }
}

/// What an image has from now on.
pub(super) struct Change<'a> {
    pub(super) arguments: &'a [String],
    /// The text of its config partition; `None` leaves it as it is.
    pub(super) config: Option<&'a str>,
}

/// Writes a copy of the image with that, which then takes its place.
pub(super) fn replace(path: &Path, image: Opened, change: &Change<'_>) -> Result<()> {
    let draft = match image.format {
        Format::Elf => with_section(path, &image.kernel, change.arguments)?,
        Format::Oci => archive(path, &image, change)?,
        format => convert::convert(format, disk(path, &image, change)?, path)?,
    };
    let sha256 = sha256_of(draft.path())?;
    let checksum = beside(path, ".sha256");
    let line = Draft::of(&checksum)?;
    fs::write(line.path(), checksum_line(&sha256, path))?;
    draft.finish()?;
    if checksum.exists() {
        line.finish()?;
    }
    // Without a home there are no notes.
    match Record::find(path).ok().flatten() {
        Some(record) => Record { sha256, len: fs::metadata(path)?.len(), ..record }.write(),
        None => Ok(()),
    }
}

fn with_section(path: &Path, elf: &[u8], arguments: &[String]) -> Result<Draft> {
    ensure!(
        bare::is_ours(elf)?,
        "{} has no room for boot arguments, and maybe what a debugger wants; make an image of it with \
         `cargo unikernel image create --format elf --image {0}`",
        path.display()
    );
    let draft = Draft::of(path)?;
    fs::write(draft.path(), bare::with_arguments(elf, arguments)?)?;
    Ok(draft)
}

/// The changed raw disk, as a draft beside the image.
fn disk(path: &Path, image: &Opened, change: &Change<'_>) -> Result<Draft> {
    let raw = image.raw.as_ref().expect("every other image has a disk");
    let draft = Draft::of(path)?;
    convert::to_raw(Format::Raw, raw.path(), draft.path())?;
    opened::write_arguments(draft.path(), change.arguments)?;
    change.config.map(|text| opened::write_config(draft.path(), text)).transpose()?;
    Ok(draft)
}

fn archive(path: &Path, image: &Opened, change: &Change<'_>) -> Result<Draft> {
    ensure!(image.raw.is_some(), "there is no disk in {}; create the image again", path.display());
    let qcow2 = convert::convert(Format::Qcow2, disk(path, image, change)?, path)?;
    let reference = image.reference.as_ref().expect("an archive has a name");
    let archive = Draft::called(path, "archive")?;
    let parts = oci::Parts { disk: qcow2.path(), kernel: &image.kernel, arguments: change.arguments, reference };
    oci::write(archive.path(), path, &parts)?;
    Ok(archive)
}
