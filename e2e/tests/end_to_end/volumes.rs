//! The examples that have disks: what the standard tools make is served byte for byte, and what is written survives.

use e2e::{
    client::{curl, get},
    image::tool,
    vm::Vm,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// The reference implementation of littlefs, as `script/setup` installs it, with the program of `blockfs`' own tests.
pub(crate) fn littlefs_dump(image: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = root.join("target/littlefs-python/bin/python");
    assert!(python.exists(), "littlefs' reference is missing; install it with `. script/setup; setup_littlefs`");
    // The block length stands in the superblock (littlefs, SPEC.md, "Superblock").
    let start = fs::read(image).unwrap();
    let block_len = u32::from_le_bytes(start[24..28].try_into().unwrap());
    let script = root.join("blockfs/tests/interchange.py");
    let output = Command::new(python).arg(script).arg("dump").arg(image).arg(block_len.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Our own check of an image.
pub(crate) fn check(image: &Path) {
    let output = Command::new(tool()).args(["image", "fs", "check"]).arg(image).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 4096 * 31 + at % 251 + seed * 7) as u8).collect()
}

/// Files of many lengths, in folders, with names that are not plain.
fn tree(folder: &TempDir) -> (PathBuf, Vec<(String, Vec<u8>)>) {
    let root = folder.path().join("tree");
    let lens = [0, 1, 600, 4095, 4096, 4097, 65_536, 300_000, 5_000_000];
    let mut files: Vec<(String, Vec<u8>)> =
        lens.iter().enumerate().map(|(seed, len)| (format!("sizes/{len}.bin"), pattern(seed, *len))).collect();
    for number in 0..150 {
        files.push((format!("many/deep/er/file {number}.txt"), pattern(number, number * 37)));
    }
    files.push(("index.html".into(), b"<h1>from disk</h1>".to_vec()));
    // Long enough for long names in FAT: short ones depend on a code page that nobody tells.
    files.push(("ünïcödé und länger/schöne Grüße.txt".into(), b"text".repeat(1000)));
    for (path, bytes) in &files {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), bytes).unwrap();
    }
    (root, files)
}

fn run(command: &mut Command) {
    // mtools writes names in the letters of the locale.
    let output = command.env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; script/test installs it"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn escaped(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Serves the image on this machine and compares every file.
fn is_served(image: &Path, machine: &str, files: &[(String, Vec<u8>)]) {
    let vm = Vm::serving("site-from-disk", &format!("--machine {machine} --disk {},ro", image.display()));
    for (path, bytes) in files {
        let response = get(vm.port, &format!("/{}", escaped(path)));
        assert!(response.status == 200 && response.body == *bytes, "{path} of {}: {}", image.display(), response.head);
    }
    let part = curl(&["-r", "100000-199999", &vm.url("/sizes/300000.bin")]).stdout;
    let whole = &files.iter().find(|(path, _)| path.ends_with("300000.bin")).unwrap().1;
    assert!(part == whole[100_000..200_000]);
    assert_eq!(get(vm.port, "/nope").status, 404);
}

#[test]
fn images_of_the_standard_tools_are_served_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (root, files) = tree(&folder);
    let path = |name: &str| folder.path().join(name);
    run(Command::new("mkfs.erofs").arg("--quiet").arg(path("erofs")).arg(&root));
    is_served(&path("erofs"), "q35", &files);
    run(Command::new("mkfs.erofs").arg("--quiet").arg("-zlz4hc").arg(path("lz4")).arg(&root));
    is_served(&path("lz4"), "microvm,acpi=on", &files);
    run(Command::new("tar").arg("-cf").arg(path("tar")).arg("-C").arg(&root).arg("."));
    is_served(&path("tar"), "microvm,acpi=off", &files);
    run(Command::new("/usr/sbin/mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(path("ext4")).arg("32M"));
    is_served(&path("ext4"), "pc", &files);
    fs::File::create(path("fat")).unwrap().set_len(64 << 20).unwrap();
    run(Command::new("/usr/sbin/mkfs.fat").args(["-F", "32"]).arg(path("fat")));
    for part in fs::read_dir(&root).unwrap() {
        run(Command::new("mcopy").arg("-si").arg(path("fat")).arg(part.unwrap().path()).arg("::"));
    }
    is_served(&path("fat"), "q35", &files);
}

#[test]
fn a_folder_is_served_as_it_is_now() {
    let folder = tempfile::tempdir().unwrap();
    let (root, files) = tree(&folder);
    is_served(&root, "q35", &files);
    fs::write(root.join("index.html"), "another").unwrap();
    let vm = Vm::serving("site-from-disk", &format!("--disk {}", root.display()));
    assert_eq!(get(vm.port, "/").body, b"another");
}

#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let check = |package: &str, words: &str, reason: &str| {
        let end = Vm::start(package, words).ends();
        assert!(matches!(end.code, 1 | 2) && end.text.contains(reason), "{end:?}");
    };
    let disk = format!("--disk {}", path.display());
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    check("site-from-disk", &disk, "the disk is blank");
    fs::write(&path, b"something else".repeat(10_000)).unwrap();
    check("site-from-disk", &disk, "no volume of a known format");
    check("notes", &disk, "no volume of a known format");
    assert_eq!(fs::read(&path).unwrap(), b"something else".repeat(10_000));
}

fn put(port: u16, path: &str, body: &str) -> String {
    let url = format!("http://127.0.0.1:{port}{path}");
    curl(&["-X", "PUT", "-d", body, "-o", "/dev/null", "-w", "%{http_code}", &url]).text().to_owned()
}

#[test]
fn notes_are_there_after_the_machine_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("notes.img");
    let words = format!("--volume notes={},size=16M", image.display());
    for machine in ["q35", "microvm,acpi=on"] {
        let vm = Vm::serving("notes", &format!("{words} --machine {machine}"));
        for number in 0..20 {
            let status = put(vm.port, &format!("/notes/{number}"), &format!("\"note {number} on {machine}\""));
            assert!(matches!(&*status, "201" | "204"), "{status}");
        }
        // Dropping it is a SIGKILL.
        drop(vm);
        let vm = Vm::serving("notes", &words);
        for number in 0..20 {
            let note = get(vm.port, &format!("/notes/{number}"));
            assert_eq!(String::from_utf8(note.body).unwrap(), format!("\"note {number} on {machine}\""));
        }
    }
    check(&image);
    assert_eq!(littlefs_dump(&image).lines().filter(|line| line.starts_with("/notes/")).count(), 20);
}

/// `UPLOAD_LEN` bytes, by default 48 MiB: more than the machine has memory.
#[test]
fn uploads_are_larger_than_the_memory() {
    let len: usize = env::var("UPLOAD_LEN").map_or(48 << 20, |len| len.parse().expect("a number of bytes"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upload");
    let content = pattern(3, len);
    fs::write(&file, &content).unwrap();
    let image = folder.path().join("uploads.img");
    let size = (len / (1 << 20) * 5 / 4 + 32).next_multiple_of(16);
    let words = format!("--memory 32M --volume uploads={},size={size}M", image.display());
    let vm = Vm::serving("uploads", &words);
    let url = vm.url("/film.bin");
    let sent = curl(&["-T", &file.display().to_string(), "-w", "%{http_code} %{time_total}", &url]);
    assert!(sent.text().starts_with("201"), "{}", sent.text());
    drop(vm);
    let vm = Vm::serving("uploads", &words);
    let back = folder.path().join("back");
    let time = curl(&["-o", &back.display().to_string(), "-w", "%{time_total}", &vm.url("/film.bin")]);
    assert!(fs::read(&back).unwrap() == content);
    println!("{len} bytes: {} s up, {} s down", sent.text().split_once(' ').unwrap().1, time.text());
    let tail = curl(&["-r", "-1000", &vm.url("/film.bin")]).stdout;
    assert!(tail == content[len - 1000..]);
    drop(vm);
    let crc = format!("\t{len}\t");
    assert!(littlefs_dump(&image).lines().any(|line| line.starts_with("/film.bin") && line.contains(&crc)));
}

#[test]
fn one_image_has_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("notes.img");
    let words = format!("--volume notes={}", image.display());
    let _vm = Vm::serving("notes", &words);
    let end = Vm::start("notes", &words).ends();
    assert!(end.code != 0 && end.text.contains("another"), "{end:?}");
}
