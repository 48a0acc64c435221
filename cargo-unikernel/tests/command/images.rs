//! Images of disks: made, listed, read and changed by us, and read by the tools that everybody has.

use crate::support::{Shown, Stage};
use std::{
    fs,
    io::Write,
    os::unix::fs::{FileExt, symlink},
    process::{Command, Stdio},
};

fn run(stage: &Stage, words: &str) -> String {
    let shown = stage.run(&format!("image fs {words}"));
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{words}: {shown:?}");
    shown.stdout
}

fn fails(stage: &Stage, words: &str, code: i32, stderr: &str) {
    let shown = stage.run(&format!("image fs {words}"));
    assert_eq!((shown.code, shown.stderr.as_str()), (code, stderr), "{words}: {shown:?}");
}

/// A tool of the system, in the folder of the stage.
fn tool(stage: &Stage, program: &str, arguments: &str) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output =
        Command::new(program).args(arguments.split(' ')).env("PATH", path).current_dir(stage.folder.path()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}; script/setup installs it"));
    let shown = Shown::of(output, stage.folder.path());
    assert_eq!(shown.code, 0, "{program} {arguments}: {shown:?}");
    shown.stdout
}

fn long_name() -> String {
    format!("deep/{}", "long-name-".repeat(20))
}

/// A folder with every shape of file, at a fixed time.
fn stage_with_site() -> Stage {
    let stage = Stage::new();
    fs::create_dir_all(stage.path("site/deep/er")).unwrap();
    fs::write(stage.path("site/index.html"), "<h1>hi</h1>").unwrap();
    fs::write(stage.path("site/empty"), "").unwrap();
    fs::write(stage.path("site/deep/er/large.bin"), large()).unwrap();
    fs::write(stage.path("site").join(long_name()), "long").unwrap();
    stage
}

fn large() -> Vec<u8> {
    (0..300_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn same_tree(stage: &Stage, copy: &str) {
    tool(stage, "diff", &format!("-r --no-dereference site {copy}"));
}

const FORMATS: [&str; 4] = ["erofs", "tar", "littlefs", "fat"];

#[test]
fn a_folder_goes_in_and_comes_out() {
    for format in FORMATS {
        let stage = stage_with_site();
        assert_eq!(run(&stage, &format!("create --format {format} --mtime 1000000000 -o site.img site")), "");
        let expected = format!("deep/\ndeep/er/\ndeep/er/large.bin\n{}\nempty\nindex.html\n", long_name());
        assert_eq!(run(&stage, "ls -R site.img"), expected, "{format}");
        assert_eq!(run(&stage, "ls site.img deep"), format!("er/\n{}\n", &long_name()[5..]));
        assert_eq!(run(&stage, "cat site.img /index.html"), "<h1>hi</h1>");
        run(&stage, "cp site.img:/ copy");
        same_tree(&stage, "copy");
        run(&stage, "cp site.img:index.html copy");
        run(&stage, "cp site.img:deep/er copy");
        assert_eq!(fs::read(stage.path("copy/er/large.bin")).unwrap(), large(), "{format}");
        let check = run(&stage, "check site.img");
        assert!(check.starts_with(&format!("ok: {format}, 4 files in 3 folders, 1200015 bytes read, ")), "{check}");
        assert_eq!(fs::read_dir(stage.path("copy")).unwrap().count(), 4);
    }
}

#[test]
fn the_same_folder_makes_the_same_image() {
    for format in FORMATS {
        let stage = stage_with_site();
        for output in ["one", "two"] {
            run(&stage, &format!("create --format {format} -o {output}.img site"));
        }
        assert!(fs::read(stage.path("one.img")).unwrap() == fs::read(stage.path("two.img")).unwrap(), "{format}");
    }
}

#[test]
fn listings_have_lengths_and_times() {
    let stage = stage_with_site();
    run(&stage, "create --mtime 1000000000 -o site.img site");
    let expected = "d            - 2001-09-09 01:46:40 deep/\nf            0 2001-09-09 01:46:40 empty\n\
                    f           11 2001-09-09 01:46:40 index.html\n";
    assert_eq!(run(&stage, "ls -l site.img"), expected);
    assert_eq!(run(&stage, "ls -l site.img index.html"), "f           11 2001-09-09 01:46:40 index.html\n");
    let json: serde_json::Value = serde_json::from_str(&run(&stage, "ls --json site.img")).unwrap();
    let expected = serde_json::json!([
        { "path": "deep", "kind": "directory", "len": null, "modified": 1_000_000_000 },
        { "path": "empty", "kind": "file", "len": 0, "modified": 1_000_000_000 },
        { "path": "index.html", "kind": "file", "len": 11, "modified": 1_000_000_000 },
    ]);
    assert_eq!(json, expected);
    let json: serde_json::Value = serde_json::from_str(&run(&stage, "check --json site.img")).unwrap();
    assert_eq!((&json["files"], &json["problem_count"], &json["has_checksums"]), (&4.into(), &0.into(), &true.into()));
}

#[test]
fn tar_reads_what_we_archive() {
    let stage = stage_with_site();
    symlink("deep/er", stage.path("site/link")).unwrap();
    symlink("x".repeat(150), stage.path("site/nowhere")).unwrap();
    run(&stage, "create --format tar -o site.img site");
    fs::create_dir(stage.path("copy")).unwrap();
    tool(&stage, "tar", "-xf site.img -C copy");
    same_tree(&stage, "copy");
    assert_eq!(fs::read_link(stage.path("copy/nowhere")).unwrap().as_os_str().len(), 150);
    let time = |path: &str| fs::metadata(stage.path(path)).unwrap().modified().unwrap();
    assert!(time("site/index.html").duration_since(time("copy/index.html")).unwrap().as_secs() < 1);
    assert!(run(&stage, "ls -l site.img").contains("l            -                   - nowhere\n"));
}

#[test]
fn fsck_erofs_reads_what_we_make() {
    let stage = stage_with_site();
    symlink("deep/er", stage.path("site/link")).unwrap();
    fs::hard_link(stage.path("site/index.html"), stage.path("site/deep/same.html")).unwrap();
    run(&stage, "create -o site.img site");
    tool(&stage, "fsck.erofs", "--extract=copy site.img");
    same_tree(&stage, "copy");
    assert!(tool(&stage, "dump.erofs", "--path=/deep/same.html site.img").contains("Links: 2"));
}

#[test]
fn links_are_followed_out_of_an_image_unless_they_lead_in_circles() {
    let stage = stage_with_site();
    symlink("index.html", stage.path("site/index.htm")).unwrap();
    symlink(".", stage.path("site/circle")).unwrap();
    symlink("nothing", stage.path("site/nowhere")).unwrap();
    run(&stage, "create --format tar -o site.img site");
    let left_out = "unikernel: /circle is no file or folder, and is left out\n\
                    unikernel: /nowhere is no file or folder, and is left out\n";
    fails(&stage, "cp site.img:/ copy", 1, left_out);
    assert_eq!(fs::read(stage.path("copy/index.htm")).unwrap(), b"<h1>hi</h1>");
}

#[test]
fn mtools_and_fsck_read_what_we_put_on_fat() {
    let stage = stage_with_site();
    run(&stage, "create --format fat --size 64M --mtime 1000000000 -o fat.img site");
    tool(&stage, "fsck.fat", "-n fat.img");
    fs::create_dir(stage.path("copy")).unwrap();
    tool(&stage, "mcopy", "-s -n -m -i fat.img ::/* copy");
    same_tree(&stage, "copy");
    assert!(run(&stage, "ls -l fat.img").contains("f           11 2001-09-09 01:46:40 index.html\n"));
}

#[test]
fn files_go_into_a_volume_and_replace_others() {
    for format in ["littlefs", "fat"] {
        let stage = stage_with_site();
        run(&stage, &format!("create --format {format} -o state.img site"));
        fs::write(stage.path("new.txt"), "new").unwrap();
        run(&stage, "cp new.txt state.img:/index.html");
        run(&stage, "cp new.txt state.img:/deep");
        run(&stage, "cp site state.img:/deep/er/");
        run(&stage, "cp site state.img:/again");
        assert_eq!(run(&stage, "cat state.img index.html"), "new", "{format}");
        assert_eq!(run(&stage, "cat state.img deep/new.txt"), "new");
        assert_eq!(run(&stage, "cat state.img deep/er/site/index.html"), "<h1>hi</h1>");
        run(&stage, "cp state.img:again copy");
        same_tree(&stage, "copy");
        assert!(run(&stage, "check state.img").starts_with("ok: "));
    }
}

#[test]
fn damage_is_found_and_named() {
    let stage = stage_with_site();
    run(&stage, "create --format tar -o site.img site");
    let image = fs::read(stage.path("site.img")).unwrap();
    let content = image.windows(11).position(|bytes| bytes == b"<h1>hi</h1>").unwrap();
    let file = fs::OpenOptions::new().write(true).open(stage.path("site.img")).unwrap();
    file.write_all_at(b"!", content as u64).unwrap();
    let shown = stage.run("image fs check site.img");
    assert!(shown.code == 1 && shown.stdout.contains("the disk is damaged"), "{shown:?}");
    let shown = stage.run("image fs check --json site.img");
    let json: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert!(shown.code == 1 && json["problem_count"].as_u64().unwrap() > 0, "{shown:?}");
    file.set_len(0).unwrap();
    fs::write(stage.path("noise.img"), large()).unwrap();
    let shown = stage.run("image fs check noise.img");
    assert!(shown.code == 1 && shown.stdout.contains("it holds no volume of a known format"), "{shown:?}");
}

#[test]
fn names_from_an_image_stay_in_their_folder() {
    let stage = stage_with_site();
    // What `tar` itself would refuse to unpack.
    fs::write(stage.path("evil"), "evil").unwrap();
    tool(&stage, "tar", "-cPf evil.img --transform s,evil,../stolen, evil");
    let shown = stage.run("image fs cp evil.img:/ copy");
    assert!(!stage.path("stolen").exists(), "{shown:?}");
}

#[test]
fn partitions_are_chosen_by_their_number() {
    let stage = stage_with_site();
    run(&stage, "create --format tar -o site.img site");
    let content = fs::read(stage.path("site.img")).unwrap();
    let sectors = (content.len() / 512) as u32;
    let mut disk = vec![0; 2048 * 512 + content.len()];
    disk[2048 * 512..].copy_from_slice(&content);
    // One entry of an MBR: type, first sector, sectors.
    disk[450] = 0x83;
    disk[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    disk[458..462].copy_from_slice(&sectors.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(stage.path("disk.img"), disk).unwrap();
    assert_eq!(run(&stage, "cat --partition 1 disk.img index.html"), "<h1>hi</h1>");
    run(&stage, "cp --partition 1 disk.img:/ copy");
    same_tree(&stage, "copy");
    let missing = "error: cannot take partition 2: there is no such file or folder\n";
    fails(&stage, "ls --partition 2 disk.img", 125, missing);
}

#[test]
fn an_image_that_a_machine_has_is_not_changed() {
    let stage = stage_with_site();
    run(&stage, "create --format littlefs -o state.img site");
    let mut machine = Command::new("qemu-system-x86_64");
    machine.args("-M q35 -accel tcg -display none -nodefaults -S -serial none -monitor stdio".split(' '));
    machine.args("-drive if=none,id=d0,format=raw,file=state.img -device virtio-blk-pci,drive=d0".split(' '));
    machine.current_dir(stage.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut machine = machine.spawn().unwrap();
    // The prompt comes when the disk is open.
    let mut prompt = [0; 4];
    std::io::Read::read_exact(machine.stdout.as_mut().unwrap(), &mut prompt).unwrap();
    fails(&stage, "cp app state.img:/app", 125, "error: state.img is in use; stop the VM that has it\n");
    assert_eq!(run(&stage, "cat state.img index.html"), "<h1>hi</h1>");
    machine.stdin.take().unwrap().write_all(b"quit\n").unwrap();
    assert!(machine.wait().unwrap().success());
    run(&stage, "cp app state.img:/app");
}

#[test]
fn an_interrupted_image_is_not_there() {
    let stage = stage_with_site();
    // Too long to be done before the signal.
    let large = stage.path("site/large");
    fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let mut command = stage.command("image fs create --format tar -o site.img site");
    let mut child = command.spawn().unwrap();
    let draft = stage.path(&format!(".site.img.draft-{}", child.id()));
    while !draft.exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    tool(&stage, "kill", &format!("-s INT {}", child.id()));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!stage.path("site.img").exists() && !draft.exists());
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let stage = stage_with_site();
    run(&stage, "create --format tar -o site.img site");
    let mut command = stage.command("image fs cat site.img deep/er/large.bin");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let shown = Shown::of(child.wait_with_output().unwrap(), stage.folder.path());
    assert_eq!((shown.code, shown.stderr.as_str()), (141, ""));
}

#[test]
fn what_is_wrong_is_told() {
    let stage = stage_with_site();
    run(&stage, "create --format tar -o site.img site");
    run(&stage, "create --format littlefs -o state.img site");
    fs::write(stage.path("new.txt"), "new").unwrap();
    fs::write(stage.path("blank.img"), [0; 8192]).unwrap();
    symlink("index.html", stage.path("site/link")).unwrap();
    for (words, expected) in [
        ("create -o a.img none", "none is no folder; give the one whose content goes into the image"),
        ("create -o site/a.img site", "site/a.img lies in site, so it would hold itself; put it elsewhere"),
        (
            "create --format tar --size 1M -o a.img site",
            "an image to be read has the size of its content; take `--size` away",
        ),
        (
            "create --format littlefs -o state.img site",
            "state.img is there, maybe with what an app wrote; remove it first, or copy into it: \
             `image fs cp FROM state.img:/`",
        ),
        (
            "create --format fat -o a.img site",
            "the image has 67108864 bytes; `--size` gives it more: site/link is a symbolic link, which this format has \
             not; replace it by what it leads to",
        ),
        (
            "ls none.img",
            "there is no image none.img; `cargo unikernel image fs create -o none.img FOLDER` makes one of files, \
             `cargo unikernel run --volume NAME=none.img,size=64M` one that an app fills",
        ),
        ("cat site.img none", "cannot open `none`: there is no such file or folder"),
        ("cat site.img deep", "cannot open `deep`: it is a folder"),
        ("cp new.txt site.img:/", "this image is made to be read; make it anew with `image fs create`"),
        ("cp site.img:a state.img:b", "both are in images; copy to this machine first"),
        (
            "cp new.txt none.img:/",
            "neither new.txt nor none.img:/ is in an image; write IMAGE:PATH, where IMAGE is a file that is there, such as \
             `state.img:/log.txt`",
        ),
        (
            "ls blank.img",
            "blank.img: cannot mount the disk: the disk is blank; put something on it with \
             `cargo unikernel image fs create`, or format it first",
        ),
    ] {
        fails(&stage, words, 125, &format!("error: {expected}\n"));
    }
    assert!(!stage.path("a.img").exists());
}

#[test]
fn a_volume_that_is_too_small_is_not_made() {
    let stage = stage_with_site();
    let shown = stage.run("image fs create --format littlefs --size 1M -o state.img site");
    let start = "error: the image has 1048576 bytes; `--size` gives it more: cannot ";
    assert!(shown.code == 125 && shown.stderr.starts_with(start), "{shown:?}");
    let names = fs::read_dir(stage.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.filter(|name| name.to_string_lossy().contains("state")).count() == 0);
}
