//! Trees of awkward files, the programs that put them into images, and the comparison with a volume.
#![allow(dead_code, reason = "every test takes what it needs")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use unikernel_blockfs::{Disk, Kind, Volume};
use unikernel_rt::sim::{FileDisk, Random, SimDisk};

/// Files by their paths; a folder is there when a file is in it.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// Bytes that say which file they are of.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(seed).fill(&mut bytes);
    bytes
}

/// Names and lengths that were trouble for somebody. `many` files are in one folder.
pub fn awkward(block_len: usize, many: usize) -> Tree {
    let names = [
        "README.TXT",
        "lower.txt",
        "Mixed Case.Text",
        "no ending",
        ".hidden",
        "many.dots.in.a.name",
        "exactly8.abc",
        "ninechars.abcd",
        "plus+comma,[brackets];=.x",
        "~1",
        "long file name one.txt",
        "long file name two.txt",
        "grüße aus köln.txt",
        "Привет.txt",
        "日本語のファイル.txt",
    ];
    let mut tree = Tree::new();
    for (number, name) in names.into_iter().enumerate() {
        tree.insert(format!("names/{name}"), name.as_bytes().repeat(number));
    }
    for len in [60, 117, 128, 143, 200, 250] {
        tree.insert(format!("names/{}", "n".repeat(len)), bytes(len as u64, len));
    }
    for blocks in [0, 1, 2, 15, 16, 17, 300] {
        for len in [blocks * block_len, (blocks * block_len).saturating_sub(1), blocks * block_len + 1] {
            tree.insert(format!("lengths/{len}"), bytes(len as u64, len));
        }
    }
    let deep: Vec<String> = (0..30).map(|depth| format!("folder {depth}")).collect();
    tree.insert(format!("{}/bottom", deep.join("/")), b"deep".to_vec());
    for number in 0..many {
        tree.insert(format!("many/a file with number {number}"), number.to_string().into_bytes());
    }
    tree
}

/// Writes the files below a folder of the workstation.
pub fn write(tree: &Tree, folder: &Path) {
    for (path, content) in tree {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The files below a folder of the workstation.
pub fn read(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                tree.insert(name.into(), fs::read(&path).unwrap());
            }
        }
    }
    tree
}

/// A new file of `len` zeros.
pub fn blank_image(folder: &Path, name: &str, len: u64) -> PathBuf {
    let path = folder.join(name);
    fs::File::create(&path).unwrap().set_len(len).unwrap();
    path
}

/// Runs a program, which must succeed, and returns what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("LC_ALL", "C.UTF-8")
        .output();
    let output = output.unwrap_or_else(|error| panic!("{program} does not run ({error}); script/check installs it"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {printed}{complained}");
    printed
}

/// An image as a disk.
pub fn disk(image: &Path, is_writable: bool) -> Disk {
    Disk::new(FileDisk::device(image, is_writable).unwrap())
}

/// Checks that a volume has these files, no others, byte for byte.
pub async fn assert_holds(volume: &Volume, tree: &Tree) {
    let found = volume.walk("").await.unwrap();
    let mut files: Vec<_> = found.into_iter().filter(|(_, kind)| *kind == Kind::File).map(|(path, _)| path).collect();
    files.sort();
    assert_eq!(files.len(), tree.len(), "the volume has other files");
    for (path, content) in tree {
        assert!(files.binary_search(path).is_ok(), "{path} is not there");
        let metadata = volume.metadata(path).await.unwrap();
        assert_eq!((metadata.kind, metadata.len), (Kind::File, content.len() as u64), "{path}");
        assert!(volume.read(path, 1 << 30).await.unwrap() == content[..], "{path} has other bytes");
    }
}

/// Bytes of a good image, in which a few are wrong.
pub fn corrupted(image: &[u8], len: u64, random: &mut Random) -> SimDisk {
    let sim = SimDisk::new(len);
    sim.poke(0, image);
    for _ in 0..1 + random.below(8) {
        let at = random.below(image.len()) as u64;
        let before = sim.peek(at, 4);
        let wrong = match random.below(6) {
            0 => vec![before[0] ^ (1 << random.below(8))],
            1 => vec![0; 4],
            2 => vec![0xff; 4],
            3 => u32::from_le_bytes(before.try_into().unwrap()).wrapping_add(1).to_le_bytes().to_vec(),
            4 => (random.below(300) as u32).to_le_bytes().to_vec(),
            _ => bytes(random.u64(), 1 + random.below(30)),
        };
        sim.poke(at, &wrong);
    }
    sim
}

/// Reads what can be read, as far as that has an end: so many names.
pub async fn read_everything(volume: &Volume, names_max: usize) {
    let mut folders = vec![String::new()];
    let mut names = 0;
    while let Some(folder) = folders.pop() {
        for entry in volume.list(&folder).await.unwrap_or_default() {
            names += 1;
            if names > names_max {
                return;
            }
            let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
            drop(volume.metadata(&path).await);
            match entry.kind {
                Kind::Folder => folders.push(path),
                _ => drop(volume.read(&path, 1 << 20).await),
            }
        }
    }
}
