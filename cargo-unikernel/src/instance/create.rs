//! `cargo unikernel instance create`: from a command line to an order.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::{
    Name, Restart,
    local::machine::absolute,
    place::AwsOptions,
    provider::{Image, Order},
};
use crate::{
    accel,
    boot_disk::{Opened, bare},
    build::{self, Selection},
    console::{build_id, builds},
    disk::{DiskFile, VolumeFile},
    drives::Drive,
    firmware::{Bios, Format},
    image, package, runner,
    settings::{Options, Settings},
    short::Short,
};

/// What to run, as what, and on which machine.
#[derive(clap::Args)]
// `-p` is both, see `Short`.
#[command(mut_arg("ports", |port| port.short(None)), mut_arg("package", |package| package.short(None)))]
pub struct Create {
    /// Its name; without one, that of the image, with a number if need be.
    pub(super) name: Option<Name>,
    /// The same.
    #[arg(long = "name", value_name = "NAME", conflicts_with = "name", id = "name_option")]
    pub(super) name_option: Option<Name>,
    /// A finished image, instead of building one: an ELF file built for x86_64-unknown-none, or a disk that starts by
    /// itself, raw or qcow2.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["package", "release", "features"])]
    pub(super) image: Option<PathBuf>,
    /// What starts a disk; UEFI where it is installed.
    #[arg(long, value_name = "KIND", requires = "image")]
    pub(super) bios: Option<Bios>,
    /// The ELF that is on the disk, to decode its log with; without it, that of its build under the target folder.
    #[arg(long, value_name = "FILE", requires = "image")]
    pub(super) elf: Option<PathBuf>,
    #[command(flatten)]
    short: Short,
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) options: Options,
    #[command(flatten)]
    pub(super) aws: AwsOptions,
    /// When it is started again by itself after its end.
    #[arg(long, value_name = "WHEN", default_value = "never")]
    pub(super) restart: Restart,
    /// Prints the QEMU command, or the calls of the cloud's API, and makes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Prints what was made as JSON.
    #[arg(long)]
    pub json: bool,
    /// Boot arguments, `key=value`; they go to the kernel command line unchanged.
    #[arg(last = true)]
    pub(super) boot_arguments: Vec<String>,
}

impl Create {
    /// What this computer is to run. Builds what has to be built, and checks all that can be checked.
    pub fn order(mut self) -> Result<Order> {
        self.sort_out()?;
        self.aws.check_unused()?;
        let path = match &self.image {
            Some(image) => image.clone(),
            None => build::the_image(&self.selection)?,
        };
        let image = self.image_at(path)?;
        if let Image::Elf(elf) = &image {
            // Those in the image come first, so that the command line has the last word.
            self.boot_arguments.splice(0..0, bare::arguments(&image::read(elf)?)?);
        }
        let origin = package::origin_of(image.path())?;
        let (accel, cores) = (self.options.accel, self.options.dump_on_crash.clone());
        // Whether it can be had is better said now than in the background.
        accel::choose(accel, accel::kvm())?;
        let mut settings = Settings::merge(&origin.settings, self.options, false).map_err(anyhow::Error::msg)?;
        settings.drives = settings.drives.into_iter().map(from_anywhere).collect::<Result<_>>()?;
        if let Image::Disk { .. } = image {
            check_disk(&settings, &self.boot_arguments)?;
        }
        settings.pcap = settings.pcap.as_deref().map(absolute).transpose()?;
        Ok(Order {
            name: self.name.or(self.name_option),
            image,
            workspace: origin.workspace,
            settings,
            accel,
            cores: cores.as_deref().map(absolute).transpose()?,
            boot_arguments: self.boot_arguments,
            extra: runner::extra_arguments()?,
            restart: self.restart,
        })
    }

    fn image_at(&self, path: PathBuf) -> Result<Image> {
        if let Some(format) = Format::of(&path)? {
            let default = || if Bios::Ovmf.arguments().is_ok() { Bios::Ovmf } else { Bios::Seabios };
            let bios = self.bios.unwrap_or_else(default);
            bios.arguments()?;
            self.elf.as_deref().map(image::read).transpose()?;
            let elf = self.elf.clone().or_else(|| elf_of(&path));
            if elf.is_none() {
                eprintln!(
                    "unikernel: nothing built here is what is on {}, so its log lines are kept as they come; decode them with \
                     `--elf ELF`",
                    path.display()
                );
            }
            return Ok(Image::Disk { file: path, format, bios, elf });
        }
        image::read(&path)?;
        if self.bios.is_some() || self.elf.is_some() {
            bail!("{} is an ELF, which QEMU starts itself; leave away `--bios` and `--elf`", path.display());
        }
        Ok(Image::Elf(path))
    }

    /// Each `-p` to what it means.
    pub(super) fn sort_out(&mut self) -> Result<()> {
        self.short.apply(&mut self.selection, &mut self.options, self.image.is_some())
    }
}

/// The ELF that is on the disk, if it is one of ours and was built here.
fn elf_of(disk: &Path) -> Option<PathBuf> {
    let kernel = Opened::open(disk).ok()?.kernel;
    builds::of_build(&build_id(&kernel)?).ok()
}

/// What only a kernel gets from QEMU.
fn check_disk(settings: &Settings, boot_arguments: &[String]) -> Result<()> {
    ensure!(boot_arguments.is_empty(), "the boot arguments of a disk are on it; change them there");
    ensure!(settings.modules.is_empty(), "a disk gets no boot modules; put the files on it");
    ensure!(!settings.machine.is_microvm(), "a microvm starts no disk; leave away `--machine`, or take `q35` or `pc`");
    Ok(())
}

/// The supervisor has another folder.
fn from_anywhere(drive: Drive) -> Result<Drive> {
    Ok(match drive {
        Drive::Disk(disk) => Drive::Disk(DiskFile { path: absolute(&disk.path)?, ..disk }),
        Drive::Volume(volume) => Drive::Volume(VolumeFile { path: absolute(&volume.path)?, ..volume }),
        scratch @ Drive::Scratch(..) => scratch,
    })
}
