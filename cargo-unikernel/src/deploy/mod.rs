//! `cargo unikernel image export`: what a hypervisor or cluster is told to run a finished image.

mod cloud_hypervisor;
mod firecracker;
pub(crate) mod kubernetes;
mod libvirt;
mod yaml;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::json;

use crate::{
    boot_disk::{Format, Opened, hash::sha256, oci::Reference},
    catalog::Record,
    drives::{Drive, DriveOptions},
    fs::{Draft, print},
    net::Net,
    package,
    port::Port,
    settings::{Memory, Options, PackageSettings, Settings},
};

/// What is written, for whom.
#[derive(clap::Args)]
pub struct Export {
    /// An image that `image create` made.
    image: PathBuf,
    /// Who runs it.
    #[arg(long = "for", value_enum, value_name = "WHO")]
    target: Target,
    /// Its name there; without one, that of the file.
    #[arg(long)]
    name: Option<String>,
    /// Memory of the machine, such as `64M` or `1G`.
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<Memory>,
    /// A port that the app serves, and under which number others see it, with `/udp` where it is that; repeat for several.
    #[arg(short, long = "port", value_name = "HOST:GUEST[/udp]")]
    ports: Vec<Port>,
    /// `none`: the machine has no network port.
    #[arg(long, value_name = "KIND")]
    net: Option<Net>,
    /// The host's end of the network cable, for Firecracker and cloud-hypervisor; it is made with `ip tuntap add`.
    #[arg(long, value_name = "DEVICE", default_value = "tap0")]
    tap: String,
    #[command(flatten)]
    drives: DriveOptions,
    /// Writes it to this file instead of the console.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints as JSON what it was made of, with the text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The XML of a domain, for `virsh define`.
    Libvirt,
    /// A configuration file, for `firecracker --config-file`.
    Firecracker,
    /// The command line.
    CloudHypervisor,
    /// A VirtualMachine of Kubernetes with KubeVirt, started from the disk of an OCI image.
    Kubevirt,
    /// The same, started from the kernel, which is sooner.
    KubevirtKernel,
    /// A pod of Kubernetes with urunc.
    Urunc,
}

/// A disk besides the image.
pub(crate) struct Disk {
    name: String,
    path: PathBuf,
    is_read_only: bool,
}

/// What is told, to whomever.
pub(crate) struct Plan {
    pub(crate) name: String,
    /// From the root.
    pub(crate) image: PathBuf,
    pub(crate) format: Format,
    pub(crate) reference: Reference,
    pub(crate) arguments: Vec<String>,
    pub(crate) memory_mib: u64,
    pub(crate) ports: Vec<Port>,
    pub(crate) has_network: bool,
    pub(crate) tap: String,
    pub(crate) disks: Vec<Disk>,
}

impl Plan {
    /// For the package's own wishes.
    pub(crate) fn of_package(
        (image, format): (&Path, Format),
        reference: Reference,
        arguments: &[String],
        package: &PackageSettings,
    ) -> Result<Plan> {
        let settings = Settings::merge(package, Options::default(), false).map_err(anyhow::Error::msg)?;
        Plan::new((image, format), reference, arguments.to_vec(), settings)
    }

    fn new(
        (image, format): (&Path, Format),
        reference: Reference,
        arguments: Vec<String>,
        settings: Settings,
    ) -> Result<Plan> {
        let image = std::path::absolute(image).context("there is no current folder")?;
        Ok(Plan {
            name: Reference::of_file(&image).to_string().split(':').next().unwrap_or_default().to_owned(),
            image,
            format,
            reference,
            arguments,
            memory_mib: settings.memory.bytes().div_ceil(1 << 20),
            ports: settings.ports,
            has_network: !settings.nets.is_empty(),
            tap: "tap0".into(),
            disks: Vec::new(),
        })
    }

    /// An address of the kind that everybody may give out (02:…), the same each time for the same name.
    fn mac(&self) -> String {
        let hash = sha256(self.name.as_bytes());
        let bytes: Vec<&str> = (0..5).map(|index| &hash[2 * index..2 * index + 2]).collect();
        format!("02:{}", bytes.join(":"))
    }
}

impl Export {
    /// Writes or prints it.
    pub fn exec(self) -> Result<u8> {
        let plan = self.plan()?;
        let text = self.text(&plan)?;
        if let Some(output) = &self.output {
            let draft = Draft::of(output)?;
            std::fs::write(draft.path(), &text).with_context(|| format!("cannot write {}", output.display()))?;
            draft.finish()?;
        }
        let ports: Vec<_> = plan.ports.iter().map(ToString::to_string).collect();
        match (self.json, &self.output) {
            (true, _) => print(
                &json!({
                    "name": plan.name, "image": plan.image, "format": plan.format, "boot_arguments": plan.arguments,
                    "memory_mib": plan.memory_mib, "ports": ports, "network": plan.has_network, "text": text,
                })
                .to_string(),
            )?,
            (false, None) => print(text.trim_end())?,
            (false, Some(_)) => {}
        }
        Ok(0)
    }

    fn plan(&self) -> Result<Plan> {
        let opened = Opened::open(&self.image)?;
        let options = Options {
            ports: self.ports.clone(),
            memory: self.memory.clone(),
            nets: self.net.iter().cloned().collect(),
            drives: self.drives.clone(),
            ..Options::default()
        };
        // The file may be called as anything.
        let record = Record::find(&self.image).ok().flatten();
        let package = record.map_or_else(|| self.image.clone(), |record| record.package.into());
        let package = package::origin_of(&package)?.settings;
        let settings = Settings::merge(&package, options, false).map_err(anyhow::Error::msg)?;
        let disks = settings.drives.iter().enumerate().map(disk).collect::<Result<_>>()?;
        let reference = opened.reference.clone().unwrap_or_else(|| Reference::of_file(&self.image));
        let mut plan = Plan::new((&self.image, opened.format), reference, opened.arguments, settings)?;
        plan.disks = disks;
        plan.tap.clone_from(&self.tap);
        if let Some(name) = &self.name {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let is_name = !name.is_empty() && name.len() <= 63 && name.chars().all(plain);
            ensure!(
                is_name && !name.starts_with('-'),
                "`{name}` is no name; take up to 63 small letters, digits and `-`"
            );
            plan.name.clone_from(name);
        }
        Ok(plan)
    }

    fn text(&self, plan: &Plan) -> Result<String> {
        let for_cluster = matches!(self.target, Target::Kubevirt | Target::KubevirtKernel | Target::Urunc);
        ensure!(
            !for_cluster || plan.format == Format::Oci,
            "a cluster takes images from a registry; make one with `cargo unikernel image create --format oci`"
        );
        ensure!(
            !for_cluster || plan.disks.is_empty(),
            "disks of a cluster are its own; leave away `--disk` and `--volume`, and add them to the manifest"
        );
        match self.target {
            Target::Libvirt => libvirt::domain(plan),
            Target::Firecracker => firecracker::config(plan),
            Target::CloudHypervisor => cloud_hypervisor::command(plan),
            Target::Kubevirt => Ok(kubernetes::kubevirt(plan, kubernetes::Start::Disk)),
            Target::KubevirtKernel => Ok(kubernetes::kubevirt(plan, kubernetes::Start::Kernel)),
            Target::Urunc => Ok(kubernetes::urunc(plan)),
        }
    }
}

fn disk((number, drive): (usize, &Drive)) -> Result<Disk> {
    let (path, name, is_read_only) = match drive {
        Drive::Disk(disk) => (&disk.path, disk.serial.as_ref().map(ToString::to_string), disk.is_read_only),
        Drive::Volume(volume) => (&volume.path, Some(volume.name.to_string()), false),
        Drive::Scratch(..) => unreachable!("only tests have them"),
    };
    ensure!(
        !path.is_dir(),
        "{} is a folder; make an image of it with `cargo unikernel image fs create` and name that",
        path.display()
    );
    let path = std::path::absolute(path).context("there is no current folder")?;
    Ok(Disk { name: name.unwrap_or_else(|| format!("disk{number}")), path, is_read_only })
}
