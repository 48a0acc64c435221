//! One running virtual machine and the counter of its instructions.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::layout;
use crate::namespace::TAP;
use crate::{Result, error};

/// The machines QEMU can be asked for, by what their device discovery costs a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Machine {
    /// PCI Express, with a PC's firmware.
    Q35,
    /// PCI, with a PC's firmware.
    Pc,
    /// virtio-mmio announced by ACPI.
    Microvm,
    /// virtio-mmio announced on the command line.
    MicrovmNoAcpi,
}

impl Machine {
    /// The machine, its network device and its disk.
    fn arguments(self) -> [&'static str; 3] {
        const PCI: [&str; 2] = ["virtio-net-pci,netdev=n0,romfile=", "virtio-blk-pci,drive=d0"];
        const MMIO: [&str; 2] = ["virtio-net-device,netdev=n0", "virtio-blk-device,drive=d0"];
        let (machine, [nic, disk]) = match self {
            Machine::Q35 => ("q35", PCI),
            Machine::Pc => ("pc", PCI),
            Machine::Microvm => ("microvm", MMIO),
            Machine::MicrovmNoAcpi => ("microvm,acpi=off", MMIO),
        };
        [machine, nic, disk]
    }
}

/// What to boot, and in what machine.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The kernel: an ELF that boots by PVH, or a Linux image.
    pub kernel: PathBuf,
    /// Linux' initial file system.
    pub initrd: Option<PathBuf>,
    /// The image of its disk, if it has one.
    pub disk: Option<PathBuf>,
    /// The kernel's command line.
    pub arguments: String,
    /// The machine it runs in.
    pub machine: Machine,
    /// Its memory in MiB.
    pub memory_mib: u32,
    /// The port it serves.
    pub port: u16,
}

/// How much the plugin should count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Instructions only.
    Totals,
    /// Each block of code by itself too, at some cost in speed.
    Profile,
}

/// What a guest has executed up to now.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Guest instructions.
    pub instructions: u64,
    /// Time the QEMU process spent on the host's CPUs.
    pub host_cpu: Duration,
}

/// A QEMU process; dropping it kills it.
pub struct Vm {
    child: Child,
    counter: File,
    console: PathBuf,
    /// When QEMU was started.
    pub started: Instant,
}

impl Vm {
    /// Starts QEMU with the plugin. Its counter and console are files in `folder`.
    pub fn start(folder: &Path, plugin: &Path, guest: &Guest, counting: Counting) -> Result<Vm> {
        let (count, console) = (folder.join("counter"), folder.join("console"));
        // The counter of an earlier guest must not be taken for this one's.
        let counter = File::options().read(true).write(true).create(true).truncate(true).open(&count)?;
        fs::write(&console, "")?;
        let mut command = command(guest);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.arg("-plugin").arg(plugin_argument(plugin, &count, counting));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let errors = File::create(folder.join("qemu-errors"))?;
        let started = Instant::now();
        let child = command
            .stderr(errors)
            .spawn()
            .map_err(|cause| error(format!("cannot start qemu-system-x86_64 (package qemu-system-x86): {cause}")))?;
        Ok(Vm { child, counter, console, started })
    }

    /// What the guest has executed up to now.
    pub fn counts(&self) -> Counts {
        Counts { instructions: self.word(layout::ALL), host_cpu: self.host_cpu() }
    }

    /// The plugin's whole file, for a profile.
    pub fn counter_file(&self) -> Result<Vec<u64>> {
        let mut bytes = vec![0; layout::PROFILE_WORDS * 8];
        self.counter.read_exact_at(&mut bytes, 0)?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_ne_bytes(*word)).collect())
    }

    /// Everything the guest wrote to its console.
    pub fn console(&self) -> Vec<u8> {
        fs::read(&self.console).unwrap_or_default()
    }

    /// How QEMU ended, or `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error that tells how QEMU ended and what it last said.
    pub fn obituary(&self, status: ExitStatus) -> crate::Error {
        let said = self.console.with_file_name("qemu-errors");
        let said = fs::read_to_string(said).unwrap_or_default();
        error(format!("QEMU ended ({status})\n{said}{}", self.last_words()))
    }

    /// The end of what the guest wrote to its console.
    pub fn last_words(&self) -> String {
        let console = self.console();
        String::from_utf8_lossy(&console[console.len().saturating_sub(2000)..]).into_owned()
    }

    fn word(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        // The file is empty until QEMU has loaded the plugin: nothing was executed then.
        let read = self.counter.read_exact_at(&mut bytes, index as u64 * 8);
        read.map_or(0, |()| u64::from_ne_bytes(bytes))
    }

    /// User and system time from `/proc`, which counts in ticks of 10 ms.
    fn host_cpu(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(path).unwrap_or_default();
        // The second field is the name in parentheses, which may hold spaces; 14 and 15 count.
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(guest: &Guest) -> Command {
    let [machine, nic, disk] = guest.machine.arguments();
    let mut command = Command::new("qemu-system-x86_64");
    // Under emulation `rep movsb` takes one step for each byte and is counted so; without ERMS all
    // guests copy eight bytes a step.
    command.args(["-accel", "tcg", "-cpu", "max,-erms", "-smp", "1", "-M", machine]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    command.args(["-m", &guest.memory_mib.to_string(), "-append", &guest.arguments, "-device", nic]);
    // With the header all guests are offered checksums and segmentation in both directions, and QEMU says so if it
    // cannot.
    command.args(["-netdev", &format!("tap,id=n0,ifname={TAP},script=no,downscript=no,vnet_hdr=on")]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    if let Some(image) = &guest.disk {
        // Flushes of the guest reach the host's disk.
        let drive = format!("if=none,id=d0,format=raw,cache=writeback,aio=threads,file={}", image.display());
        command.args(["-drive", &drive, "-device", disk]);
    }
    command.arg("-kernel").arg(&guest.kernel);
    if let Some(initrd) = &guest.initrd {
        command.arg("-initrd").arg(initrd);
    }
    command
}

fn plugin_argument(plugin: &Path, count: &Path, counting: Counting) -> String {
    let profile = match counting {
        Counting::Totals => "",
        Counting::Profile => ",profile=on",
    };
    format!("{},out={}{profile}", plugin.display(), count.display())
}
