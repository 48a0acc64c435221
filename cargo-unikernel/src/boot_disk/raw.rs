//! The bytes of the disk of any image, for a machine that takes nothing else.

use std::path::Path;

use anyhow::Result;

use super::{
    Format, Opened, check_arguments, convert, esp, loaders,
    opened::{self, Raw, scratch},
    stripped, write,
};
use crate::{console, fs::Draft};

/// A raw disk that starts by itself. A copy is removed when this is dropped.
pub(crate) struct RawDisk {
    raw: Raw,
    /// What the app is told at its start.
    pub(crate) arguments: Vec<String>,
    /// The build id of its kernel.
    pub(crate) build: Option<String>,
}

impl RawDisk {
    /// That of an image of any kind, or made of an ELF file. Where there are boot arguments, they take the place of those in it; the
    /// image stays as it is.
    pub(crate) fn of(image: &Path, arguments: &[String]) -> Result<RawDisk> {
        check_arguments(arguments)?;
        let opened = Opened::open(image)?;
        let build = console::build_id(&opened.kernel);
        let is_same = arguments.is_empty() || arguments == opened.arguments;
        let arguments = if is_same { opened.arguments } else { arguments.to_vec() };
        let raw = match opened.raw {
            None => Raw::Copy(made(image, &opened.kernel, &arguments)?),
            Some(raw) if is_same => raw,
            Some(raw) => Raw::Copy(changed(image, &raw, &arguments)?),
        };
        Ok(RawDisk { raw, arguments, build })
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        self.raw.path()
    }
}

/// As `image create` makes it.
fn made(image: &Path, elf: &[u8], arguments: &[String]) -> Result<Draft> {
    let (kernel, loaders, arguments) = (stripped(elf)?, loaders::loaders()?, esp::arguments_file(arguments));
    let draft = scratch(image, "disk")?;
    let files = esp::Files { loader: loaders.uefi, kernel: &kernel, arguments: &arguments };
    let disk = write::Disk { files, bios: loaders.bios, volumes: &[], config: None };
    write::disk(draft.path(), &disk, Format::Raw.len_unit())?;
    Ok(draft)
}

/// With other arguments, as `image arguments` writes them.
fn changed(image: &Path, raw: &Raw, arguments: &[String]) -> Result<Draft> {
    let draft = scratch(image, "changed")?;
    convert::to_raw(Format::Raw, raw.path(), draft.path())?;
    opened::write_arguments(draft.path(), arguments)?;
    Ok(draft)
}
