//! Images with bytes that somebody changed: an error or some content, never a panic, never an endless loop.

use crate::{
    tools::{folder, mkfs},
    tree::content,
};
use std::{cell::Cell, fs, os::unix::fs::symlink};
use unikernel_blockfs::{Disk, Kind, Volume};
use unikernel_rt::sim::{Random, SimDisk};

/// Variants of each image.
const VARIANTS: u64 = 1500;
/// A walk ends after so many entries, ...
const ENTRIES_MAX: usize = 300;
/// ... and a read after so many bytes.
const READ_LEN_MAX: u64 = 200_000;
/// More reads than these of an image of some hundred kilobytes would be a loop: each entry may cost a binary search.
const READS_MAX: usize = 20_000;

/// A small tree with everything in it.
fn image(name: &str, options: &[&str]) -> Vec<u8> {
    let source = folder(name);
    fs::create_dir_all(source.join("folder/inner")).unwrap();
    for (number, len) in [0, 10, 5000, 40_000].into_iter().enumerate() {
        fs::write(source.join(format!("file-{number}")), content(1, len)).unwrap();
        fs::write(source.join(format!("folder/mixed-{number}")), content(3, len)).unwrap();
    }
    fs::write(source.join("zeros"), content(2, 70_000)).unwrap();
    for number in 0..200 {
        fs::write(source.join(format!("folder/inner/{number}-{}", "x".repeat(30))), "").unwrap();
    }
    symlink("folder/mixed-1", source.join("link")).unwrap();
    symlink("/folder/inner", source.join("folder-link")).unwrap();
    // Without a sum the superblock can be changed as well.
    fs::read(mkfs(&source, &[&["-Enosbcrc", "-T1"], options].concat())).unwrap()
}

/// Changes one to six fields: half of the time in the blocks that are not content, where the numbers are.
fn change(image: &mut [u8], random: &mut Random) {
    const VALUES: [u64; 10] = [0, 1, 2, 0x7f, 0x800, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX];
    for _ in 0..1 + random.below(6) {
        let at = match random.below(4) {
            0 => 1024 + random.below(128),
            1 => 1024 + random.below(8192),
            _ => random.below(image.len()),
        };
        let value = if random.below(2) == 0 { random.u64() } else { VALUES[random.below(VALUES.len())] };
        let len = 1 << random.below(4);
        let field = &mut image[at..];
        let len = len.min(field.len());
        field[..len].copy_from_slice(&value.to_le_bytes()[..len]);
    }
}

/// Reads all there is, within bounds. Counts what could be read.
async fn read_everything(volume: &Volume, random: &mut Random, entries: &Cell<usize>) {
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let Ok(listed) = volume.list(&folder).await else { continue };
        for entry in listed {
            entries.set(entries.get() + 1);
            if entries.get() > ENTRIES_MAX {
                return;
            }
            let path = format!("{folder}/{}", entry.name);
            if volume.metadata(&path).await.is_ok_and(|about| about.kind == Kind::Folder) {
                folders.push(path.clone());
            }
            read_file(volume, &path, random).await;
        }
    }
}

async fn read_file(volume: &Volume, path: &str, random: &mut Random) {
    let Ok(file) = volume.open(path).await else { return };
    let starts = [0, random.u64() % (file.len() + 1), file.len().saturating_sub(1), file.len().saturating_sub(5000)];
    for start in starts {
        let mut at = start;
        while at < file.len() && at - start < READ_LEN_MAX {
            let Ok(bytes) = file.read_at(at, 1 + random.below(100_000)).await else { break };
            assert!(!bytes.is_empty(), "{path} at {at}");
            at += bytes.len() as u64;
        }
    }
}

async fn check(name: &str, options: &[&str]) {
    let image = image(name, options);
    let mut mounted = 0;
    for seed in 0..VARIANTS {
        let mut random = Random::new(seed);
        let mut bytes = image.clone();
        change(&mut bytes, &mut random);
        let sim = SimDisk::from_bytes(&bytes);
        let disk = Disk::new(sim.device());
        if let Ok(volume) = Volume::mount(disk).await {
            mounted += 1;
            read_everything(&volume, &mut random, &Cell::new(0)).await;
        }
        assert!(sim.counts().reads < READS_MAX as u64, "seed {seed} of {name}: {:?}", sim.counts());
    }
    assert!(mounted > VARIANTS / 4, "only {mounted} variants of {name} could be mounted");
}

#[unikernel_rt::test]
async fn plain() {
    check("hostile-plain", &[]).await;
}
#[unikernel_rt::test]
async fn extended() {
    check("hostile-extended", &["-Eforce-inode-extended"]).await;
}
#[unikernel_rt::test]
async fn chunks() {
    check("hostile-chunks", &["--chunksize=4096"]).await;
}
#[unikernel_rt::test]
async fn compressed() {
    check("hostile-lz4", &["-zlz4"]).await;
}
#[unikernel_rt::test]
async fn compressed_with_full_indexes() {
    check("hostile-lz4-full", &["-zlz4", "-Elegacy-compress"]).await;
}
#[unikernel_rt::test]
async fn compressed_in_big_clusters() {
    check("hostile-lz4-big", &["-zlz4hc", "-C65536", "-Eztailpacking"]).await;
}
