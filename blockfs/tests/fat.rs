//! FAT volumes: those of others are read, ours are read by others, and what is broken is refused.

#[path = "common/tree.rs"]
mod tree;

use std::path::Path;
use tree::{assert_holds, awkward, blank_image, disk, run};
use unikernel_blockfs::{Cause, Format, Kind, Volume};

const MIB: u64 = 1 << 20;

/// An image of `mkfs.fat` with the files of a tree, which mtools put there.
fn image_of(folder: &Path, options: &[&str], len: u64, tree: &tree::Tree) -> std::path::PathBuf {
    let (image, files) = (blank_image(folder, "image", len), folder.join("files"));
    run("mkfs.fat", &[options, &[image.to_str().unwrap()]].concat());
    tree::write(tree, &files);
    copy_in(&image, &files);
    image
}

fn copy_in(image: &Path, files: &Path) {
    for entry in std::fs::read_dir(files).unwrap() {
        run("mcopy", &["-s", "-i", image.to_str().unwrap(), entry.unwrap().path().to_str().unwrap(), "::/"]);
    }
}

/// What mtools read from an image.
fn copy_out(image: &Path, folder: &Path) -> tree::Tree {
    let to = folder.join("copied");
    std::fs::create_dir(&to).unwrap();
    run("mcopy", &["-s", "-n", "-i", image.to_str().unwrap(), "::/*", to.to_str().unwrap()]);
    tree::read(&to)
}

fn assert_clean(image: &Path) {
    let printed = run("fsck.fat", &["-n", "-v", image.to_str().unwrap()]);
    assert!(!printed.contains("Dirty"), "{printed}");
}

#[unikernel_rt::test]
async fn volumes_of_others() {
    for (options, len, is_read_only) in [
        (&["-F", "32", "-s", "1"][..], 64 * MIB, false),
        (&["-F", "32", "-s", "8", "-n", "MY DISK"], 400 * MIB, false),
        (&["-F", "32", "-s", "8", "-S", "4096"], 4096 * MIB, false),
        (&["-F", "32", "-f", "1"], 64 * MIB, false),
        (&["-F", "16"], 32 * MIB, true),
        (&["-F", "12", "-s", "32"], 16 * MIB, true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tree = awkward(4096, 300);
        let image = image_of(folder.path(), options, len, &tree);
        let volume = Volume::mount(disk(&image, true)).await.unwrap();
        assert_eq!(volume.info().format, Format::Fat);
        assert_eq!(volume.info().is_read_only, is_read_only, "{options:?}");
        assert_eq!(volume.info().label, if options.contains(&"-n") { "MY DISK" } else { "" });
        assert_holds(&volume, &tree).await;
    }
}

#[unikernel_rt::test]
async fn others_read_our_volumes() {
    for len in [34 * MIB, 100 * MIB, 300 * MIB, 9000 * MIB] {
        let folder = tempfile::tempdir().unwrap();
        let image = blank_image(folder.path(), "image", len);
        let tree = awkward(4096, 300);
        let volume = Volume::mount_or_format(disk(&image, true), Format::Fat).await.unwrap();
        for (path, content) in &tree {
            volume.create_folders(path.rsplit_once('/').unwrap().0).await.unwrap();
            volume.write(path, content).await.unwrap();
        }
        assert_holds(&volume, &tree).await;
        assert_clean(&image);
        let copied = copy_out(&image, folder.path());
        assert!(copied.keys().eq(tree.keys()), "mtools found {:?}", copied.keys());
        assert!(copied == tree, "mtools read other bytes");
        let again = Volume::mount(disk(&image, false)).await.unwrap();
        assert_eq!(again.space().await.unwrap(), volume.space().await.unwrap());
        assert_holds(&again, &tree).await;
    }
}

#[unikernel_rt::test]
async fn names_that_fat_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let image = blank_image(folder.path(), "image", 40 * MIB);
    let volume = Volume::format(disk(&image, true), Format::Fat).await.unwrap();
    for name in ["a:b", "what?", "a*", "a|b", "<a>", "back\\slash", "quote\"", "end.", "end ", "\u{1}"] {
        assert_eq!(volume.write(name, b"").await.unwrap_err().cause(), &Cause::InvalidName, "{name}");
        assert_eq!(volume.read(name, 9).await.unwrap_err().cause(), &Cause::NotFound, "{name}");
    }
    // Names that mtools cannot have.
    for name in ["emoji 🦀.txt", &"n".repeat(255), &"ß".repeat(127)] {
        volume.write(name, name.as_bytes()).await.unwrap();
        assert_eq!(volume.read(name, 999).await.unwrap(), name.as_bytes());
        volume.remove(name).await.unwrap();
    }
    // A short name that a long one would have had.
    volume.write("LONGFI~1.TXT", b"short").await.unwrap();
    volume.write("long file name.txt", b"long").await.unwrap();
    assert_eq!(volume.read("longfi~1.txt", 9).await.unwrap(), &b"short"[..]);
    assert_eq!(volume.read("longfi~2.txt", 9).await.unwrap(), &b"long"[..]);
    volume.remove("LONGFI~2.TXT").await.unwrap();
    volume.remove("longfi~1.txt").await.unwrap();
    volume.write("Grüße.txt", b"1").await.unwrap();
    assert_eq!(volume.read("GRÜSSE.TXT", 9).await.unwrap_err().cause(), &Cause::NotFound);
    assert_eq!(volume.read("gRÜßE.TXT", 9).await.unwrap(), &b"1"[..]);
    volume.write("GRÜßE.TXT", b"2").await.unwrap();
    assert_eq!(volume.list("").await.unwrap().len(), 1);
    volume.rename("grüße.txt", "GRÜßE.TXT").await.unwrap();
    let list = volume.list("").await.unwrap();
    assert_eq!((&*list[0].name, list[0].kind, list.len()), ("GRÜßE.TXT", Kind::File, 1));
    volume.sync().await.unwrap();
    assert_clean(&image);
}
