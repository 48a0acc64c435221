//! The QEMU command line of a VM.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{
    accel::Accel,
    disk,
    drives::{Access, Attached},
    firmware::BootDisk,
    net::Attachment,
    settings::Settings,
};

/// Everything the command line is made from.
pub struct Vm<'a> {
    /// What the VM is made of.
    pub settings: &'a Settings,
    /// How its instructions are run.
    pub accel: Accel,
    /// The ELF file; not used with a boot disk.
    pub image: &'a Path,
    /// Its network ports, in the order of the bus.
    pub networks: &'a [Attachment],
    /// What it starts from instead.
    pub boot_disk: Option<&'a BootDisk>,
    /// The archive of its boot modules.
    pub modules: Option<&'a Path>,
    /// The text of the app's environment.
    pub environment: Option<&'a Path>,
    /// Its disks, in the order of the bus.
    pub disks: &'a [Attached],
    /// Boot arguments, `key=value` words.
    pub boot_arguments: &'a [String],
    /// Words of `UNIKERNEL_QEMU_ARGS`; they come last, so they win.
    pub extra: &'a [String],
}

impl Vm<'_> {
    /// The words after the program name.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut line = Line(Vec::new());
        self.add_machine(&mut line);
        self.networks.iter().enumerate().for_each(|(number, port)| self.add_network(&mut line, number, port));
        self.add_capture(&mut line);
        self.boot_disk.iter().for_each(|disk| self.add_boot_disk(&mut line, disk));
        self.disks.iter().enumerate().for_each(|(number, disk)| self.add_disk(&mut line, number, disk));
        if self.boot_disk.is_none() {
            line.words("-kernel").path(self.image.to_owned());
        }
        if let Some(modules) = self.modules {
            line.words("-initrd").path(modules.to_owned());
        }
        if let Some(environment) = self.environment {
            let file = disk::for_qemu(environment);
            line.words("-fw_cfg").0.push(format!("name={FW_CFG_FILE},file={file}").into());
        }
        if !self.boot_arguments.is_empty() {
            line.words("-append").0.push(self.boot_arguments.join(" ").into());
        }
        line.0.extend(self.extra.iter().map(OsString::from));
        line.0
    }

    fn add_machine(&self, line: &mut Line) {
        let accel = self.accel;
        let cpu = if accel == Accel::Kvm { "host" } else { "max" };
        line.words(&format!("-M {} -accel {accel} -cpu {cpu}", self.settings.machine));
        line.words(&format!("-m {} -smp 1", self.settings.memory));
        // Only the devices named below, and a reset is the end, unless the app shall start again.
        let reboots = self
            .boot_arguments
            .iter()
            .rfind(|word| word.starts_with("on-crash="))
            .is_some_and(|word| word.ends_with("=reboot"));
        let reset = if reboots { "" } else { "-no-reboot " };
        line.words(&format!("-nodefaults -no-user-config -display none {reset}-serial stdio"));
        line.words("-device isa-debug-exit,iobase=0xf4,iosize=4");
        if self.settings.machine.is_microvm() {
            // Else QEMU offers virtio-mmio devices in the legacy layout.
            line.words("-global virtio-mmio.force-legacy=false");
        }
        line.words(&format!("-device {}", self.virtio("virtio-rng")));
    }

    fn add_network(&self, line: &mut Line, number: usize, port: &Attachment) {
        let (kind, options) =
            port.netdev.split_once(',').map_or((&*port.netdev, ""), |(kind, options)| (kind, options));
        let comma = if options.is_empty() { "" } else { "," };
        line.words(&format!("-netdev {kind},id=net{number}{comma}{options}"));
        // Without romfile= the firmware would load and run a network boot ROM first.
        let rom = if self.settings.machine.is_microvm() { "" } else { ",romfile=" };
        let mac = port.mac.map(|mac| format!(",mac={mac}")).unwrap_or_default();
        line.words(&format!("-device {},netdev=net{number}{rom}{mac}", self.virtio("virtio-net")));
    }

    /// Of the first port.
    fn add_capture(&self, line: &mut Line) {
        if let Some(file) = self.settings.pcap.as_ref().filter(|_| !self.networks.is_empty()) {
            // QEMU takes a doubled comma for a comma in a value.
            let file = file.display().to_string().replace(',', ",,");
            line.words("-object").0.push(format!("filter-dump,id=pcap,netdev=net0,file={file}").into());
        }
    }

    /// The app sees it before its other disks.
    fn add_boot_disk(&self, line: &mut Line, disk: &BootDisk) {
        line.0.extend(disk.firmware.iter().map(OsString::from));
        let (file, format) = (disk::for_qemu(&disk.file), disk.format.name());
        line.words("-drive").0.push(format!("if=none,id=boot,format={format},file={file},{DRIVE}").into());
        line.words(&format!("-device {},drive=boot,bootindex=0", self.virtio("virtio-blk")));
    }

    fn add_disk(&self, line: &mut Line, number: usize, disk: &Attached) {
        let access = match disk.access {
            Access::Write => "",
            Access::Read => ",readonly=on",
            Access::Scratch => ",snapshot=on",
        };
        let file = disk::for_qemu(&disk.file);
        let drive = format!("if=none,id=disk{number},format=raw,file={file},{DRIVE}{access}");
        line.words("-drive").0.push(drive.into());
        let serial = disk.serial.as_ref().map(|serial| format!(",serial={serial}")).unwrap_or_default();
        line.words(&format!("-device {},drive=disk{number}{serial}", self.virtio("virtio-blk")));
    }

    fn virtio(&self, device: &str) -> String {
        format!("{device}-{}", if self.settings.machine.is_microvm() { "device" } else { "pci" })
    }
}

/// A flush of the guest is one of the file; between two of them the workstation's cache works. Errors are the app's to
/// hear of: by default QEMU stops the VM when the workstation's disk is full.
const DRIVE: &str = "cache=writeback,aio=threads,discard=unmap,werror=report,rerror=report";

/// Where an image looks, see `unikernel_rt::config`.
const FW_CFG_FILE: &str = "opt/unikernel/config";

struct Line(Vec<OsString>);

impl Line {
    fn words(&mut self, words: &str) -> &mut Line {
        self.0.extend(words.split(' ').map(OsString::from));
        self
    }

    fn path(&mut self, path: PathBuf) {
        self.0.push(path.into());
    }
}

/// The command as one line that a shell reads back into the same words.
pub fn shell_line(program: &str, arguments: &[OsString]) -> String {
    let mut line = program.to_owned();
    for word in arguments {
        line.push(' ');
        line.push_str(&quote(&word.to_string_lossy()));
    }
    line
}

/// A word for a shell. `shlex` also quotes commas and `=`, which QEMU's options are full of and no shell minds.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    // Only a NUL cannot be quoted, and no argument of a process holds one.
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |quoted| quoted.into_owned())
}
