//! Images of other kinds than disks, started: what is in an OCI image as registries' tools unpack it, and kernels with their boot
//! arguments.

use e2e::{
    boot_disk::{self, Firmware::Bios, created},
    client::get,
    image::tool,
    vm::{Vm, free_port},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

fn made(words: &[&str], name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join(name);
    created("static-site", &image, words);
    (folder, image)
}

fn run(program: &str, words: &[&str], folder: &Path) {
    let output = Command::new(program).args(words).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; script/setup installs it"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Other boot arguments, without a build.
fn change(image: &Path, arguments: &[&str]) {
    let mut command = Command::new(tool());
    command.args(["image", "arguments"]).arg(image).arg("--").args(arguments);
    let output = command.env("XDG_STATE_HOME", image.with_file_name("state")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn serves(vm: Vm) {
    let vm = vm.answers();
    assert!(get(vm.port, "/").body.starts_with(b"<!doctype html>"));
}

/// The files of the image as a container runtime sees them.
fn unpacked(folder: &Path) -> PathBuf {
    run("skopeo", &["--insecure-policy", "copy", "-q", "oci-archive:web.tar", "oci:layout:latest"], folder);
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let rootless: &[&str] = if is_root { &[] } else { &["--rootless"] };
    run("umoci", &[&["unpack"], rootless, &["--image", "layout:latest", "bundle"]].concat(), folder);
    folder.join("bundle/rootfs")
}

#[test]
fn the_disk_and_the_kernel_of_an_oci_image_start() {
    let (folder, image) = made(&["--format", "oci", "--", "hostname=a"], "web.tar");
    change(&image, &["hostname=b", "ip=10.0.2.15/24", "gw=10.0.2.2"]);
    let files = unpacked(folder.path());
    let disk = files.join("disk/disk.qcow2");
    // KubeVirt leaves it as it is and writes to a layer above.
    let layer = folder.path().join("layer.qcow2");
    let words = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk.to_str().unwrap(), layer.to_str().unwrap()];
    run("qemu-img", &words, folder.path());
    serves(boot_disk::start(&layer, "qcow2", Bios, "q35 -m 64"));
    let kernel = files.join("unikernel/kernel.elf");
    serves(Vm::start_image(&kernel, "ip=10.0.2.15/24 gw=10.0.2.2", ""));
}

/// The kernel alone, as QEMU, Firecracker and cloud-hypervisor get it; its arguments come from the file.
#[test]
fn a_kernel_starts_with_the_arguments_in_it() {
    let (_folder, kernel) = made(&["--format", "elf", "--", "colour=blue"], "web.elf");
    assert!(fs::metadata(&kernel).unwrap().len() < 2 << 20, "without debug information");
    Vm::start_image(&kernel, "", "").says("unknown boot argument `colour`");
    change(&kernel, &["ip=10.0.2.15/24", "gw=10.0.2.2"]);
    for machine in ["q35", "microvm"] {
        serves(Vm::start_image(&kernel, &format!("--machine {machine}"), ""));
    }
}

/// As urunc starts it, by its source: with the container's network before the container's command.
#[test]
fn a_kernel_starts_with_the_command_line_of_urunc() {
    let (folder, _image) = made(&["--format", "oci", "--", "hostname=web1"], "web.tar");
    let files = unpacked(folder.path());
    let config = fs::read_to_string(folder.path().join("bundle/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let command: Vec<&str> =
        config["process"]["args"].as_array().unwrap().iter().filter_map(|word| word.as_str()).collect();
    let line = format!("ip=10.0.2.15/24 gateway=10.0.2.2 env=HERMIT_DNS1=10.0.2.3 -- {}", command.join(" "));
    serves(Vm::start_image(&files.join("unikernel/kernel.elf"), &format!("-- {line}"), ""));
    // One without a network has no use for the address of its container, and says so.
    let hello = Vm::start("hello", "-- ip=10.0.2.15/24 gateway=10.0.2.2 -- --").ends();
    assert!(
        hello.code == 0 && hello.text.contains("the boot argument `gateway` before `--` is of no use here"),
        "{hello:?}"
    );
}

/// What libvirt's XML, Firecracker's file and cloud-hypervisor's line give the kernel is what QEMU starts it with here.
#[test]
fn exported_arguments_start_it() {
    let (_folder, kernel) = made(&["--format", "elf", "--", "ip=10.0.2.15/24", "gw=10.0.2.2"], "web.elf");
    let mut command = Command::new(tool());
    command.args(["image", "export", "--for", "firecracker"]).arg(&kernel);
    let output = command.output().unwrap();
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (source, port) = (&config["boot-source"], free_port());
    // Firecracker's devices are virtio-mmio, as those of a microvm.
    let mut command = Command::new(tool());
    command.arg("babysit").arg(std::process::id().to_string()).args([
        "--",
        "qemu-system-x86_64",
        "-M",
        "microvm,acpi=off",
    ]);
    command.args([
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
    ]);
    command.arg("-m").arg(config["machine-config"]["mem_size_mib"].to_string());
    command.arg("-kernel").arg(source["kernel_image_path"].as_str().unwrap());
    command.arg("-append").arg(source["boot_args"].as_str().unwrap());
    let mac = config["network-interfaces"][0]["guest_mac"].as_str().unwrap();
    command.arg("-device").arg(format!("virtio-net-device,netdev=net,mac={mac}"));
    command.arg("-netdev").arg(format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:8080"));
    serves(Vm::start_command(&mut command, port));
}
