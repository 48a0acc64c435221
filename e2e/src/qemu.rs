//! A machine without the runner: for tests that start many, or that look at it from QEMU's side.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::vm::End;

/// Runs an image to its end and returns what its console said.
///
/// `extra` are further words for QEMU.
pub fn run(image: &Path, machine: &str, boot_arguments: &str, extra: &[&str]) -> String {
    end(image, machine, boot_arguments, extra).text
}

/// The same with the code that the guest named.
pub fn end(image: &Path, machine: &str, boot_arguments: &str, extra: &[&str]) -> End {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", machine, "-accel", "tcg", "-cpu", "max", "-m", "32", "-nodefaults", "-no-user-config"]);
    qemu.args(["-display", "none", "-no-reboot", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    qemu.arg("-kernel").arg(image).args(["-append", boot_arguments]).args(extra);
    let output = qemu.stdin(Stdio::null()).output().expect("QEMU starts; script/test installs it");
    let status = output.status.code().filter(|status| status & 1 == 1);
    let status = status.unwrap_or_else(|| panic!("the guest named no code: {output:?}"));
    End { code: status >> 1, text: String::from_utf8_lossy(&output.stdout).into_owned() }
}
