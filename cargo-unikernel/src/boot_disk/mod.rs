//! `cargo unikernel image create`: a disk that UEFI and a BIOS start an app from.
//!
//! The disk has a GPT with a partition for the BIOS loader, the EFI system partition with the UEFI loader, the kernel and its boot
//! arguments, and one partition for each volume. Made of the same parts it is the same, byte for byte.

mod convert;
mod esp;
mod kernel;
mod layout;
mod loaders;
mod write;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::json;

use crate::{
    build,
    fs::{Draft, print},
    qemu,
};

pub use kernel::stripped;

/// The longest command line that a kernel takes.
const ARGUMENTS_LEN_MAX: usize = 2048;

/// What is made, and of what.
#[derive(clap::Args)]
pub struct Create {
    #[command(flatten)]
    selection: build::Selection,
    /// Takes this image, the ELF file of an app, instead of building one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["package", "release", "features"])]
    image: Option<PathBuf>,
    /// What kind of file.
    #[arg(short, long, value_enum, default_value_t = Format::Raw)]
    format: Format,
    /// The file.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Makes the image of a disk a partition; the app mounts it. Of several, in this order, the first has number 3.
    #[arg(long = "volume", value_name = "NAME=FILE")]
    volumes: Vec<Content>,
    /// Only prints the commands that would be run.
    #[arg(long)]
    dry_run: bool,
    /// Prints what was made as JSON.
    #[arg(long)]
    json: bool,
    /// Boot arguments (`key=value`). They are in the file `unikernel/boot-arguments.txt` of the image, which may be edited.
    #[arg(last = true, value_name = "BOOT ARGUMENTS")]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
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
}

/// A partition with the content of a file.
#[derive(Clone, Debug)]
struct Content {
    name: String,
    file: PathBuf,
}

impl std::str::FromStr for Content {
    type Err = String;

    fn from_str(text: &str) -> Result<Content, String> {
        let wrong = || format!("`{text}` is no volume; write NAME=FILE, such as `site=site.img`");
        let (name, file) = text.split_once('=').filter(|(_, file)| !file.is_empty()).ok_or_else(wrong)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > layout::NAME_LEN_MAX || !name.chars().all(plain) {
            let most = layout::NAME_LEN_MAX;
            return Err(format!("`{name}` is no name of a volume; take 1 to {most} letters, digits, `-`, `_` and `.`"));
        }
        Ok(Content { name: name.to_owned(), file: file.into() })
    }
}

impl Create {
    /// Makes it, and says what it made.
    pub fn exec(self) -> Result<u8> {
        let line = self.arguments.join(" ");
        ensure!(
            line.len() <= ARGUMENTS_LEN_MAX,
            "the boot arguments have {} bytes; a kernel takes {ARGUMENTS_LEN_MAX} at most, so shorten them",
            line.len()
        );
        if self.dry_run {
            return self.print_commands();
        }
        let loaders = loaders::loaders()?;
        convert::check(self.format)?;
        let image = match &self.image {
            Some(image) => image.clone(),
            None => build::the_image(&self.selection)?,
        };
        let kernel = stripped(&crate::image::read(&image)?)?;
        let kernel_len = kernel.len();
        let files =
            esp::Files { loader: loaders.uefi, kernel: &kernel, arguments: &esp::arguments_file(&self.arguments) };
        let draft = Draft::of(&self.output)?;
        let len = write::disk(draft.path(), &files, loaders.bios, &self.volumes, self.format.len_unit())
            .with_context(|| format!("cannot make {}", self.output.display()))?;
        convert::finish(self.format, draft, &self.output)?;
        self.report(len, kernel_len)
    }

    fn print_commands(&self) -> Result<u8> {
        if self.image.is_none() {
            print(&build::shell_line(&self.selection)?)?;
        }
        if let Some(command) = convert::command(self.format, "DISK".as_ref(), &self.output) {
            print(&qemu::shell_line(convert::QEMU_IMG, &command))?;
        }
        Ok(0)
    }

    fn report(&self, disk_len: u64, kernel_len: usize) -> Result<u8> {
        let file_len = fs::metadata(&self.output).map(|file| file.len()).context("the image is gone")?;
        let format = self.format.to_possible_value().expect("no format is hidden");
        let (disk_mib, kernel_kib) = (disk_len >> 20, kernel_len.div_ceil(1024));
        let (file, format) = (self.output.display(), format.get_name());
        let volumes: Vec<_> = self.volumes.iter().map(|volume| &volume.name).collect();
        let text = match self.json {
            false => format!("{file} ({format}, disk of {disk_mib} MiB, kernel {kernel_kib} KiB)"),
            true => json!({
                "file": self.output, "format": format, "file_len": file_len, "disk_len": disk_len,
                "kernel_len": kernel_len, "boot_arguments": self.arguments, "volumes": volumes,
            })
            .to_string(),
        };
        print(&text)?;
        Ok(0)
    }
}

impl Format {
    /// The disk's length is a multiple of this.
    fn len_unit(self) -> u64 {
        match self {
            // https://cloud.google.com/compute/docs/import/import-existing-image
            Format::Gce => 1 << 30,
            // Azure takes whole MiB, and the others do not mind.
            _ => 1 << 20,
        }
    }
}

/// The length of a file that becomes a partition.
fn content_len(content: &Content) -> Result<u64> {
    let file = fs::metadata(&content.file).with_context(|| format!("cannot read {}", content.file.display()))?;
    if !file.is_file() || file.len() == 0 {
        bail!("{} is no image of a disk; make one with `cargo unikernel image fs create`", content.file.display());
    }
    Ok(file.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let check = |text: &str, expected: &str| {
            let found = text.parse::<Content>();
            let found = found.map_or_else(|error| error, |found| format!("{} {}", found.name, found.file.display()));
            assert!(found.contains(expected), "{found}");
        };
        check("site=site.img", "site site.img");
        check("a-b_c.1=x=y", "a-b_c.1 x=y");
        check("site", "`site` is no volume; write NAME=FILE");
        check("site=", "is no volume");
        check("=x", "`` is no name of a volume");
        check("sité=x", "is no name of a volume");
        check(&format!("{}=x", "n".repeat(37)), "take 1 to 36 letters");
    }
}
