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

fn check(stage: &Stage, words: &str, code: i32, stdout: &str, stderr: &str) {
    let shown = stage.run(&format!("image create {words}"));
    assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (code, stdout, stderr), "{words}");
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
    let table = stage.tool("sfdisk", "-J disk");
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let names: Vec<_> = partitions.iter().map(|part| (&part["name"], part["start"].as_u64().unwrap())).collect();
    assert_eq!(names, [(&"bios".into(), 2048), (&"efi".into(), 4096), (&"site".into(), 66 * 2048)]);
    assert!(stage.tool("sfdisk", "-V disk").contains("No errors detected"));
    stage.tool("dd", "if=disk of=efi bs=1M skip=2 count=64 status=none");
    stage.tool("fsck.fat", "-n efi");
    assert!(stage.tool("mtype", "-i efi ::/unikernel/boot-arguments.txt").ends_with("\nip=dhcp\nlog=json\n"));
    stage.tool("mcopy", "-i efi ::/EFI/BOOT/BOOTX64.EFI loader");
    assert!(fs::read(stage.path("loader")).unwrap().starts_with(b"MZ"));
    stage.tool("mcopy", "-i efi ::/unikernel/kernel.elf kernel");
    assert_eq!(fs::read(stage.path("kernel")).unwrap()[0x200..], fs::read(stage.image()).unwrap()[0x200..]);
    stage.tool("dd", "if=disk of=copy bs=1M skip=66 count=1 status=none");
    assert!(fs::read(stage.path("copy")).unwrap().starts_with(&[9; 5000]));
}

#[test]
fn a_script_reads_what_was_made() {
    let stage = Stage::new();
    let shown = stage.run("image create --image app -o disk --json -- a=b");
    let made: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let expected = serde_json::json!({
        "file": "disk", "format": "raw", "file_len": 67 << 20, "disk_len": 67 << 20,
        "kernel_len": made["kernel_len"], "boot_arguments": ["a=b"], "config": null, "volumes": [],
        "sha256": made["sha256"], "beside": ["disk.sha256"],
    });
    assert_eq!(made, expected);
    assert_eq!(stage.tool("sha256sum", "--check disk.sha256"), "disk: OK\n");
    assert!(stage.tool("sha256sum", "disk").starts_with(made["sha256"].as_str().unwrap()));
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
    assert!(shown.code == 125 && shown.stderr.contains("there is no package here"), "{shown:?}");
    let mut in_a_package = stage.command("image create -p hello --release -o disk --dry-run");
    let shown = Shown::of(in_a_package.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap(), stage.folder.path());
    let command = "build --target x86_64-unknown-none --package hello --release --config ";
    assert!(shown.code == 0 && shown.stdout.contains(command), "{shown:?}");
    assert!(shown.stdout.contains("--remap-path-prefix="), "{shown:?}");
    assert_eq!(stage.left(), [""; 0]);
}

#[test]
fn failures_leave_nothing() {
    let stage = Stage::new();
    fs::write(stage.path("text"), "no image").unwrap();
    let fails = |words: &str, text: &str| {
        let shown = stage.run(&format!("image create {words}"));
        assert!(shown.code == 125 && shown.stdout.is_empty() && shown.stderr.contains(text), "{words}: {shown:?}");
        assert_eq!(stage.left(), ["text"], "{words}");
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
    assert_eq!(stage.left(), ["text"]);
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
        assert_eq!(stage.left(), ["disk"], "{name}");
        assert_eq!(fs::read(stage.path("disk")).unwrap(), b"older", "{name}");
    }
}
