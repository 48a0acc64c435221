//! What people meet when something is missing or wrong: the whole text, and the exit code.

use crate::support::{Shown, Stage};
use std::{fs, net::TcpListener};

fn check(shown: &Shown, code: i32, stderr: &str) {
    assert_eq!((shown.code, shown.stderr.as_str()), (code, stderr), "{shown:?}");
}

#[test]
fn qemu_is_missing() {
    let stage = Stage::new();
    let mut command = stage.command("runner app --accel tcg");
    let shown = Shown::of(command.env("PATH", stage.path("bin")).output().unwrap(), stage.folder.path());
    let start = "error: QEMU is missing: there is no `qemu-system-x86_64` on your PATH; install it with `";
    assert!(shown.stderr.starts_with(start), "{shown:?}");
    assert_eq!(shown.code, 125);
}

#[test]
fn the_file_is_no_image() {
    let stage = Stage::new();
    fs::write(stage.path("script"), "#!/bin/sh\n").unwrap();
    let advice = "build one with `cargo build --release --target x86_64-unknown-none -p APP`, where APP's main has \
                  `#[unikernel_rt::main]`";
    let expected = format!("error: script is not a unikernel image (not a 64-bit ELF file); {advice}\n");
    check(&stage.run("runner script"), 125, &expected);
    let expected = "error: cannot read the image nowhere: No such file or directory (os error 2)\n";
    check(&stage.run("runner nowhere"), 125, expected);
}

#[test]
fn the_port_is_taken() {
    let stage = Stage::new();
    stage.program("qemu-system-x86_64", "echo must not start");
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let shown = stage.run(&format!("runner app --accel tcg -p {port}:80"));
    let other = port.checked_add(1).unwrap_or(port - 1);
    let expected = format!(
        "error: port {port} on this machine is taken by another program; choose another with `--port {other}:80`\n"
    );
    check(&shown, 125, &expected);
    assert_eq!(shown.stdout, "");
}

#[test]
fn the_rust_target_is_missing() {
    let stage = Stage::new();
    stage.program("rustc", "echo /nonexistent");
    let expected = "error: the Rust target x86_64-unknown-none is not installed; install it with \
                    `rustup target add x86_64-unknown-none`\n";
    for words in ["build -p app", "run -p app --release -- a=b", "test -p app"] {
        let mut command = stage.command(words);
        let output = command.env("RUSTC", stage.path("bin/rustc")).output().unwrap();
        check(&Shown::of(output, stage.folder.path()), 125, expected);
    }
}

#[test]
fn a_boot_argument_is_no_pair() {
    let expected = "error: `fast` is no boot argument; write key=value, such as `ip=10.0.2.15/24`\n";
    check(&Stage::new().run("runner app fast"), 125, expected);
}

#[test]
fn options_are_wrong() {
    for (option, part) in [
        ("-p http:80", "`http:80` is no port; write HOST:GUEST, such as `8080:80`"),
        ("-p 80:80/sctp", "`80:80/sctp` is no port: `/sctp` is neither `/tcp` nor `/udp`"),
        ("-p [::1]:80:80", "`[::1]:80:80` is no port: QEMU forwards from IPv4 addresses only"),
        ("-m lots", "`lots` is no memory size; write a number with K, M or G"),
        ("--machine virt", "`virt` is no machine type of ours; choose `q35`, `pc` or `microvm`"),
        ("--accel hvf", "`hvf` is no acceleration; choose `kvm` or `tcg`"),
        ("--timeout never", "`never` is no time; write a number of seconds"),
        ("--disk ,ro", "`,ro` names no file; write FILE[,serial=NAME][,ro]"),
        ("--volume state", "`state` is no volume; write NAME=FILE[,size=SIZE], such as `state=state.img,size=64M`"),
        ("--volume a=b,size=big", "`big` is no size of a disk; write a number with K, M, G or T"),
        ("--net lan", "`lan` is no network; choose `user`, `none`, `private[=NAME]`, `tap[=NAME]`"),
    ] {
        let shown = Stage::new().run(&format!("runner app {option}"));
        assert!(shown.code == 2 && shown.stderr.contains(part), "{option}: {shown:?}");
    }
}

#[test]
fn the_doctor_names_each_fix() {
    let stage = Stage::new();
    stage.program("qemu-system-x86_64", "echo QEMU emulator version 1.2.3").program("rustc", "echo /nonexistent");
    let doctor = |words: &str| {
        // Nothing else is installed.
        let mut command = stage.command(words);
        let output = command.env("RUSTC", stage.path("bin/rustc")).env("PATH", stage.path("bin")).output().unwrap();
        Shown::of(output, stage.folder.path())
    };
    let shown = doctor("doctor");
    let start = "ok        QEMU: QEMU emulator version 1.2.3\nmissing   Rust target: the Rust target \
                 x86_64-unknown-none is not installed; install it with `rustup target add x86_64-unknown-none`\n";
    assert!(shown.code == 1 && shown.stdout.starts_with(start), "{shown:?}");
    // And what is lost without it.
    for line in
        ["not used  qemu-img (for image create -f qcow2", "not used  gdb (for debug): gdb is missing; install it"]
    {
        assert!(shown.stdout.contains(line), "{shown:?}");
    }
    let shown = doctor("doctor --json");
    let findings: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert!(shown.code == 1 && findings[1]["state"] == "missing" && findings[0]["state"] == "ok", "{shown:?}");
}

/// Also without building or asking anything.
#[cfg(not(feature = "aws"))]
#[test]
fn the_tool_was_built_without_a_cloud() {
    let stage = Stage::new();
    let expected = "error: this tool was built without AWS, whose SDK takes minutes to build; from a checkout of the framework, install it \
                    with `cargo install --path cargo-unikernel --features aws --profile tool`\n";
    check(&stage.run("instance list --provider aws"), 125, expected);
    check(&stage.run("instance --provider aws create web --image nowhere --instance-type t3.micro"), 125, expected);
    let mut command = stage.command("instance list");
    let shown = Shown::of(command.env("UNIKERNEL_PROVIDER", "aws").output().unwrap(), stage.folder.path());
    check(&shown, 125, expected);
}

#[test]
fn an_option_is_for_another_place() {
    let stage = Stage::new();
    let expected = "error: `--subnet` is for Amazon EC2; leave it away, or add `--provider aws`\n";
    check(&stage.run("instance create web --image app --subnet subnet-1"), 125, expected);
}
