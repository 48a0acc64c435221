//! Volumes of `mke2fs`: read byte for byte, or refused.
#![cfg(feature = "ext4")]

#[path = "common/tree.rs"]
mod tree;

use std::path::{Path, PathBuf};
use tree::{assert_holds, awkward, blank_image, corrupted, disk, read_everything, run};
use unikernel_blockfs::{Cause, Disk, Format, Kind, Volume};
use unikernel_rt::sim::Random;

const MIB: u64 = 1 << 20;

/// An image with the files of a folder.
fn image_of(folder: &Path, files: &Path, options: &[&str], len: u64) -> PathBuf {
    let image = blank_image(folder, "image", len);
    run("mke2fs", &[&["-q", "-F", "-d", files.to_str().unwrap()], options, &[image.to_str().unwrap()]].concat());
    image
}

#[unikernel_rt::test]
async fn volumes_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    let mut tree = awkward(1024, 300);
    tree.extend(awkward(4096, 0));
    tree::write(&tree, &files);
    for options in [
        &["-t", "ext4", "-L", "MY DISK"][..],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "2048", "-I", "128"],
        &["-t", "ext4", "-b", "4096", "-O", "^64bit,^metadata_csum"],
        &["-t", "ext4", "-O", "^has_journal,metadata_csum_seed"],
        &["-t", "ext4", "-O", "^flex_bg,^extents,^64bit"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext2", "-b", "4096", "-O", "^filetype"],
    ] {
        let image = image_of(folder.path(), &files, options, 64 * MIB);
        let volume = Volume::mount(disk(&image, false)).await.unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!((volume.info().format, volume.info().is_read_only), (Format::Ext4, true));
        assert_eq!(volume.info().label, if options.contains(&"-L") { "MY DISK" } else { "" });
        assert_holds(&volume, &tree).await;
        assert_eq!(volume.write("new", b"").await.unwrap_err().cause(), &Cause::ReadOnly);
        let modified = volume.metadata("names/lower.txt").await.unwrap().modified.unwrap();
        let there = std::fs::metadata(files.join("names/lower.txt")).unwrap().modified().unwrap();
        assert_eq!(modified, there.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
    }
}

#[unikernel_rt::test]
async fn many_files() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    let mut tree = awkward(4096, 10_000);
    tree::write(&tree, &files);
    let image = image_of(folder.path(), &files, &["-t", "ext4", "-N", "12000"], 128 * MIB);
    let volume = Volume::mount(disk(&image, false)).await.unwrap();
    assert_eq!(volume.list("many").await.unwrap().len(), 10_000);
    // A name is looked for through all of its folder, which takes a while where nothing is optimised.
    tree.retain(|path, _| !path.starts_with("many/") || path.ends_with("77"));
    for (path, content) in &tree {
        assert!(volume.read(path, 1 << 30).await.unwrap() == content[..], "{path}");
    }
}

#[unikernel_rt::test]
async fn sparse_files() {
    for options in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"]] {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let len = 6 << 30;
        let file = std::fs::File::create(files.join("sparse")).unwrap();
        file.set_len(len).unwrap();
        let places = [0, 12 << 10, 300 << 10, 70 << 20, 5 << 30, len - 8];
        for at in places {
            std::os::unix::fs::FileExt::write_all_at(&file, &at.to_le_bytes(), at).unwrap();
        }
        let image = image_of(folder.path(), &files, options, 64 * MIB);
        let volume = Volume::mount(disk(&image, false)).await.unwrap();
        let file = volume.open("sparse").await.unwrap();
        assert_eq!(file.len(), len);
        for at in places {
            let mut bytes = [1; 24];
            let start = at.saturating_sub(8);
            let count = file.read_exact_at(start, &mut bytes).await.unwrap();
            let mut expected = [0; 24];
            expected[(at - start) as usize..][..8].copy_from_slice(&at.to_le_bytes());
            assert_eq!(bytes[..count], expected[..count], "at {at}");
        }
    }
}

#[unikernel_rt::test]
async fn links() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir_all(files.join("a/b")).unwrap();
    std::fs::write(files.join("a/b/file"), "content").unwrap();
    let long = format!("{}a/b/file", "./".repeat(100));
    for (link, target) in [
        ("short", "a/b/file"),
        ("long", &long),
        ("absolute", "/a/b/file"),
        ("a/b/up", "../../short"),
        ("out", "../../../a/b/file"),
        ("folder", "a/b"),
        ("nowhere", "a/c"),
        ("circle", "circle"),
        ("through", "folder/../b/up"),
    ] {
        std::os::unix::fs::symlink(target, files.join(link)).unwrap();
    }
    let image = image_of(folder.path(), &files, &["-t", "ext4"], 16 * MIB);
    let volume = Volume::mount(disk(&image, false)).await.unwrap();
    for path in ["short", "long", "absolute", "a/b/up", "out", "folder/file", "through", "folder/up"] {
        assert_eq!(volume.read(path, 99).await.unwrap(), &b"content"[..], "{path}");
    }
    for (path, cause) in [
        ("nowhere", Cause::NotFound),
        ("circle", Cause::TooManyLinks),
        ("folder", Cause::IsAFolder),
        ("short/x", Cause::NotAFolder),
        ("a", Cause::IsAFolder),
        ("b", Cause::NotFound),
    ] {
        assert_eq!(volume.read(path, 99).await.unwrap_err().cause(), &cause, "{path}");
    }
    assert_eq!(volume.metadata("folder").await.unwrap().kind, Kind::Folder);
    let list = volume.list("").await.unwrap();
    assert_eq!(list.iter().find(|entry| entry.name == "folder").unwrap().kind, Kind::Link);
}

/// A file with room that was never written, as databases make them: it has zeros, not what the disk had there.
#[unikernel_rt::test]
async fn room_that_was_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("old"), vec![7; 300_000]).unwrap();
    let image = image_of(folder.path(), &files, &["-t", "ext4"], 16 * MIB);
    let path = image.to_str().unwrap();
    let commands = "rm old\nwrite /dev/null new\nfallocate new 0 49\nset_inode_field new size 200000\n";
    let script = folder.path().join("commands");
    std::fs::write(&script, commands).unwrap();
    run("debugfs", &["-w", "-f", script.to_str().unwrap(), path]);
    let volume = Volume::mount(disk(&image, false)).await.unwrap();
    assert_eq!(volume.read("new", 1 << 20).await.unwrap(), vec![0; 200_000]);
}

#[unikernel_rt::test]
async fn volumes_that_need_their_journal() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let image = image_of(folder.path(), &files, &["-t", "ext4"], 16 * MIB);
    run("debugfs", &["-w", "-R", "feature needs_recovery", image.to_str().unwrap()]);
    let error = Volume::mount(disk(&image, false)).await.unwrap_err();
    assert!(error.to_string().contains("e2fsck"), "{error}");
}

/// Whatever is wrong, there are errors or bytes, and an end.
#[unikernel_rt::test]
async fn corrupted_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    tree::write(&awkward(1024, 60), &files);
    std::os::unix::fs::symlink("../names/lower.txt", files.join("lengths/link")).unwrap();
    for options in [
        &["-t", "ext4", "-b", "1024", "-I", "256", "-O", "^metadata_csum,^has_journal"][..],
        &["-t", "ext4", "-b", "1024", "-O", "^has_journal"],
        &["-t", "ext2", "-b", "1024"],
    ] {
        let image = image_of(folder.path(), &files, options, 4 * MIB);
        let image = std::fs::read(image).unwrap();
        // Superblock, groups, inodes and folders are at the start.
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let part = [1400, 4096, 80 << 10, 700 << 10, 4 << 20][random.below(5)];
            let sim = corrupted(&image[..part], 4 * MIB, &mut random);
            sim.poke(part as u64, &image[part..]);
            if let Ok(volume) = Volume::mount(Disk::new(sim.device())).await {
                read_everything(&volume, 2000).await;
            }
            let reads = sim.counts().reads;
            assert!(reads < 20_000, "seed {seed}: {reads} reads");
        }
    }
}
