//! Disks that start by UEFI and by a BIOS: each kind of file boots and serves, boot arguments can be edited, and what is damaged
//! says so.

use crate::home::Home;
use e2e::{
    boot_disk::{
        self,
        Firmware::{Bios, Uefi},
        create, created,
    },
    client::{get, try_get},
    image::{self, tool},
    vm::Vm,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Where the EFI system partition begins, in the words of mtools.
const EFI_START: &str = "2M";

fn disk(words: &[&str], package: &str, name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join(name);
    created(package, &disk, words);
    (folder, disk)
}

fn serves(vm: Vm) -> Vm {
    let vm = vm.answers();
    let page = get(vm.port, "/");
    assert!(page.status == 200 && page.body.starts_with(b"<!doctype html>"), "{page:?}");
    vm
}

fn mtools(program: &str, disk: &Path, words: &[&str]) {
    let mut command = Command::new(program);
    // For mtools a partition is a file and where it begins.
    command.arg("-i").arg(format!("{}@@{EFI_START}", disk.display())).args(words);
    let output = command.output().expect("mtools are installed by script/test");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Gives the disk other boot arguments, as its owner would.
fn edit(disk: &Path, text: &str) {
    let file = disk.with_extension("arguments");
    fs::write(&file, text).unwrap();
    mtools("mcopy", disk, &["-o", file.to_str().unwrap(), "::/unikernel/boot-arguments.txt"]);
}

#[test]
fn a_disk_starts_by_uefi_and_by_a_bios() {
    let (_folder, disk) = disk(&[], "static-site", "disk.raw");
    for (firmware, machine) in [
        (Uefi, "q35 -m 256"),
        (Uefi, "pc -m 256"),
        // With memory above 4 GiB, which nothing fills.
        (Uefi, "q35 -m 5G"),
        (Bios, "q35 -m 32"),
        (Bios, "pc -m 32"),
        (Bios, "q35 -m 5G"),
    ] {
        println!("{firmware:?} {machine}");
        serves(boot_disk::start(&disk, "raw", firmware, machine));
    }
}

/// Variables that are on the disk, those that replace them, and the command line, which counts before.
#[test]
fn variables_on_the_disk_arrive() {
    let words = ["--env", "TOKEN=hunter2", "--env", "GREETING=of the disk", "--", "number=9"];
    let (_folder, disk) = disk(&words, "e2e-config", "disk.raw");
    let elf = image::image("e2e-config");
    let home = Home::new();
    let says = |bios: &str, expected: &str| {
        let files = format!("--image {} --elf {}", disk.display(), elf.display());
        home.says(&format!("create web {files} --bios {bios} --net none --memory 256M"));
        home.wait("web", |state| state["state"] == "ended");
        let said = home.says("logs web");
        assert!(said.contains(expected) && !said.contains("hunter2"), "{bios}: {said}");
        home.says("delete web");
    };
    says("seabios", "greeting <of the disk> number 9 token *** of 7 bytes");
    says("ovmf", "greeting <of the disk> number 9 token *** of 7 bytes");
    let change = |words: &[&str]| {
        let mut command = Command::new(tool());
        command.arg("image").arg(words[0]).arg(&disk).args(&words[1..]);
        let output = command.env("XDG_STATE_HOME", disk.with_file_name("state")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    change(&["arguments", "--", "env.GREETING=line"]);
    says("seabios", "greeting <line> number 7 token *** of 7 bytes");
    change(&["env", "--env", "TOKEN=hunter22", "--env", "GREETING=replaced"]);
    says("seabios", "greeting <line> number 7 token *** of 8 bytes");
    change(&["arguments", "--none"]);
    says("seabios", "greeting <replaced> number 7 token *** of 8 bytes");
    // An app that would not look, and has a disk besides.
    let refused = create("site-from-disk", &disk, &["--env", "A=1"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("this app reads no config partition"), "{said}");
}

#[test]
fn other_kinds_of_files_start_too() {
    for (format, name) in [("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vhd", "vpc"), ("vhdx", "vhdx")] {
        let (_folder, disk) = disk(&["--format", format], "static-site", "disk");
        serves(boot_disk::start(&disk, name, Bios, "q35 -m 64"));
        assert!(fs::metadata(&disk).unwrap().blocks() * 512 < 16 << 20, "{format} has no holes");
    }
}

/// `disk.raw` of whole GiB in an archive that `tar` reads.
#[test]
fn an_archive_for_googles_cloud() {
    let (folder, archive) = disk(&["--format", "gce"], "static-site", "disk.tar.gz");
    let tar = |words: &[&str]| {
        let output =
            Command::new("tar").args(words).arg("-f").arg(&archive).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(tar(&["-tz"]), "disk.raw\n");
    tar(&["-xSz"]);
    let raw = folder.path().join("disk.raw");
    let found = fs::metadata(&raw).unwrap();
    assert!(
        found.len() == 1 << 30 && found.blocks() * 512 < 16 << 20,
        "{} with {} blocks",
        found.len(),
        found.blocks()
    );
    serves(boot_disk::start(&raw, "raw", Bios, "q35 -m 64"));
}

#[test]
fn boot_arguments_are_edited_in_the_image() {
    let (_folder, disk) = disk(&["--", "ip=10.0.2.15/24", "gw=10.0.2.2"], "static-site", "disk.raw");
    for (firmware, machine) in [(Uefi, "q35 -m 256"), (Bios, "q35 -m 64")] {
        let start = || boot_disk::start(&disk, "raw", firmware, machine);
        edit(&disk, "# an address that no packet comes to\n\ncolour=blue\n");
        start().says("unikernel: cannot start: ");
        start().says("`colour`");
        edit(&disk, "\u{feff}# as it was\r\nip=10.0.2.15/24\r\n   gw=10.0.2.2\r\n");
        serves(start());
        mtools("mdel", &disk, &["::/unikernel/boot-arguments.txt"]);
        serves(start());
    }
}

#[test]
fn what_no_kernel_takes_is_said() {
    let (_folder, disk) = disk(&[], "static-site", "disk.raw");
    let says = |text: &str| {
        for (firmware, machine) in [(Uefi, "q35 -m 256"), (Bios, "q35 -m 64")] {
            boot_disk::start(&disk, "raw", firmware, machine).says(text);
        }
    };
    edit(&disk, &format!("a={}", "x".repeat(2047)));
    says("unikernel loader: unikernel/boot-arguments.txt is too long");
    edit(&disk, &"# 17 bytes a line\n".repeat(1000));
    says("unikernel loader: unikernel/boot-arguments.txt is too long");
    edit(&disk, "");
    let file = disk.with_extension("kernel");
    fs::write(&file, "no ELF").unwrap();
    mtools("mcopy", &disk, &["-o", file.to_str().unwrap(), "::/unikernel/kernel.elf"]);
    says("unikernel loader: a file of the image ends too early; create the image again");
    fs::write(&file, [0; 4096]).unwrap();
    mtools("mcopy", &disk, &["-o", file.to_str().unwrap(), "::/unikernel/kernel.elf"]);
    says("unikernel loader: unikernel/kernel.elf is damaged, or no unikernel image; create the image again");
    mtools("mdel", &disk, &["::/unikernel/kernel.elf"]);
    says("create the image again");
}

/// A partition table, a file system: what the BIOS's loader reads by itself.
#[test]
fn damage_that_only_the_loader_for_a_bios_meets() {
    let (_folder, disk) = disk(&[], "static-site", "disk.raw");
    for (at, text) in [(2 << 20, "is not FAT32"), (512, "no partition table")] {
        let mut file = OpenOptions::new().write(true).open(&disk).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[0; 512]).unwrap();
        boot_disk::start(&disk, "raw", Bios, "pc -m 64").says(text);
    }
}

#[test]
fn too_little_memory_is_said() {
    let (_folder, disk) = disk(&[], "static-site", "disk.raw");
    boot_disk::start(&disk, "raw", Bios, "q35 -m 2").says("unikernel loader: the machine has too little memory");
}

/// The firmware reads the disk, also an NVMe one that is larger than the image, as in Amazon's cloud: an app starts, and what it lacks
/// is said then.
#[test]
fn an_app_starts_where_there_is_no_driver() {
    let start = |package: &str, firmware| {
        let (folder, disk) = disk(&[], package, "disk.raw");
        OpenOptions::new().write(true).open(&disk).unwrap().set_len(1 << 30).unwrap();
        (folder, boot_disk::start_among_strangers(&disk, firmware, "q35 -m 512"))
    };
    for firmware in [Uefi, Bios] {
        let (_folder, hello) = start("hello", firmware);
        // QEMU's way to say 0.
        let end = hello.ends();
        assert_eq!(end.code, 1, "{end:?}");
        let (_folder, site) = start("static-site", firmware);
        site.says("this unikernel needs a network port");
    }
}

/// The words for a volume with a page.
fn volume(folder: &TempDir) -> String {
    let (site, image) = (folder.path().join("site"), folder.path().join("site.img"));
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.html"), "<!doctype html>from the boot disk").unwrap();
    let mut make = Command::new(tool());
    make.args(["image", "fs", "create"]).arg(&site).arg("-o").arg(&image);
    assert!(make.status().unwrap().success());
    format!("site={}", image.display())
}

/// The app mounts its volume from the disk that it was started from.
#[test]
fn a_volume_is_a_partition() {
    let folder = tempfile::tempdir().unwrap();
    let (_disk, disk) = disk(&["--volume", &volume(&folder)], "site-from-disk", "disk.raw");
    for (firmware, machine) in [(Uefi, "q35 -m 256"), (Bios, "q35 -m 64")] {
        let vm = serves(boot_disk::start(&disk, "raw", firmware, machine));
        assert_eq!(get(vm.port, "/").body, b"<!doctype html>from the boot disk");
    }
}

/// A crash, and the report of it after the reset: the kernel comes to the same place again.
#[test]
fn a_machine_that_starts_again_knows_why() {
    let folder = tempfile::tempdir().unwrap();
    // The app mounts what is on its first disk.
    let words = ["--volume", &volume(&folder), "--", "on-crash=reboot"];
    let (_disk, disk) = disk(&words, "e2e-guest", "disk.raw");
    for (firmware, machine) in [(Bios, "q35 -m 64"), (Uefi, "q35 -m 256")] {
        let vm = boot_disk::start(&disk, "raw", firmware, &format!("{machine} -action reboot=reset")).answers();
        // The machine is gone before the answer is.
        let _ = try_get(vm.port, "/panic");
        vm.says("unikernel: the previous run crashed:");
        let crashes = get(vm.answers().port, "/crashes");
        assert!(crashes.body.starts_with(b"1 panic: "), "{crashes:?}");
    }
}

#[test]
fn the_same_parts_make_the_same_disk() {
    let (first, second) = (disk(&["--", "a=b"], "static-site", "disk"), disk(&["--", "a=b"], "static-site", "disk"));
    let [mut first, mut second] = [first, second].map(|(_folder, disk)| File::open(disk).unwrap());
    let (mut left, mut right) = (Vec::new(), Vec::new());
    first.read_to_end(&mut left).unwrap();
    second.read_to_end(&mut right).unwrap();
    assert!(left == right);
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |words: &[&str], text: &str| {
        let made = create("static-site", &folder.path().join("disk"), words);
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.code() == Some(125) && said.contains(text), "{said}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    let long = format!("a={}", "x".repeat(2047));
    refused(&["--", &long], "the boot arguments have 2049 bytes; a kernel takes 2048 at most, so shorten them");
    refused(&["--volume", "site=none.img"], "cannot read none.img");
}
