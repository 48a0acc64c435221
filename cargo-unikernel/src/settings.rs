//! What a VM is made of: the defaults, the package's wishes, then the command line's.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::Deserialize;

use crate::{
    accel::Accel,
    drives::{self, Drive, DriveOptions},
    environment::{EnvOptions, Environment},
    module::ModuleFile,
    net::{Kind, Net},
    port::Port,
};

/// `[package.metadata.unikernel]` of the app's Cargo.toml.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PackageSettings {
    /// Forwarded ports, as for `--port`.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Such as `"64M"`.
    pub memory: Option<String>,
    /// `"q35"`, `"pc"` or `"microvm"`.
    pub machine: Option<String>,
    /// `false`: the VM has no network device.
    pub net: Option<bool>,
    /// As for `--disk`.
    #[serde(default)]
    pub disks: Vec<String>,
    /// As for `--volume`.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Where relative paths start: the package's folder.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Options of the VM that `runner` takes; everything unset falls back to the package, then to the defaults.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Virtual machine")]
pub struct Options {
    /// Forwards a port of this machine to the VM: `8080:80`, on 127.0.0.1; `0.0.0.0:8080:80`, on all addresses; `0:80`, a free
    /// port, which is then printed; `5353:53/udp`, for datagrams. Repeat for several. Replaces the package's ports.
    #[arg(short, long = "port", value_name = "[ADDRESS:]HOST:GUEST[/udp]")]
    pub ports: Vec<Port>,
    /// Memory of the VM, such as `64M` or `1G`.
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Machine type: q35, pc or microvm, with QEMU's options after a comma (`microvm,acpi=off`).
    #[arg(long, value_name = "TYPE")]
    pub machine: Option<Machine>,
    /// `kvm` or `tcg`; chosen by itself if not given.
    #[arg(long, env = "UNIKERNEL_ACCEL", hide_env_values = true, value_name = "KIND")]
    pub accel: Option<Accel>,
    /// What the network port leads to; repeat for several: `user` (the default), QEMU's own network behind this computer;
    /// `private[=NAME]`, to other machines of yours; `tap[=NAME]`, to this computer; `bridge[=NAME]`; `netns[=NAME]`, in a
    /// network namespace; `none`. `,mac=ADDRESS` sets its Ethernet address.
    #[arg(long = "net", value_name = "KIND")]
    pub nets: Vec<Net>,
    /// Puts a file into the memory of the VM, where the app finds it under its name (`unikernel_rt::Modules`); repeat
    /// for several.
    #[arg(long = "module", value_name = "[NAME=]FILE")]
    pub modules: Vec<ModuleFile>,
    /// The app's environment.
    #[command(flatten)]
    pub env: EnvOptions,
    /// Disks and volumes.
    #[command(flatten)]
    pub drives: DriveOptions,
    /// Records every Ethernet frame into a pcap file.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Writes a core into this folder when the app crashes.
    #[arg(long, value_name = "FOLDER")]
    pub dump_on_crash: Option<PathBuf>,
    /// Stops the VM after this time and exits with code 124.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, overrides_with = "timeout")]
    pub timeout: Option<Duration>,
}

impl Options {
    /// The words that give these options again.
    pub fn words(&self) -> Vec<String> {
        let option = |name: &str, value: Option<String>| value.map(|value| format!("--{name}={value}"));
        let single = [
            option("memory", self.memory.as_ref().map(Memory::to_string)),
            option("machine", self.machine.as_ref().map(Machine::to_string)),
            option("accel", self.accel.map(|accel| accel.to_string())),
            option("pcap", self.pcap.as_ref().map(|file| file.display().to_string())),
            option("dump-on-crash", self.dump_on_crash.as_ref().map(|folder| folder.display().to_string())),
            option("timeout", self.timeout.map(|timeout| timeout.as_secs_f64().to_string())),
        ];
        let ports = self.ports.iter().map(|port| format!("--port={port}"));
        let modules = self.modules.iter().map(|module| format!("--module={module}"));
        let nets = self.nets.iter().map(|net| format!("--net={net}"));
        let several = nets.chain(ports).chain(modules).chain(self.env.words()).chain(self.drives.words());
        single.into_iter().flatten().chain(several).collect()
    }
}

/// A complete description of a VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Forwarded ports.
    pub ports: Vec<Port>,
    /// Memory.
    pub memory: Memory,
    /// Machine type.
    pub machine: Machine,
    /// Network ports, in their order.
    pub nets: Vec<Net>,
    /// Files in its memory.
    pub modules: Vec<ModuleFile>,
    /// What the app is told.
    pub environment: Environment,
    /// Its disks, in the order of the bus.
    pub drives: Vec<Drive>,
    /// Where frames are recorded.
    pub pcap: Option<PathBuf>,
    /// When it is stopped.
    pub timeout: Option<Duration>,
}

/// Enough for every example; an image says how much it needs if it is too little.
const MEMORY: &str = "64M";

impl Settings {
    /// Merges the two sources. A test gets no ports of the package, and none of what is on its disks, so that it can run
    /// beside the app.
    pub fn merge(package: &PackageSettings, options: Options, is_test: bool) -> Result<Settings, String> {
        let parse_ports = || package.ports.iter().map(|port| port.parse()).collect::<Result<Vec<Port>, _>>();
        let package_ports = if is_test { Vec::new() } else { parse_ports()? };
        let of_package = drives::of_package(&package.disks, &package.volumes, &package.folder)?;
        let of_package = if is_test { drives::for_test(of_package) } else { of_package };
        let memory = package.memory.as_deref().unwrap_or(MEMORY).parse()?;
        let machine = package.machine.as_deref().unwrap_or("q35").parse()?;
        let net = Net::of(if package.net == Some(false) { Kind::None } else { Kind::User });
        let has_ports = !options.ports.is_empty();
        let settings = Settings {
            ports: if options.ports.is_empty() { package_ports } else { options.ports },
            memory: options.memory.unwrap_or(memory),
            machine: options.machine.unwrap_or(machine),
            nets: nets(if options.nets.is_empty() { vec![net] } else { options.nets })?,
            modules: options.modules,
            environment: Environment::of(&options.env)?,
            drives: drives::merge(of_package, options.drives)?,
            pcap: options.pcap,
            timeout: options.timeout,
        };
        if has_ports && settings.nets.is_empty() {
            return Err("`--port` is of no use to a VM without a network; leave it away, or say `--net user`".into());
        }
        Ok(if has_ports { settings } else { settings.without_unreachable_ports() })
    }

    /// The package does not know which network it will be on; ports that somebody asked for are looked at with that.
    fn without_unreachable_ports(mut self) -> Settings {
        if !self.nets.iter().any(|net| net.kind == Kind::User) {
            self.ports.clear();
        }
        self
    }
}

/// A size as QEMU writes it: a number of MiB, or one with `K`, `M` or `G`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory(String);

impl Memory {
    /// In bytes.
    pub fn bytes(&self) -> u64 {
        let (number, unit) = self.0.split_at(self.0.len() - 1);
        let shift = match unit {
            "K" => 10,
            "M" => 20,
            _ => 30,
        };
        // Nobody has more; checked when it was read.
        number.parse::<u64>().unwrap_or(0).saturating_mul(1 << shift)
    }
}

impl FromStr for Memory {
    type Err = String;
    fn from_str(text: &str) -> Result<Memory, String> {
        let digits = text.strip_suffix(['K', 'M', 'G', 'k', 'm', 'g']).unwrap_or(text);
        match digits.parse::<u64>() {
            Ok(1..) if digits == text => Ok(Memory(format!("{text}M"))),
            Ok(1..) => Ok(Memory(text.to_uppercase())),
            _ => Err(format!("`{text}` is no memory size; write a number with K, M or G, such as `64M`")),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// QEMU's machine type with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine(String);

impl Machine {
    /// It was told to have no ACPI.
    pub fn is_without_acpi(&self) -> bool {
        self.0.split(',').any(|option| option == "acpi=off")
    }

    /// It has no PCI: its devices are virtio-mmio.
    pub fn is_microvm(&self) -> bool {
        self.0.starts_with("microvm")
    }
}

impl FromStr for Machine {
    type Err = String;
    fn from_str(text: &str) -> Result<Machine, String> {
        match text.split(',').next() {
            // With ACPI on, the guest finds its devices in the tables; off, on the command line.
            Some("microvm") if text == "microvm" => Ok(Machine("microvm,acpi=on".into())),
            Some("q35" | "pc" | "microvm") => Ok(Machine(text.into())),
            _ => Err(format!("`{text}` is no machine type of ours; choose `q35`, `pc` or `microvm`")),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `none` is no port, and goes with no other.
fn nets(nets: Vec<Net>) -> Result<Vec<Net>, String> {
    match nets.iter().any(|net| net.kind == Kind::None) {
        false => Ok(nets),
        true if nets.len() == 1 => Ok(Vec::new()),
        true => Err("`--net none` is no network at all; leave it away, or the others".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    number
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("`{text}` is no time; write a number of seconds, such as `30`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(text.parse::<Memory>().ok().map(|memory| memory.to_string()).as_deref(), expected, "{text}");
        };
        check("64", Some("64M"));
        check("64M", Some("64M"));
        check("3072k", Some("3072K"));
        check("1G", Some("1G"));
        check("0", None);
        check("M", None);
        check("64MB", None);
        check("-1", None);
        let bytes = |text: &str, expected: u64| assert_eq!(text.parse::<Memory>().unwrap().bytes(), expected, "{text}");
        bytes("64", 64 << 20);
        bytes("3072k", 3 << 20);
        bytes("1G", 1 << 30);
    }

    #[test]
    fn machines() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(text.parse::<Machine>().ok().map(|machine| machine.to_string()).as_deref(), expected, "{text}");
        };
        check("q35", Some("q35"));
        check("pc", Some("pc"));
        check("microvm", Some("microvm,acpi=on"));
        check("microvm,acpi=off", Some("microvm,acpi=off"));
        check("virt", None);
    }

    #[test]
    fn options_are_passed_on() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let words = [
            "--memory=1G",
            "--machine=microvm,acpi=on",
            "--accel=tcg",
            "--pcap=a b",
            "--dump-on-crash=cores",
            "--timeout=1.5",
            "--net=user",
            "--net=private=lan,mac=02:00:00:00:00:01",
            "--port=1:2",
            "--port=3:4",
            "--port=0.0.0.0:0:53/udp",
            "--module=key.pem=my key",
            "--env-file=my env",
            "--env=A=b=c",
            "--env=D",
            "--volume=state=s.img,size=1M",
            "--disk=a b.img,serial=site,ro",
        ];
        let line: Line = clap::Parser::parse_from(["line"].iter().chain(&words));
        assert_eq!(line.options.words(), words);
    }

    #[test]
    fn the_command_line_wins_over_the_package() {
        let package =
            PackageSettings { ports: vec!["8080:80".into()], memory: Some("5M".into()), ..Default::default() };
        let merge = |options, is_test| Settings::merge(&package, options, is_test).unwrap();
        let plain = merge(Options::default(), false);
        assert_eq!((plain.ports[0].host, plain.memory.to_string()), (8080, "5M".into()));
        let ports = vec!["9090:80".parse::<Port>().unwrap()];
        assert_eq!(merge(Options { ports: ports.clone(), ..Default::default() }, false).ports, ports);
        assert_eq!(merge(Options { nets: vec![Net::of(Kind::None)], ..Default::default() }, false).ports, []);
        let useless = Options { nets: vec![Net::of(Kind::None)], ports, ..Default::default() };
        assert!(Settings::merge(&package, useless, false).unwrap_err().starts_with("`--port` is of no use"));
        assert_eq!(merge(Options::default(), true).ports, []);
    }
}
