//! `image create`: what is on the disk, as the standard tools see it, and that nothing half done is left behind.

use crate::{
    life::{ends, signal},
    support::{Shown, Stage},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

/// A tool of the system, in the folder of the stage.
fn tool(stage: &Stage, program: &str, arguments: &str) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new(program);
    let output = command.args(arguments.split(' ')).env("PATH", path).current_dir(stage.folder.path()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}; script/setup installs it"));
    let shown = Shown::of(output, stage.folder.path());
    assert_eq!(shown.code, 0, "{program} {arguments}: {shown:?}");
    shown.stdout
}

fn check(stage: &Stage, words: &str, code: i32, stdout: &str, stderr: &str) {
    let shown = stage.run(&format!("image create {words}"));
    assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (code, stdout, stderr), "{words}");
}

/// All that is in the folder but the stage's own things.
fn left(stage: &Stage) -> Vec<String> {
    let names =
        fs::read_dir(stage.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !["app", "bin"].contains(&name.as_str())).collect();
    names.sort();
    names
}

#[test]
fn standard_tools_read_the_disk() {
    let stage = Stage::new();
    fs::write(stage.path("content"), [9; 5000]).unwrap();
    check(
        &stage,
        "--image app -o disk --volume site=content -- ip=dhcp log=json",
        0,
        "disk (raw, disk of 68 MiB, kernel 5 KiB)\n",
        "",
    );
    let table = tool(&stage, "sfdisk", "-J disk");
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let names: Vec<_> = partitions.iter().map(|part| (&part["name"], part["start"].as_u64().unwrap())).collect();
    assert_eq!(names, [(&"bios".into(), 2048), (&"efi".into(), 4096), (&"site".into(), 66 * 2048)]);
    assert!(tool(&stage, "sfdisk", "-V disk").contains("No errors detected"));
    tool(&stage, "dd", "if=disk of=efi bs=1M skip=2 count=64 status=none");
    tool(&stage, "fsck.fat", "-n efi");
    assert!(tool(&stage, "mtype", "-i efi ::/unikernel/boot-arguments.txt").ends_with("\nip=dhcp\nlog=json\n"));
    tool(&stage, "mcopy", "-i efi ::/EFI/BOOT/BOOTX64.EFI loader");
    assert!(fs::read(stage.path("loader")).unwrap().starts_with(b"MZ"));
    tool(&stage, "mcopy", "-i efi ::/unikernel/kernel.elf kernel");
    assert_eq!(fs::read(stage.path("kernel")).unwrap()[0x200..], fs::read(stage.image()).unwrap()[0x200..]);
    tool(&stage, "dd", "if=disk of=copy bs=1M skip=66 count=1 status=none");
    assert!(fs::read(stage.path("copy")).unwrap().starts_with(&[9; 5000]));
}

#[test]
fn a_script_reads_what_was_made() {
    let stage = Stage::new();
    let shown = stage.run("image create --image app -o disk --json -- a=b");
    let made: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let expected = serde_json::json!({
        "file": "disk", "format": "raw", "file_len": 67 << 20, "disk_len": 67 << 20,
        "kernel_len": made["kernel_len"], "boot_arguments": ["a=b"], "volumes": [],
    });
    assert_eq!(made, expected);
    assert_eq!(fs::metadata(stage.path("disk")).unwrap().len(), 67 << 20);
}

#[test]
fn commands_can_be_seen_before() {
    let stage = Stage::new();
    check(&stage, "--image app -o disk --dry-run", 0, "", "");
    check(
        &stage,
        "--image app -o disk -f vhd --dry-run",
        0,
        "qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on DISK disk\n",
        "",
    );
    let shown = stage.run("image create -p hello --release -o disk --dry-run");
    let command = "build --target x86_64-unknown-none --package hello --release\n";
    assert!(shown.code == 0 && shown.stdout.ends_with(command), "{shown:?}");
    assert_eq!(left(&stage), [""; 0]);
}

#[test]
fn failures_leave_nothing() {
    let stage = Stage::new();
    fs::write(stage.path("text"), "no image").unwrap();
    let fails = |words: &str, text: &str| {
        let shown = stage.run(&format!("image create {words}"));
        assert!(shown.code == 125 && shown.stdout.is_empty() && shown.stderr.contains(text), "{words}: {shown:?}");
        assert_eq!(left(&stage), ["text"], "{words}");
    };
    fails("--image text -o disk", "text is not a unikernel image (not a 64-bit ELF file)");
    fails("--image app -o none/disk", "cannot make none/disk");
    fails("--image app -o disk --volume a=none", "cannot read none");
    fails(&format!("--image app -o disk -- a={}", "x".repeat(2047)), "so shorten them");
    stage.program("qemu-img", "echo 'no space left' >&2; exit 1");
    fails("--image app -o disk -f qcow2", "qemu-img failed: no space left");
    let missing = stage.command("image create --image app -o disk -f qcow2").env("PATH", "/nowhere").output().unwrap();
    let missing = Shown::of(missing, stage.folder.path());
    assert!(missing.code == 125 && missing.stderr.contains("apt-get install qemu-utils"), "{missing:?}");
    assert_eq!(left(&stage), ["text"]);
}

#[test]
fn a_signal_leaves_nothing() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let stage = Stage::new();
        fs::write(stage.path("disk"), "older").unwrap();
        assert!(Command::new("mkfifo").arg(stage.path("fifo")).status().unwrap().success());
        stage.program("qemu-img", "for last; do :; done; echo half >\"$last\"; echo $$ >fifo; exec sleep 600");
        let mut maker =
            stage.command("image create --image app -o disk -f qcow2").stdout(Stdio::null()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(fs::File::open(stage.path("fifo")).unwrap()).read_line(&mut pid).unwrap();
        signal(maker.id(), name);
        assert_eq!(maker.wait().unwrap().code(), Some(code), "{name}");
        assert!(ends(pid.trim().parse().unwrap()), "{name}");
        fs::remove_file(stage.path("fifo")).unwrap();
        assert_eq!(left(&stage), ["disk"], "{name}");
        assert_eq!(fs::read(stage.path("disk")).unwrap(), b"older", "{name}");
    }
}
