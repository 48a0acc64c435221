//! From a command line to what is made in the cloud: what cannot be had there is refused, not left out.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::disk::Disk;
use crate::{
    boot_disk::{Format, RawDisk, bare},
    build,
    environment::Environment,
    image,
    instance::{Create, Name, Restart, place::AwsOptions},
    package::{self, Origin},
    settings::Options,
};

/// EC2's limit of user data.
const USER_DATA_LEN_MAX: usize = 16 * 1024;
/// The smallest machine of the family that every account may have, with 512 MiB; it starts by UEFI and by a BIOS.
const INSTANCE_TYPE: &str = "t3.nano";
/// The boot argument by which an app reads the user data.
const READS_USER_DATA: &str = "metadata=aws";

/// What the cloud is to make.
pub struct Order {
    /// The name it gets; without one, that of the image with a number if need be.
    pub name: Option<Name>,
    /// What the file of the image is called.
    pub image: String,
    /// What it starts from.
    pub disk: Disk,
    /// The build id of its kernel.
    pub build: Option<String>,
    /// What it reads from the metadata service.
    pub environment: Environment,
    /// The kind of machine.
    pub instance_type: String,
    /// Where it is connected.
    pub aws: AwsOptions,
}

impl Order {
    /// Builds what has to be built, and checks all that can be checked from here.
    pub fn of(mut create: Create) -> Result<Order> {
        create.sort_out()?;
        check(&create)?;
        let environment = Environment::of(&create.options.env).map_err(anyhow::Error::msg)?;
        let path = match &create.image {
            Some(image) => image.clone(),
            None => built(&create)?,
        };
        let raw = RawDisk::of(&path, &arguments(&create, &path)?)?;
        check_environment(&environment, &raw.arguments)?;
        // It stays open when a copy of the image is removed, here.
        let disk = Disk::open(raw.path())?;
        Ok(Order {
            name: create.name.or(create.name_option),
            image: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            disk,
            build: raw.build,
            environment,
            instance_type: create.aws.instance_type.clone().unwrap_or_else(|| INSTANCE_TYPE.into()),
            aws: create.aws,
        })
    }

    /// The name without a number.
    pub fn plain_name(&self) -> Name {
        let stem = Path::new(&self.image).file_stem().unwrap_or_default().to_string_lossy();
        self.name.clone().unwrap_or_else(|| Name::like(&stem))
    }
}

/// Those in an ELF come first, as in QEMU; on a disk they take the place of what is there, as with `image arguments`.
fn arguments(create: &Create, path: &Path) -> Result<Vec<String>> {
    let mut arguments = create.boot_arguments.clone();
    if !arguments.is_empty() && Format::of(path)? == Format::Elf {
        arguments.splice(0..0, bare::arguments(&image::read(path)?)?);
    }
    Ok(arguments)
}

fn built(create: &Create) -> Result<PathBuf> {
    // The same source becomes the same image, which is uploaded once.
    let path = build::reproducible(&create.selection)?.image;
    let Origin { settings, .. } = package::origin_of(&path)?;
    ensure!(
        settings.disks.is_empty() && settings.volumes.is_empty(),
        "the package asks for disks in its Cargo.toml, and Amazon's are NVMe, which there is no driver for; run it elsewhere, or take \
         them away from `[package.metadata.unikernel]`"
    );
    if let (Some(memory), None) = (&settings.memory, &create.aws.instance_type) {
        eprintln!(
            "unikernel: the package asks for {memory} of memory; a {INSTANCE_TYPE} has 512M, and `--instance-type` chooses another"
        );
    }
    Ok(path)
}

/// What somebody has asked for, and why it cannot be had.
fn check(create: &Create) -> Result<()> {
    let Create { options, restart, bios, elf, .. } = create;
    // The variable is for machines of this computer.
    let accel = options.accel.is_some() && std::env::var_os("UNIKERNEL_ACCEL").is_none();
    let own_machine = "the machine is Amazon's; leave it away";
    let Options { ports, memory, machine, nets, modules, drives, pcap, dump_on_crash, timeout, .. } = options;
    let refused = [
        (!ports.is_empty(), "--port", "no port of this computer leads to it; open the app's own in its security group"),
        (memory.is_some(), "--memory", "the kind of machine says it; choose one with `--instance-type`"),
        (machine.is_some(), "--machine", "choose the kind of machine with `--instance-type`"),
        (accel, "--accel", own_machine),
        (!nets.is_empty(), "--net", "choose its network with `--subnet` and `--security-group`"),
        (!modules.is_empty(), "--module", "a disk gets no boot modules; embed the file in the app"),
        (!drives.0.is_empty(), "--disk and --volume", "Amazon's disks are NVMe, which there is no driver for yet"),
        (pcap.is_some(), "--pcap", "frames are not seen from here; leave it away"),
        (dump_on_crash.is_some(), "--dump-on-crash", "its memory is not seen from here; leave it away"),
        (timeout.is_some(), "--timeout", "nobody here watches over it; stop it with `instance stop`"),
        (*restart != Restart::Never, "--restart", "nobody here watches over it; give the app `-- on-crash=reboot`"),
        (elf.is_some(), "--elf", "its log is decoded with the build under cargo's target folder; leave it away"),
        (bios.is_some(), "--bios", "the kind of machine decides, and the disk starts by both; leave it away"),
    ];
    match refused.iter().find(|(is_said, ..)| *is_said) {
        Some((_, option, why)) => bail!("with `--provider aws`, `{option}` cannot be had: {why}"),
        None => Ok(()),
    }
}

fn check_environment(environment: &Environment, arguments: &[String]) -> Result<()> {
    let len = environment.text().len();
    ensure!(
        len <= USER_DATA_LEN_MAX,
        "the environment has {len} bytes, and the user data of a machine {USER_DATA_LEN_MAX} at most; leave something away"
    );
    ensure!(
        environment.is_empty() || arguments.iter().any(|word| word == READS_USER_DATA),
        "the environment would be in the user data, which the app reads with the boot argument `{READS_USER_DATA}` and \
         `unikernel_http::Metadata` among the arguments of its `main`; add `-- {READS_USER_DATA}`"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::EnvOptions;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn refusal(words: &str) -> String {
        let line: Line = clap::Parser::parse_from(["line"].into_iter().chain(words.split_whitespace()));
        Order::of(line.create).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn what_the_cloud_cannot_heed_is_refused() {
        let check = |words: &str, option: &str| {
            let refusal = refusal(&format!("--image app {words}"));
            assert!(refusal.starts_with(&format!("with `--provider aws`, `{option}` cannot be had: ")), "{refusal}");
        };
        check("-p 80:80", "--port");
        check("--port 80:80", "--port");
        check("--memory 1G", "--memory");
        check("--machine q35", "--machine");
        check("--net private", "--net");
        check("--module a", "--module");
        check("--disk a", "--disk and --volume");
        check("--volume a=b", "--disk and --volume");
        check("--pcap a", "--pcap");
        check("--dump-on-crash a", "--dump-on-crash");
        check("--timeout 9", "--timeout");
        check("--restart always", "--restart");
        check("--bios ovmf", "--bios");
        check("--elf a", "--elf");
    }

    #[test]
    fn an_environment_must_be_read_and_fit() {
        let environment = |value: &str| {
            let variables = vec![format!("A={value}").parse().unwrap()];
            Environment::of(&EnvOptions { variables, env_files: Vec::new() }).unwrap()
        };
        let check = |environment: &Environment, arguments: &[&str], expected: &str| {
            let arguments: Vec<String> = arguments.iter().map(|word| (*word).into()).collect();
            let error = check_environment(environment, &arguments).err().map(|error| error.to_string());
            assert!(error.clone().unwrap_or_default().contains(expected) && error.is_some() != expected.is_empty());
        };
        check(&environment("1"), &["log=json", "metadata=aws"], "");
        check(&Environment::default(), &[], "");
        check(&environment("1"), &["metadata=mmds"], "add `-- metadata=aws`");
        check(&environment(&"x".repeat(16_374)), &["metadata=aws"], "");
        check(&environment(&"x".repeat(16_376)), &["metadata=aws"], "and the user data of a machine 16384 at most");
    }
}
