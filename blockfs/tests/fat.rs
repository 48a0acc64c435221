//! FAT volumes: those of others are read, ours are read by others, and what is broken is refused.
#![cfg(feature = "fat")]

mod common;
#[path = "common/tree.rs"]
mod tree;

use common::{Work, difference, seeds, tree_of};
use std::path::Path;
use tree::{assert_holds, awkward, blank_image, bytes, corrupted, disk, read_everything, run};
use unikernel_blockfs::{Cause, Disk, Format, Kind, Volume};
use unikernel_rt::{
    device::{BlockError, BlockOp},
    sim::{Random, SimDisk},
};

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

/// The disk as a file, for others to look at.
fn assert_clean_sim(sim: &SimDisk, folder: &Path) {
    let image = blank_image(folder, "sim", sim.len());
    let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
    for at in (0..sim.len()).step_by(1 << 20) {
        let part = sim.peek(at, (sim.len() - at).min(1 << 20) as usize);
        if part.iter().any(|byte| *byte != 0) {
            std::os::unix::fs::FileExt::write_all_at(&file, &part, at).unwrap();
        }
    }
    assert_clean(&image);
}

/// `BLOCKFS_SEEDS=1000` tries more.
#[unikernel_rt::test]
async fn random_work() {
    let folder = tempfile::tempdir().unwrap();
    for seed in seeds(12) {
        let sim = SimDisk::new(34 * MIB);
        let mut volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Fat).await.unwrap();
        let mut work = Work::new(seed);
        for number in 0..150 {
            work.operate(&volume, &mut |_| {}).await;
            if number % 50 == 49 {
                volume.sync().await.unwrap();
                assert_clean_sim(&sim, folder.path());
                drop(volume);
                volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
                let found = tree_of(&volume).await;
                assert_eq!(difference(&found, &work.tree), None, "seed {seed}, after operation {number}");
            }
        }
    }
}

#[unikernel_rt::test]
async fn full_disks() {
    let folder = tempfile::tempdir().unwrap();
    let sim = SimDisk::new(34 * MIB);
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Fat).await.unwrap();
    let total = volume.space().await.unwrap().free as usize;
    volume.write("kept", b"old").await.unwrap();
    volume.write("large", &bytes(1, total - 100_000)).await.unwrap();
    let free = volume.space().await.unwrap().free;
    assert_eq!(volume.write("kept", &bytes(2, 200_000)).await.unwrap_err().cause(), &Cause::Full);
    let file = volume.append("large").await.unwrap();
    assert_eq!(file.write_at(file.len(), &bytes(3, 200_000)).await.unwrap_err().cause(), &Cause::Full);
    assert_eq!(file.truncate(total as u64 * 2).await.unwrap_err().cause(), &Cause::Full);
    assert_eq!(file.write_at(total as u64 * 2, b"x").await.unwrap_err().cause(), &Cause::Full);
    assert_eq!(file.len(), total as u64 - 100_000);
    drop(file);
    assert_eq!(volume.read("kept", 9).await.unwrap(), &b"old"[..]);
    assert_eq!(volume.space().await.unwrap().free, free);
    assert!(volume.read("large", total).await.unwrap() == bytes(1, total - 100_000));
    let mut made = 0;
    while volume.create_folder(&format!("folder with a long name {made}")).await.is_ok() {
        made += 1;
    }
    assert!(made > 100, "{made}");
    let next = format!("folder with a long name {made}");
    assert_eq!(volume.create_folder(&next).await.unwrap_err().cause(), &Cause::Full);
    volume.sync().await.unwrap();
    assert_clean_sim(&sim, folder.path());
    volume.remove("large").await.unwrap();
    volume.create_folder(&next).await.unwrap();
    volume.sync().await.unwrap();
    assert_clean_sim(&sim, folder.path());
    assert_eq!(volume.space().await.unwrap().free, {
        let again = Volume::mount(Disk::new(sim.device())).await.unwrap();
        again.space().await.unwrap().free
    });
}

#[unikernel_rt::test]
async fn one_writer_and_many_readers() {
    let folder = tempfile::tempdir().unwrap();
    let sim = SimDisk::new(34 * MIB);
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Fat).await.unwrap();
    volume.write("file", &[1; 100_000]).await.unwrap();
    let free = volume.space().await.unwrap().free;
    let reader = volume.open("file").await.unwrap();
    let writer = volume.create("FILE").await.unwrap();
    assert_eq!(volume.edit("file").await.unwrap_err().cause(), &Cause::Busy);
    writer.write_at(0, &[2; 50_000]).await.unwrap();
    assert_eq!(volume.read("file", 1 << 20).await.unwrap(), vec![1; 100_000]);
    writer.sync().await.unwrap();
    assert_eq!(volume.read("file", 1 << 20).await.unwrap(), vec![2; 50_000]);
    // Who has the content from before goes on reading it.
    volume.write("other", &[3; 200_000]).await.unwrap();
    assert_eq!(reader.read_all(1 << 20).await.unwrap(), vec![1; 100_000]);
    volume.remove("file").await.unwrap();
    writer.write_at(50_000, &[2; 10]).await.unwrap();
    assert_eq!(writer.read_all(1 << 20).await.unwrap(), vec![2; 50_010]);
    assert_eq!(volume.open("file").await.unwrap_err().cause(), &Cause::NotFound);
    drop((reader, writer));
    volume.remove("other").await.unwrap();
    volume.sync().await.unwrap();
    assert_eq!(volume.space().await.unwrap().free, free + 100_352);
    assert_clean_sim(&sim, folder.path());
    assert_eq!(volume.create("limit").await.unwrap().truncate(1 << 32).await.unwrap_err().cause(), &Cause::TooLarge);
}

/// While something is changed, the disk says so.
#[unikernel_rt::test]
async fn the_note_of_order() {
    let sim = SimDisk::new(34 * MIB);
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Fat).await.unwrap();
    let is_in_order = || (sim.peek(16 * 1024 + 7, 1)[0] & 0x08 != 0, sim.peek(65, 1)[0] & 1 == 0);
    assert_eq!(is_in_order(), (true, true));
    let file = volume.create("file").await.unwrap();
    file.write_at(0, b"bytes").await.unwrap();
    assert_eq!(is_in_order(), (false, false));
    volume.sync().await.unwrap();
    assert_eq!(is_in_order(), (false, false), "the file is not synced");
    file.sync().await.unwrap();
    assert_eq!(is_in_order(), (true, true));
}

#[unikernel_rt::test]
async fn disks_that_fail() {
    let sim = SimDisk::new(34 * MIB);
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Fat).await.unwrap();
    volume.write("file", &[1; 100_000]).await.unwrap();
    for skipped in 0..12 {
        sim.fail(BlockOp::Write, skipped * 3 * MIB..(skipped + 1) * 3 * MIB, BlockError::Io, 1);
        drop(volume.write("file", &[2; 90_000]).await);
        drop(volume.write(&format!("new{skipped}"), &[2; 90_000]).await);
        let content = volume.read("file", 1 << 20).await.unwrap();
        assert!(content == vec![1; 100_000] || content == vec![2; 90_000], "{} bytes", content.len());
        volume.write("file", &[1; 100_000]).await.unwrap();
    }
}

/// A loss of power while formatting leaves a blank disk or a volume.
#[unikernel_rt::test]
async fn formatting_and_the_power_goes() {
    let sim = SimDisk::new(34 * MIB);
    sim.record();
    Volume::mount_or_format(Disk::new(sim.device()), Format::Fat).await.unwrap();
    let count = sim.recorded();
    let recording = sim.end_recording();
    for cut in 0..=count {
        let disk = recording.cut(cut, unikernel_rt::sim::Survivors::Some(cut as u64));
        Volume::mount_or_format(Disk::new(disk.device()), Format::Fat).await.unwrap();
    }
}

/// Whatever is wrong, there are errors or bytes, and an end; also when the volume is changed.
#[unikernel_rt::test]
async fn corrupted_volumes() {
    let sim = SimDisk::new(34 * MIB);
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Fat).await.unwrap();
    for (path, content) in awkward(512, 60) {
        volume.create_folders(path.rsplit_once('/').unwrap().0).await.unwrap();
        volume.write(&path, &content).await.unwrap();
    }
    let image = sim.peek(0, 2 << 20);
    for seed in 0..500 {
        let mut random = Random::new(seed);
        // The boot sector; the table; folders.
        let (start, len) = [(0, 512), (16 << 10, 8 << 10), (560 << 10, 64 << 10), (0, 2 << 20)][random.below(4)];
        let wrong = corrupted(&image[start..start + len], len as u64, &mut random);
        let sim = SimDisk::new(34 * MIB);
        sim.poke(0, &image);
        sim.poke(start as u64, &wrong.peek(0, len));
        if let Ok(volume) = Volume::mount(Disk::new(sim.device())).await {
            read_everything(&volume, 2000).await;
            drop(volume.space().await);
            drop(volume.write("names/new file", &[1; 5000]).await);
            drop(volume.rename("names/lower.txt", "lengths/moved").await);
            drop(volume.remove("names/no ending").await);
            drop(volume.create_folder("names/folder").await);
            drop(volume.append("lengths/513").await);
            drop(volume.sync().await);
        }
        let reads = sim.counts().reads;
        assert!(reads < 20_000, "seed {seed}: {reads} reads");
    }
}
