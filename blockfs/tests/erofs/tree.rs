//! Awkward trees, and the comparison of a volume with the folder it was made of.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use unikernel_blockfs::{Kind, Volume};
use unikernel_rt::sim::Random;

/// Bytes of different kinds: noise, text, zeros, and pieces of each.
pub fn content(kind: usize, len: usize) -> Vec<u8> {
    let mut random = Random::new((kind * 1_000_003 + len) as u64);
    let noise = |random: &mut Random, len: usize| -> Vec<u8> { (0..len).map(|_| random.u64() as u8).collect() };
    let text =
        |len: usize| -> Vec<u8> { (0u64..).flat_map(|at| format!("{} ", at * at).into_bytes()).take(len).collect() };
    match kind {
        0 => noise(&mut random, len),
        1 => text(len),
        2 => vec![0; len],
        _ => {
            let mut bytes = Vec::new();
            while bytes.len() < len {
                let part = 1 + random.below(20_000);
                match random.below(3) {
                    0 => bytes.extend(noise(&mut random, part)),
                    1 => bytes.extend(text(part)),
                    _ => bytes.extend(vec![b'x'; part * 10]),
                }
            }
            bytes.truncate(len);
            bytes
        }
    }
}

/// Lengths around blocks, and around the most that fits behind an inode.
const LENS: [usize; 24] = [
    0, 1, 2, 31, 511, 512, 513, 3999, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 8193,
    20_000, 131_072, 1_500_000,
];

/// Files of every kind and length.
pub fn edges(root: &Path) {
    for kind in 0..4 {
        let folder = root.join(format!("kind-{kind}"));
        fs::create_dir(&folder).unwrap();
        for len in LENS {
            fs::write(folder.join(format!("{len}.bin")), content(kind, len)).unwrap();
        }
    }
}

/// Names and depths at the limits, links of all sorts. mkfs.erofs 1.5 loses names of 255 bytes, so it gets 254.
pub fn names(root: &Path, name_len_max: usize) {
    fs::create_dir(root.join("empty")).unwrap();
    let long = "n".repeat(name_len_max);
    fs::create_dir(root.join(&long)).unwrap();
    fs::write(root.join(&long).join(&long), "long").unwrap();
    for name in ["über.txt", "日本語", "emoji 🦀", "a b", "-x", "...", "~", "\u{7f}"] {
        fs::write(root.join(name), name).unwrap();
    }
    let deep: PathBuf = (0..100).map(|level| format!("level-{level}")).collect();
    fs::create_dir_all(root.join(&deep)).unwrap();
    fs::write(root.join(&deep).join("end"), "deep").unwrap();
    fs::write(root.join("original"), content(1, 5000)).unwrap();
    fs::hard_link(root.join("original"), root.join("same")).unwrap();
    symlink("original", root.join("link")).unwrap();
    symlink("link", root.join("link-to-link")).unwrap();
    symlink("../".repeat(100) + "original", root.join(&deep).join("up")).unwrap();
    symlink("level-0/level-1", root.join("folder-link")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
}

/// Many files in one folder, and in many.
pub fn many(root: &Path, count: usize) {
    let flat = root.join("flat");
    fs::create_dir(&flat).unwrap();
    for number in 0..count {
        fs::write(flat.join(format!("file-{number}")), format!("content of {number}")).unwrap();
        if number % 10 == 0 {
            let folder = root.join(format!("folder-{number}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("index.html"), content(1, number)).unwrap();
        }
    }
}

/// What a folder holds, by path.
pub fn expected(root: &Path) -> BTreeMap<String, Kind> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let file_type = entry.file_type().unwrap();
            let kind = match () {
                () if file_type.is_dir() => Kind::Folder,
                () if file_type.is_symlink() => Kind::Link,
                () if file_type.is_file() => Kind::File,
                () => Kind::Other,
            };
            if kind == Kind::Folder {
                folders.push(entry.path());
            }
            let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(path, kind);
        }
    }
    found
}

/// Compares everything: names, kinds, lengths, times, bytes, what links lead to.
pub async fn compare(volume: &Volume, root: &Path) {
    let found: BTreeMap<String, Kind> = volume.walk("").await.unwrap().into_iter().collect();
    let expected = expected(root);
    assert_eq!(found, expected);
    for (path, kind) in expected {
        let host = root.join(&path);
        let Ok(about) = fs::metadata(&host) else { continue };
        let metadata = volume.metadata(&path).await.unwrap();
        match kind {
            Kind::Folder => assert_eq!(metadata.kind, Kind::Folder, "{path}"),
            Kind::File | Kind::Link if about.is_file() => {
                assert_eq!((metadata.kind, metadata.len), (Kind::File, about.len()), "{path}");
                compare_file(volume, &path, &fs::read(&host).unwrap()).await;
            }
            _ => assert_eq!(metadata.kind == Kind::Folder, about.is_dir(), "{path}"),
        }
    }
}

/// Compares bytes: all, and parts at random.
async fn compare_file(volume: &Volume, path: &str, expected: &[u8]) {
    let bytes = volume.read(path, 1 << 30).await.unwrap();
    assert!(bytes == expected, "{path}: {} bytes differ", expected.len());
    let file = volume.open(path).await.unwrap();
    let mut random = Random::new(expected.len() as u64);
    for _ in 0..if expected.len() > 4000 { 30 } else { 3 } {
        let offset = random.below(expected.len() + 1);
        let mut part = vec![0; random.below(10_000)];
        let len = file.read_exact_at(offset as u64, &mut part).await.unwrap();
        assert_eq!(len, part.len().min(expected.len() - offset), "{path} at {offset}");
        assert!(part[..len] == expected[offset..offset + len], "{path} at {offset}");
    }
}
