//! Firecracker's device model, made of QEMU's microvm: virtio-mmio devices on the command line, a serial port and a keyboard
//! controller, and nothing else: no ACPI, no PCI, no clock with a date, no port that takes an exit code.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use e2e::{
    client,
    image::image,
    qmp::Qmp,
    vm::{Vm, free_port},
};
use serde_json::json;

/// As Firecracker has them, but for the addresses: the last place is QEMU's first. The second is the network's.
const DEVICES: &str = "pci=off virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=0x200@0xfeb00c00:11";

/// Starts the image; `words` follow what the hypervisor says.
fn start(package: &str, words: &str, extra: &[&str]) -> Vm {
    let port = free_port();
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "64"]);
    qemu.args(["-M", "microvm,acpi=off,auto-kernel-cmdline=off,rtc=off", "-nodefaults", "-no-user-config"]);
    qemu.args(["-display", "none", "-serial", "stdio", "-device", "i8042"]);
    qemu.args(["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-rng-device"]);
    qemu.arg("-netdev").arg(format!("user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:8080"));
    qemu.args(["-device", "virtio-net-device,netdev=net0"]).arg("-kernel").arg(image(package));
    qemu.arg("-append").arg(format!("{DEVICES} {words}")).args(extra).stdin(Stdio::null());
    Vm::start_command(&mut qemu, port)
}

/// Nobody decodes the log here; what must be seen is text.
fn check_end(vm: Vm, parts: &[&str]) {
    let end = vm.ends();
    assert_eq!(end.code, 0, "the reset ends QEMU: {end:?}");
    parts.iter().for_each(|part| assert!(end.text.contains(part), "no `{part}`: {end:?}"));
}

#[test]
fn it_serves_and_a_crash_is_a_reset_by_the_keyboard_controller() {
    let vm = start("e2e-guest", "", &["-no-reboot"]).answers();
    assert_eq!(client::get(vm.port, "/number/7").body, b"7");
    let _ = client::try_get(vm.port, "/panic");
    check_end(vm, &["unikernel: panic at "]);
}

#[test]
fn an_end_with_a_code_is_a_reset_too() {
    let vm = start("e2e-guest", "", &["-no-reboot"]).answers();
    let _ = client::try_get(vm.port, "/exit");
    check_end(vm, &[]);
}

#[test]
fn it_starts_again_by_the_keyboard_controller() {
    let vm = start("e2e-guest", "on-crash=reboot", &[]).answers();
    let _ = client::try_get(vm.port, "/panic");
    vm.says("unikernel: the previous run crashed:\n");
    let vm = vm.answers();
    let crashes = client::get(vm.port, "/crashes");
    assert!(crashes.body.starts_with(b"1 panic: "), "{crashes:?}");
}

/// Firecracker's `SendCtrlAltDel`.
#[test]
fn ctrl_alt_del_stops_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("monitor");
    let vm =
        start("e2e-guest", "", &qmp(&socket, "-no-reboot").iter().map(String::as_str).collect::<Vec<_>>()).answers();
    let keys = ["ctrl", "alt", "delete"].map(|name| json!({ "type": "qcode", "data": name }));
    Qmp::connect(&socket).execute("send-key", json!({ "keys": keys }));
    check_end(vm, &["unikernel: stopping: Ctrl-Alt-Del was pressed"]);
}

fn qmp(socket: &Path, more: &str) -> Vec<String> {
    Qmp::arguments(socket).split(' ').chain([more]).map(str::to_owned).collect()
}

/// Without the words there are no devices, and the image says which it misses.
#[test]
fn a_device_that_is_not_named_is_not_there() {
    let port = free_port();
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "64", "-M", "microvm,acpi=off,auto-kernel-cmdline=off"]);
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
        "-device",
        "i8042",
    ]);
    qemu.args(["-device", "virtio-net-device"]).arg("-kernel").arg(image("e2e-guest")).stdin(Stdio::null());
    check_end(Vm::start_command(&mut qemu, port), &["this unikernel needs a network port"]);
}
