//! Archives of `tar`: what the standard tool and others make is read back byte for byte.

use std::{fs, path::Path, process::Command};
use unikernel_blockfs::{Cause, Disk, Kind, Volume};
use unikernel_rt::sim::{FileDisk, Random, SimDisk};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 4096 * 31 + at % 251) as u8).collect()
}

/// Files whose names, lengths and places are awkward.
fn awkward_tree(root: &Path) -> Vec<(String, Vec<u8>)> {
    let deep = format!("{}/end", ["deep"; 60].join("/"));
    let long = "n".repeat(255);
    let mut files: Vec<(String, Vec<u8>)> = [0, 1, 511, 512, 513, 4095, 4096, 4097, 300_000]
        .into_iter()
        .map(|len| (format!("sizes/{len}"), pattern(len)))
        .collect();
    for name in ["ünï/cödé …", "a space", deep.as_str(), long.as_str(), "-dash", "back\\slash"] {
        files.push((name.into(), name.as_bytes().repeat(3)));
    }
    for number in 0..500 {
        files.push((format!("many/{number}"), number.to_string().into_bytes()));
    }
    for (path, bytes) in &files {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), bytes).unwrap();
    }
    fs::create_dir(root.join("empty")).unwrap();
    for (link, to) in [("link", "sizes/513"), ("sizes/up", "../a space"), ("absolute", "/sizes/1"), ("folder", "many")]
    {
        std::os::unix::fs::symlink(to, root.join(link)).unwrap();
    }
    std::os::unix::fs::symlink("loop-b", root.join("loop-a")).unwrap();
    std::os::unix::fs::symlink("loop-a", root.join("loop-b")).unwrap();
    fs::hard_link(root.join("sizes/4097"), root.join("hard")).unwrap();
    files
}

async fn check(image: std::path::PathBuf, files: Vec<(String, Vec<u8>)>) {
    let volume = Volume::mount(Disk::new(FileDisk::device(&image, false).unwrap())).await.unwrap();
    for (path, bytes) in &files {
        assert_eq!(volume.read(path, 1 << 20).await.unwrap(), bytes, "{path}");
        assert_eq!(volume.metadata(path).await.unwrap().len, bytes.len() as u64);
    }
    for (link, to) in [("link", 513), ("absolute", 1), ("hard", 4097)] {
        assert_eq!(volume.read(link, 1 << 20).await.unwrap(), pattern(to), "{link}");
    }
    assert_eq!(volume.read("sizes/up", 100).await.unwrap(), b"a space".repeat(3));
    assert_eq!(volume.read("folder/7", 100).await.unwrap(), "7");
    assert_eq!(volume.list("many").await.unwrap().len(), 500);
    assert!(volume.list("empty").await.unwrap().is_empty());
    let check_error = async |path: &str, expected: Cause| {
        assert_eq!(volume.open(path).await.unwrap_err().cause(), &expected, "{path}");
    };
    check_error("nope", Cause::NotFound).await;
    check_error("many", Cause::IsAFolder).await;
    check_error("link/x", Cause::NotAFolder).await;
    check_error("loop-a", Cause::TooManyLinks).await;
    check_error("../etc", Cause::InvalidName).await;
    assert_eq!(volume.create("new").await.unwrap_err().cause(), &Cause::ReadOnly);
    let links = volume.walk("").await.unwrap().into_iter().filter(|(_, kind)| *kind == Kind::Link).count();
    assert_eq!(links, 6);
}

#[test]
fn archives_of_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    let files = awkward_tree(&root);
    for format in ["ustar", "gnu", "posix", "oldgnu"] {
        let image = folder.path().join(format);
        let mut tar = Command::new("tar");
        tar.arg(format!("--format={format}")).arg("-cf").arg(&image).arg("-C").arg(&root);
        // What ustar cannot say is left out by hand.
        if format == "ustar" {
            tar.arg(format!("--exclude={}", "n".repeat(255))).arg("--exclude=./deep");
        }
        assert!(tar.arg(".").status().expect("install tar").success(), "{format}");
        let is_in = |path: &str| format != "ustar" || !(path.starts_with("deep/") || path.starts_with("nnn"));
        let files = files.iter().filter(|(path, _)| is_in(path)).cloned().collect();
        unikernel_rt::sim::run("", check(image, files));
    }
}

/// Damage is an error or changes content only: no panic, no hang.
#[test]
fn damaged_archives() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    awkward_tree(&root);
    let image = folder.path().join("image");
    let done = Command::new("tar").arg("-cf").arg(&image).arg("-C").arg(&root).arg(".").status().unwrap();
    assert!(done.success());
    let image = fs::read(image).unwrap();
    unikernel_rt::sim::run("", async move {
        let mut refused = 0;
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut image = image.clone();
            for _ in 0..1 + random.below(20) {
                let at = random.below(image.len());
                image[at] = random.u64() as u8;
            }
            let Ok(volume) = Volume::mount(Disk::new(SimDisk::from_bytes(&image).device())).await else {
                refused += 1;
                continue;
            };
            for (path, _) in volume.walk("").await.unwrap_or_default() {
                drop(volume.read(&path, 1 << 20).await);
            }
        }
        assert!(refused > 100, "{refused} of 300 were refused");
    });
}
