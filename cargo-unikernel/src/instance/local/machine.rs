//! The machine of an instance: its files in the folder, and the QEMU command that they make.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{
    copy,
    record::{Description, Disk},
    store::Folder,
};
use crate::{
    accel::{self, Accel},
    drives::{self, Attached},
    firmware::BootDisk,
    instance::{
        Name,
        provider::{Image, Order},
    },
    module, net, qemu, runner,
    settings::Settings,
};

/// Everything about a machine that is to be started.
pub struct Machine {
    /// How it was created.
    pub description: Description,
    /// What it is made of.
    pub settings: Settings,
    /// How its instructions are run.
    pub accel: Accel,
    /// Its disks, which are there.
    pub disks: Vec<Attached>,
    name: Name,
    image: PathBuf,
    boot_disk: Option<BootDisk>,
    modules: Option<PathBuf>,
    environment: Option<PathBuf>,
    extra: Vec<String>,
}

impl Machine {
    /// Reads the description, looks for its files, and makes disks that are not there yet.
    pub fn of(folder: &Folder) -> Result<Machine> {
        let description = Description::read(folder)?;
        let settings = description.settings()?;
        let disks = drives::attach(&settings.drives, &folder.image())?;
        Machine::with(folder, description, settings, disks)
    }

    /// The same for one that is only talked about: no disk is made.
    pub fn planned(folder: &Folder) -> Result<Machine> {
        let description = Description::read(folder)?;
        let settings = description.settings()?;
        let disks = drives::plan(&settings.drives, &folder.image())?;
        Machine::with(folder, description, settings, disks)
    }

    fn with(folder: &Folder, description: Description, settings: Settings, disks: Vec<Attached>) -> Result<Machine> {
        let accel = accel::choose(description.options()?.accel, accel::kvm())?;
        let mut extra = description.extra.clone();
        if has_generation(&settings) {
            // A copy gets another id, by which its app knows that it is one.
            extra.splice(..0, ["-device", "vmgenid,guid=auto"].map(String::from));
        }
        let boot_disk = |disk: Disk| {
            let (file, firmware) = (folder.image(), disk.bios.arguments()?);
            anyhow::Ok(BootDisk { file, format: disk.format, firmware })
        };
        let boot_disk = description.disk.map(boot_disk).transpose()?;
        let modules = description.modules.as_ref().map(|name| folder.file(name));
        let environment = description.has_environment.then(|| folder.file(ENVIRONMENT));
        let (name, image) = (folder.name().clone(), folder.image());
        Ok(Machine { description, settings, accel, disks, name, image, boot_disk, modules, environment, extra })
    }

    /// What its network ports need; `is_dry` if that is only to be shown.
    pub fn network(&self, is_dry: bool) -> Result<net::Plan> {
        let (machine, boot_arguments) = (self.name.as_str(), &*self.description.boot_arguments);
        let wish = net::Wish { machine, boot_arguments, has_command_line: self.boot_disk.is_none(), is_dry };
        net::Plan::new(&self.settings, &wish)
    }

    /// The words after the program name.
    pub fn arguments(&self, network: &net::Plan) -> Vec<OsString> {
        let vm = qemu::Vm {
            settings: &self.settings,
            networks: &network.attachments,
            accel: self.accel,
            image: &self.image,
            boot_disk: self.boot_disk.as_ref(),
            modules: self.modules.as_deref(),
            environment: self.environment.as_deref(),
            disks: &self.disks,
            boot_arguments: &network.boot_arguments,
            extra: &self.extra,
        };
        vm.arguments()
    }
}

/// The ELF that its log is decoded with, where there is one.
pub fn elf(folder: &Folder, description: &Description) -> Option<PathBuf> {
    match description.disk {
        None => Some(folder.image()),
        Some(disk) => disk.has_elf.then(|| folder.file(ELF)),
    }
}

/// The app's environment, for this user's eyes alone.
pub const ENVIRONMENT: &str = "environment";

/// A copy of the ELF that is on a disk.
pub const ELF: &str = "elf";

/// Whether the app learns from QEMU that it is a copy: the id is in tables that microvm does not have.
pub fn has_generation(settings: &Settings) -> bool {
    !settings.machine.is_microvm()
}

/// Fills the folder of a new instance.
pub fn lay_out(folder: &Folder, order: &Order) -> Result<()> {
    let source = order.image.path();
    let copy = |from: &Path, to: &Path| copy::file(from, to).with_context(|| format!("cannot copy {}", from.display()));
    copy(source, &folder.image())?;
    let mut description = Description::new(absolute(source)?, order.restart);
    if let Image::Disk { format, bios, elf, .. } = &order.image {
        elf.iter().try_for_each(|elf| copy(elf, &folder.file(ELF)))?;
        description.disk = Some(Disk { format: *format, bios: *bios, has_elf: elf.is_some() });
    }
    description.workspace = order.workspace.clone();
    description.set_machine(&order.settings, order.accel, order.cores.clone());
    description.boot_arguments = order.boot_arguments.clone();
    description.extra = order.extra.clone();
    if order.cores.is_some() {
        runner::halt_on_crash(&mut description.boot_arguments)?;
    }
    let modules = module::pack(&order.settings.modules, &folder.image())?;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    description.modules = modules.as_deref().and_then(name);
    if !order.settings.environment.is_empty() {
        folder.write(ENVIRONMENT, order.settings.environment.text().as_bytes())?;
        description.has_environment = true;
    }
    description.write(folder)?;
    super::record::Status::never_started().write(folder)
}

/// A path that means the same from everywhere.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        bail!("a file without a name");
    }
    fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .with_context(|| format!("cannot find {}", path.display()))
}
