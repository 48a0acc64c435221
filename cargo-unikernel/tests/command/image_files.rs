//! Images that are no disk, what is known of images that were made, and what changes in one without a build.

use crate::{
    life::{ends, signal},
    support::{Shown, Stage, image_with_config},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

/// A command that must succeed, and what it says.
fn says(stage: &Stage, words: &str) -> String {
    let shown = stage.run(words);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{words}: {shown:?}");
    shown.stdout
}

fn json(stage: &Stage, words: &str) -> Value {
    serde_json::from_str(&says(stage, words)).unwrap()
}

fn fails(stage: &Stage, words: &str, text: &str) {
    let shown = stage.run(words);
    assert!(shown.code == 125 && shown.stderr.contains(text), "{words}: {shown:?}");
}

#[test]
fn a_kernel_has_its_boot_arguments_in_it() {
    let stage = Stage::new();
    assert_eq!(says(&stage, "image create --image app -o kernel -f elf -- a=b c"), "kernel (elf, kernel 5 KiB)\n");
    assert!(stage.tool("readelf", "-p .unikernel.arguments kernel").contains("  a=b c\n"));
    assert_eq!(says(&stage, "image arguments kernel"), "a=b c\n");
    assert_eq!(says(&stage, "image arguments kernel -- d=e"), "d=e\n");
    assert_eq!(says(&stage, "image arguments kernel --none"), "\n");
    fails(&stage, "image create --image app -o other -f elf --volume a=app", "a kernel has no partitions");
    fails(&stage, "image arguments app -- a=b", "app has no room for boot arguments");
    fails(&stage, "image create --image app -o other --reference a", "only an OCI image has a name of its own");
}

/// Its arguments come first, so that whoever starts it has the last word.
#[test]
fn the_runner_gives_a_kernel_its_arguments() {
    let stage = Stage::new();
    says(&stage, "image create --image app -o kernel -f elf -- a=b");
    let line = says(&stage, "runner --dry-run kernel a=c");
    assert!(line.contains(" -append 'a=b a=c'"), "{line}");
    let line = says(&stage, "instance create --image kernel --dry-run --accel tcg -- a=c");
    assert!(line.contains(" -append 'a=b a=c'"), "{line}");
}

#[test]
fn boot_arguments_change_without_a_build() {
    for format in ["raw", "qcow2", "vmdk", "vhd", "vhdx", "gce", "elf", "oci"] {
        let stage = Stage::new();
        fs::write(stage.path("content"), [9; 5000]).unwrap();
        let volume = if format == "elf" { "" } else { "--volume site=content" };
        says(&stage, &format!("image create --image app -o image -f {format} {volume} -- a=b"));
        assert_eq!(says(&stage, "image arguments image"), "a=b\n", "{format}");
        assert_eq!(says(&stage, "image arguments image -- ip=dhcp log=json"), "ip=dhcp log=json\n", "{format}");
        let seen = json(&stage, "image inspect --json image");
        let expected = serde_json::json!(["ip=dhcp", "log=json"]);
        assert_eq!((&seen["format"], &seen["boot_arguments"]), (&format.into(), &expected), "{format}");
        let volumes = if format == "elf" { serde_json::json!([]) } else { serde_json::json!(["site"]) };
        assert_eq!((&seen["volumes"], &seen["is_as_made"]), (&volumes, &true.into()), "{format}");
        assert_eq!(stage.tool("sha256sum", "--check image.sha256"), "image: OK\n");
        assert_eq!(json(&stage, "image arguments image --json")["boot_arguments"], expected);
    }
}

/// They are where a machine finds them, and no command shows their values.
#[test]
fn variables_are_on_the_disk() {
    let all = |stage: &Stage, words: &str| {
        let shown = stage.run(words);
        assert!(shown.code == 0 && !format!("{shown:?}").contains("hunter2"), "{words}: {shown:?}");
        shown.stdout
    };
    for format in ["raw", "qcow2", "vmdk", "vhd", "vhdx", "gce", "oci"] {
        let stage = Stage::new();
        fs::write(stage.image(), image_with_config("hello\n")).unwrap();
        fs::write(stage.path("content"), [9; 5000]).unwrap();
        fs::write(stage.path("deploy.env"), "# of a test\nTOKEN=hunter2\nGREETING=hello to all\n").unwrap();
        let words =
            format!("image create --image app -o image -f {format} --volume site=content --env-file deploy.env");
        let made: Value =
            serde_json::from_str(&all(&stage, &format!("{words} --env GREETING=hi --json -- a=b"))).unwrap();
        let keys = serde_json::json!(["env.TOKEN", "env.GREETING"]);
        assert_eq!((&made["config"], &made["volumes"]), (&keys, &serde_json::json!(["site"])), "{format}");
        assert_eq!(all(&stage, "image env image"), "env.TOKEN\nenv.GREETING\n", "{format}");
        let seen: Value = serde_json::from_str(&all(&stage, "image inspect --json image")).unwrap();
        assert_eq!((&seen["config"], &seen["volumes"]), (&keys, &serde_json::json!(["site"])), "{format}");
        assert_eq!(seen["partitions"][3]["name"], "unikernel-config");
        assert!(all(&stage, "image inspect image").contains("\nconfig       env.TOKEN env.GREETING\n"), "{format}");
        // Each of the two changes leaves the other alone.
        assert_eq!(all(&stage, "image env image --env A=1"), "env.A\n", "{format}");
        assert_eq!(all(&stage, "image arguments image -- c=d"), "c=d\n");
        assert_eq!(all(&stage, "image env image --none --json"), "{\"config\":[],\"file\":\"image\"}\n");
        assert_eq!(
            (all(&stage, "image env image"), all(&stage, "image arguments image")),
            ("\n".into(), "c=d\n".into())
        );
        assert_eq!(stage.tool("sha256sum", "--check image.sha256"), "image: OK\n");
    }
}

#[test]
fn standard_tools_find_the_variables() {
    let stage = Stage::new();
    fs::write(stage.image(), image_with_config("hello\n")).unwrap();
    says(&stage, "image create --image app -o disk --env A=x=y --env B=z");
    let table: Value = serde_json::from_str(&stage.tool("sfdisk", "--json disk")).unwrap();
    let part = &table["partitiontable"]["partitions"][2];
    let kind = "37D7ED5E-A8BC-4DA7-AD33-FD667E755520";
    assert_eq!((&part["type"], &part["name"]), (&kind.into(), &"unikernel-config".into()), "{table}");
    let start = part["start"].as_u64().unwrap() as usize * 512;
    let text = &fs::read(stage.path("disk")).unwrap()[start..];
    assert!(text.starts_with(b"env.A=\"x=y\"\nenv.B=\"z\"\n\0\0"), "{}", text[..64].escape_ascii());
    // The same parts make the same disk.
    says(&stage, "image create --image app -o other --env A=x=y --env B=z");
    assert!(fs::read(stage.path("disk")).unwrap() == fs::read(stage.path("other")).unwrap());
}

#[test]
fn variables_that_nobody_would_read_are_refused() {
    let stage = Stage::new();
    let expected = "make `_: unikernel_blockfs::ConfigPartition` the first argument of its `main`";
    fails(&stage, "image create --image app -o disk --env A=1", expected);
    fails(&stage, "image create --image app -o disk -f elf --env A=1", "a kernel has no partition for `--env`");
    fails(
        &stage,
        "image create --image app -o disk --env NOBODY_HAS_THIS",
        "is not in the environment of this command",
    );
    assert!(stage.left().is_empty());
    says(&stage, "image create --image app -o disk");
    fails(&stage, "image env disk --env A=1", "disk has no config partition; create it again with `--env NAME=VALUE`");
    says(&stage, "image create --image app -o kernel -f elf");
    fails(&stage, "image env kernel", "kernel has no config partition");
}

#[test]
fn the_file_system_is_in_order_after_a_change() {
    let stage = Stage::new();
    says(&stage, "image create --image app -o disk -- a=b");
    let long = format!("a={}", "x".repeat(2000));
    says(&stage, &format!("image arguments disk -- {long}"));
    says(&stage, "image arguments disk -- c=d");
    stage.tool("dd", "if=disk of=efi bs=1M skip=2 count=64 status=none");
    stage.tool("fsck.fat", "-n efi");
    assert!(stage.tool("mtype", "-i efi ::/unikernel/boot-arguments.txt").ends_with("2048 bytes.\nc=d\n"));
    let before = fs::read(stage.path("disk")).unwrap();
    fails(&stage, &format!("image arguments disk -- {long}{long}"), "so shorten them");
    assert!(fs::read(stage.path("disk")).unwrap() == before);
    assert_eq!(stage.left(), ["disk", "disk.sha256", "efi"]);
}

#[test]
fn images_are_listed_inspected_and_deleted() {
    let stage = Stage::new();
    let shown = stage.run("image list");
    assert!(shown.code == 0 && shown.stdout.is_empty() && shown.stderr.contains("image create"), "{shown:?}");
    assert_eq!(says(&stage, "image list --json"), "[]\n");
    says(&stage, "image create --image app -o b.elf -f elf");
    says(&stage, "image create --image app -o a.img");
    let list = says(&stage, "image list");
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["PACKAGE", "FORMAT", "MIB", "AGE", "STATE", "FILE"]);
    assert_eq!((lines[1][1], lines[1][4], lines[1][5]), ("raw", "there", "STAGE/a.img"));
    assert_eq!((lines[2][1], lines[2][4], lines[2][5]), ("elf", "there", "STAGE/b.elf"));
    let seen = says(&stage, "image inspect a.img");
    assert!(seen.contains("app, as it was made\n") && seen.contains("partition    2 `efi`, 64 MiB at 2 MiB"), "{seen}");
    fs::write(stage.path("b.elf"), "changed").unwrap();
    assert_eq!(json(&stage, "image list --json")[1]["state"], "changed");
    fs::remove_file(stage.path("b.elf")).unwrap();
    assert_eq!(json(&stage, "image list --json")[1]["state"], "gone");
    // Nothing is removed where one of them is unknown.
    fails(&stage, "image delete a.img app", "app was not made by `cargo unikernel image create`");
    assert_eq!(stage.left(), ["a.img", "a.img.sha256", "b.elf.sha256"]);
    let removed = json(&stage, "image delete --json a.img b.elf");
    assert_eq!(removed["removed"].as_array().unwrap().len(), 3, "{removed}");
    assert_eq!((stage.left(), says(&stage, "image list --json")), (vec![], "[]\n".into()));
}

#[test]
fn other_files_are_no_images() {
    let stage = Stage::new();
    fs::write(stage.path("text"), "no image").unwrap();
    fails(&stage, "image inspect text", "text is no image that starts by itself");
    fails(&stage, "image inspect none", "cannot read none");
    fs::write(stage.path("disk"), [&[0; 512][..], b"EFI PART", &[0; 4096]].concat()).unwrap();
    fails(&stage, "image inspect disk", "there is no partition table; create the image again");
    says(&stage, "image create --image app -o whole -f oci");
    let whole = fs::read(stage.path("whole")).unwrap();
    fs::write(stage.path("half"), &whole[..whole.len() / 2]).unwrap();
    let shown = stage.run("image inspect half");
    assert!(shown.code == 125 && shown.stderr.contains("cannot look into half"), "{shown:?}");
    let mut damaged = whole;
    let at = damaged.windows(8).position(|bytes| bytes == b"\"config\"").unwrap();
    damaged[at + 1] = b'C';
    fs::write(stage.path("half"), damaged).unwrap();
    fails(&stage, "image inspect half", "the image is damaged: a checksum is not right");
}

/// skopeo and umoci are the reference tools for registries and for the layout.
#[test]
fn registries_tools_read_an_oci_image() {
    let stage = Stage::new();
    let made =
        json(&stage, "image create --image app -o web.tar -f oci --reference r.example.org/shop/web:1.2 --json -- a=b");
    assert_eq!(made["beside"], serde_json::json!(["web.tar.sha256", "web.tar.kubernetes.yaml"]));
    let seen: Value = serde_json::from_str(&stage.tool("skopeo", "inspect oci-archive:web.tar:1.2")).unwrap();
    assert_eq!((&seen["Architecture"], &seen["Os"]), (&"amd64".into(), &"linux".into()));
    assert_eq!(seen["Labels"]["com.urunc.unikernel.binary"], "/unikernel/kernel.elf");
    stage.tool("skopeo", "--insecure-policy copy -q oci-archive:web.tar:1.2 oci:layout:1.2");
    let raw: Value = serde_json::from_str(&stage.tool("skopeo", "inspect --raw oci:layout:1.2")).unwrap();
    assert_eq!(raw["annotations"]["com.urunc.unikernel.cmdline"], "a=b");
    let is_root = stage.tool("id", "-u").trim() == "0";
    stage.tool("umoci", &format!("unpack {}--image layout:1.2 bundle", if is_root { "" } else { "--rootless " }));
    let rootfs = stage.path("bundle/rootfs");
    let disk = fs::metadata(rootfs.join("disk/disk.qcow2")).unwrap();
    if is_root {
        use std::os::unix::fs::MetadataExt;
        assert_eq!((disk.uid(), disk.gid(), disk.mode() & 0o777), (107, 107, 0o440));
    }
    // KubeVirt wants one file there.
    assert_eq!(fs::read_dir(rootfs.join("disk")).unwrap().count(), 1);
    let urunc: Value = serde_json::from_slice(&fs::read(rootfs.join("urunc.json")).unwrap()).unwrap();
    assert_eq!(urunc["com.urunc.unikernel.binary"], "L3VuaWtlcm5lbC9rZXJuZWwuZWxm");
    assert_eq!(
        fs::read(rootfs.join("unikernel/kernel.elf")).unwrap()[0x200..],
        fs::read(stage.image()).unwrap()[0x200..]
    );
    let seen = json(&stage, "image inspect --json bundle/rootfs/disk/disk.qcow2");
    assert_eq!(seen["boot_arguments"], serde_json::json!(["a=b"]));
    let seen = json(&stage, "image inspect --json web.tar");
    assert_eq!(seen["reference"], "r.example.org/shop/web:1.2");
}

#[test]
fn the_same_parts_make_the_same_file() {
    let stage = Stage::new();
    for format in ["raw", "qcow2", "vhd", "gce", "elf", "oci"] {
        let make = |name: &str| {
            says(&stage, &format!("image create --image app -o {name} -f {format} -- a=b"));
            fs::read(stage.path(name)).unwrap()
        };
        fs::create_dir_all(stage.path("other")).unwrap();
        assert!(make("image") == make("other/image"), "{format}");
        if format == "vhd" {
            // A footer whose checksum is wrong is complained about.
            let mut look = Command::new("qemu-img");
            let seen = look.args(["info", "-f", "vpc", "image"]).current_dir(stage.folder.path()).output().unwrap();
            assert!(seen.status.success() && seen.stderr.is_empty(), "{seen:?}");
        }
    }
}

/// A signal while the archive is written, which has drafts of its own.
#[test]
fn a_signal_leaves_no_half_of_an_archive() {
    let stage = Stage::new();
    assert!(Command::new("mkfifo").arg(stage.path("fifo")).status().unwrap().success());
    stage.program("qemu-img", "for last; do :; done; echo half >\"$last\"; echo $$ >fifo; exec sleep 600");
    let mut maker = stage.command("image create --image app -o web.tar -f oci").stdout(Stdio::null()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(fs::File::open(stage.path("fifo")).unwrap()).read_line(&mut pid).unwrap();
    signal(maker.id(), "INT");
    assert_eq!(maker.wait().unwrap().code(), Some(130));
    assert!(ends(pid.trim().parse().unwrap()));
    fs::remove_file(stage.path("fifo")).unwrap();
    let shown = stage.run("image list --json");
    assert_eq!((stage.left(), shown.stdout.as_str()), (vec![], "[]\n"));
}

/// `cargo build` is the first stage: nothing is there yet that a signal could leave.
#[test]
fn a_signal_while_cargo_builds_leaves_nothing() {
    let stage = Stage::new();
    assert!(Command::new("mkfifo").arg(stage.path("fifo")).status().unwrap().success());
    let fifo = stage.path("fifo");
    let slow = format!("[ \"$1\" = metadata ] && exec \"$REAL\" \"$@\"; echo $$ >'{}'; exec sleep 600", fifo.display());
    stage.program("cargo", &slow);
    let real = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = stage.command("image create -p hello -o");
    command
        .arg(stage.path("disk"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("REAL", real)
        .env("CARGO", stage.path("bin/cargo"));
    let mut maker = command.stdout(Stdio::null()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(fs::File::open(&fifo).unwrap()).read_line(&mut pid).unwrap();
    // As a terminal that is closed does: to all of its processes.
    signal(maker.id(), "TERM");
    signal(pid.trim().parse().unwrap(), "TERM");
    assert!(!maker.wait().unwrap().success());
    assert!(ends(pid.trim().parse().unwrap()));
    fs::remove_file(&fifo).unwrap();
    let shown: Shown = stage.run("image list --json");
    assert_eq!((stage.left(), shown.stdout.as_str()), (vec![], "[]\n"));
}
