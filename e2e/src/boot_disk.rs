//! Disks that a machine starts from, and machines with UEFI or a BIOS that start from them.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::{
    image,
    vm::{Vm, free_port},
};

/// What a machine starts its disk with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, which QEMU brings along.
    Bios,
    /// OVMF.
    Uefi,
}

/// Where distributions have OVMF: its code, and what it keeps.
const OVMF: [(&str, &str); 3] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

/// `cargo unikernel image create` of a package's release image, with further words.
pub fn create(package: &str, output: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(image::tool());
    command.args(["image", "create", "--image"]).arg(image::image(package)).arg("-o").arg(output).args(words);
    // What was made is noted there, and not among the images of who runs the tests.
    command.env("XDG_STATE_HOME", output.with_file_name("state"));
    command.output().expect("the tool starts")
}

/// The same, which must succeed.
pub fn created(package: &str, output: &Path, words: &[&str]) {
    let made = create(package, output, words);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Starts a machine from the disk. `machine` may have further words for QEMU behind its type.
pub fn start(disk: &Path, format: &str, firmware: Firmware, machine: &str) -> Vm {
    start_with(disk, format, firmware, machine, ["virtio-net-pci", "virtio-blk-pci"])
}

/// Starts one whose network port and disk are such as the app has no drivers for, as Amazon's are.
pub fn start_among_strangers(disk: &Path, firmware: Firmware, machine: &str) -> Vm {
    start_with(disk, "raw", firmware, machine, ["e1000e", "nvme,serial=boot"])
}

fn start_with(disk: &Path, format: &str, firmware: Firmware, machine: &str, [net, block]: [&str; 2]) -> Vm {
    let port = free_port();
    // It ends with this process, however this ends.
    let mut command = Command::new(image::tool());
    command.arg("babysit").arg(std::process::id().to_string()).args(["--", "qemu-system-x86_64", "-M"]);
    command.args(machine.split_whitespace()).args(["-accel", "tcg", "-cpu", "max"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device"]);
    command.arg(format!("{net},netdev=net,romfile="));
    command.arg("-netdev").arg(format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:8080"));
    command.arg("-drive").arg(format!("if=none,id=boot,format={format},file={}", disk.display()));
    command.arg("-device").arg(format!("{block},drive=boot,bootindex=0"));
    if firmware == Firmware::Uefi {
        let ovmf = OVMF.iter().find(|(code, _)| Path::new(code).exists());
        let (code, variables) = ovmf.expect("OVMF is missing; script/test installs it");
        command.arg("-drive").arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"));
        command.arg("-drive").arg(format!("if=pflash,unit=1,format=raw,snapshot=on,file={variables}"));
    }
    if !machine.contains("reboot=") {
        command.arg("-no-reboot");
    }
    Vm::start_command(&mut command, port)
}
