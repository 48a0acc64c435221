//! Disks of a VM: their part of QEMU's line, what is made for them, and what people meet when one is wrong.

use crate::support::{Shown, Stage, image};
use std::{fs, os::unix::fs::MetadataExt};

const REST: &str = "cache=writeback,aio=threads,discard=unmap,werror=report,rerror=report";

/// Checks the words about disks, in which `REST` stands for the cache's.
fn check(stage: &Stage, words: &str, expected: &str) {
    let shown = stage.run(&format!("runner {words} --dry-run --accel tcg --net none"));
    let end = |text: &str| shown.stdout.find(text).unwrap_or_else(|| panic!("{shown:?}"));
    let disks = shown.stdout[end("-drive")..end(" -kernel")].replace(REST, "REST");
    assert_eq!((disks.as_str(), shown.code, shown.stderr.as_str()), (expected, 0, ""), "{shown:?}");
}

fn stage_with(files: &[&str]) -> Stage {
    let stage = Stage::new();
    files.iter().for_each(|file| fs::write(stage.path(file), [1; 512]).unwrap());
    stage
}

#[test]
fn the_line_has_disks_in_their_order() {
    let stage = stage_with(&["one", "a,b:c"]);
    let words = "app --disk one --volume state=s.img --disk a,b:c,serial=site,ro";
    let expected = |kind: &str| {
        format!(
            "-drive if=none,id=disk0,format=raw,file=one,REST -device virtio-blk-{kind},drive=disk0 \
             -drive if=none,id=disk1,format=raw,file=s.img,REST -device virtio-blk-{kind},drive=disk1,serial=state \
             -drive if=none,id=disk2,format=raw,file=./a,,b:c,REST,readonly=on \
             -device virtio-blk-{kind},drive=disk2,serial=site"
        )
    };
    check(&stage, words, &expected("pci"));
    check(&stage, &format!("{words} --machine microvm"), &expected("device"));
}

#[test]
fn a_volume_is_made_once_and_takes_no_room() {
    let stage = Stage::new();
    let line = "-drive if=none,id=disk0,format=raw,file=s.img,REST -device virtio-blk-pci,drive=disk0,serial=state";
    check(&stage, "app --volume state=s.img,size=1G", line);
    let metadata = fs::metadata(stage.path("s.img")).unwrap();
    assert_eq!((metadata.len(), metadata.blocks()), (1 << 30, 0));
    fs::write(stage.path("s.img"), [7; 1024]).unwrap();
    check(&stage, "app --volume state=s.img", line);
    assert_eq!(fs::read(stage.path("s.img")).unwrap(), [7; 1024]);
    let shown = stage.run("runner app --dry-run --accel tcg --volume state=s.img,size=64M");
    let note = "unikernel: s.img is there with 1024 bytes and stays so; `size=64M` is for a new one\n";
    assert_eq!((shown.code, shown.stderr.as_str()), (0, note));
}

#[test]
fn a_package_has_disks_which_its_tests_leave_alone() {
    let stage = stage_with(&["site.img"]);
    let manifest = "[package]\nname = 'app'\n[workspace]\n[package.metadata.unikernel]\ndisks = ['site.img,ro']\n\
                    volumes = ['state=state.img,size=1M']";
    fs::write(stage.path("Cargo.toml"), manifest).unwrap();
    for folder in ["src", "deps", "elsewhere"] {
        fs::create_dir(stage.path(folder)).unwrap();
    }
    fs::write(stage.path("src/main.rs"), "").unwrap();
    fs::copy(stage.image(), stage.path("deps/app-0123456789abcdef")).unwrap();
    check(
        &stage,
        "deps/app-0123456789abcdef",
        "-drive if=none,id=disk0,format=raw,file=deps/app-0123456789abcdef.1M.blank,REST,snapshot=on \
         -device virtio-blk-pci,drive=disk0,serial=state",
    );
    assert!(!stage.path("state.img").exists());
    let mut command = stage.command("runner ../app --dry-run --accel tcg");
    let output = command.current_dir(stage.path("elsewhere")).output().unwrap();
    let shown = Shown::of(output, stage.folder.path());
    let of_package = ["file=STAGE/site.img,", "readonly=on", "file=STAGE/state.img,", "serial=state"];
    assert!(of_package.iter().all(|part| shown.stdout.contains(part)), "{shown:?}");
    assert_eq!(fs::metadata(stage.path("state.img")).unwrap().len(), 1 << 20);
}

#[test]
fn a_folder_becomes_an_image_which_follows_it() {
    let stage = Stage::new();
    fs::create_dir(stage.path("site")).unwrap();
    fs::write(stage.path("site/index.html"), "one").unwrap();
    let image = || {
        let shown = stage.run("runner app --dry-run --accel tcg --net none --disk site,serial=web");
        assert!(shown.code == 0 && shown.stdout.contains(",readonly=on -device virtio-blk-pci,drive=disk0,serial=web"));
        let name = shown.stdout.split("file=").nth(1).unwrap().split(',').next().unwrap().to_owned();
        (fs::metadata(stage.path(&name)).unwrap().ino(), name)
    };
    let (first, name) = image();
    assert!(name.starts_with("app.") && name.ends_with(".disk"), "{name}");
    assert_eq!(stage.run(&format!("image fs cat {name} index.html")).stdout, "one");
    assert_eq!(image(), (first, name.clone()));
    fs::write(stage.path("site/new.html"), "two").unwrap();
    assert_ne!(image().0, first);
    assert_eq!(stage.run(&format!("image fs cat {name} new.html")).stdout, "two");
    let leftover = fs::read_dir(stage.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(leftover.filter(|name| name.to_string_lossy().contains("draft")).count() == 0);
}

#[test]
fn machines_with_disks_boot() {
    for machine in ["q35", "pc", "microvm"] {
        let stage = stage_with(&["one"]);
        fs::create_dir(stage.path("deps")).unwrap();
        fs::write(stage.path("deps/app-0123456789abcdef"), image("up\n", Some(0))).unwrap();
        let words = "--volume state=s.img --disk one,ro --net none --accel tcg --timeout 60";
        let shown = stage.run(&format!("runner deps/app-0123456789abcdef --machine {machine} {words}"));
        assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (0, "up\n", ""), "{machine}");
    }
}

#[test]
fn an_image_in_use_is_named() {
    let stage = stage_with(&["one"]);
    let shown = stage.run("runner app --accel tcg --net none --disk one --disk one");
    let expected = "unikernel: one is in use: another VM has it, or this one has it twice. Stop the other one, or work on \
                    a copy; several may have it at once if each has it with `--disk one,ro`\n\
                    unikernel: QEMU failed with status 1, see its message above (exit code 125)\n";
    assert_eq!((shown.code, shown.stderr.as_str()), (125, expected));
    let shown = stage.run("runner app --accel tcg --net none --disk one,ro --disk one,ro");
    assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (0, "hello\n", ""));
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    let stage = stage_with(&["one"]);
    fs::write(stage.path("empty"), "").unwrap();
    fs::create_dir(stage.path("folder")).unwrap();
    for (option, expected) in [
        (
            "--disk none.img",
            "there is no disk none.img; make one from a folder with `cargo unikernel image fs create -o none.img FOLDER`, \
             or a blank one that is kept with `--volume NAME=none.img`",
        ),
        (
            "--disk one,readonly",
            "there is no disk one,readonly; if `readonly` is meant as an option: there are `,serial=NAME` and `,ro`",
        ),
        ("--disk empty", "empty is empty; give it a size with `truncate -s 64M empty`"),
        ("--disk /dev/null", "/dev/null is neither a file nor a block device; give a raw image"),
        ("--volume a=folder", "folder is a folder; a volume is a file: `--volume a=folder/a.img`"),
        ("--volume a=empty", "empty is empty; remove it, and it is made anew"),
        (
            "--volume a=no/a.img",
            "cannot make the disk no/a.img; is its folder there?: No such file or directory (os error 2)",
        ),
        ("--volume a=x --disk one,serial=a", "two disks have the name `a`; give each a name of its own"),
    ] {
        let shown = stage.run(&format!("runner app --dry-run --accel tcg {option}"));
        assert_eq!((shown.code, shown.stderr), (125, format!("error: {expected}\n")), "{option}");
    }
}
