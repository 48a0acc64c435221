//! What mounting, opening and reading cost: requests to the device, and looks into its cache.

use crate::{
    tools::{folder, mkfs},
    tree::{content, many},
};
use std::fs::{self, File};
use unikernel_blockfs::{Disk, Volume, erofs::Builder};
use unikernel_rt::{
    device::BlockInfo,
    sim::{Counts, SimDisk},
};

fn reads(sim: &SimDisk) -> u64 {
    let Counts { reads, .. } = sim.counts();
    reads
}

/// Mounts a copy of the image in memory.
async fn mount_counted(image: &[u8]) -> (SimDisk, Volume, Disk) {
    let sim = SimDisk::from_bytes(image);
    sim.configure(|info: &mut BlockInfo| info.is_read_only = true);
    let disk = Disk::new(sim.device());
    let volume = Volume::mount(disk.clone()).await.unwrap();
    (sim, volume, disk)
}

/// 10,000 files in one folder of 100 blocks: a handful of requests, one per step of the binary search at most.
#[unikernel_rt::test]
async fn a_large_folder_is_not_read_whole() {
    let source = folder("costs-many");
    many(&source, 10_000);
    let ours = source.with_extension("ours");
    Builder::from_folder(&source).unwrap().write(&mut File::create(&ours).unwrap()).unwrap();
    for image in [ours, mkfs(&source, &[])] {
        let (sim, volume, disk) = mount_counted(&fs::read(&image).unwrap()).await;
        assert!(reads(&sim) <= 6, "mounting took {} reads", reads(&sim));
        let before = reads(&sim);
        assert_eq!(volume.read("flat/file-7777", 100).await.unwrap(), "content of 7777");
        assert!(reads(&sim) - before <= 16, "the first file took {} reads", reads(&sim) - before);
        // Warm: nothing but the bytes themselves is looked for, once.
        let (before, hits) = (reads(&sim), disk.cache_stats().hits);
        assert_eq!(volume.read("flat/file-7777", 100).await.unwrap(), "content of 7777");
        assert_eq!((reads(&sim), disk.cache_stats().hits), (before, hits + 1));
    }
}

/// More paths than are remembered, again and again.
#[unikernel_rt::test]
async fn paths_are_forgotten_and_found_again() {
    let source = folder("costs-names");
    many(&source, 3000);
    let (_, volume, _) = mount_counted(&fs::read(mkfs(&source, &[])).unwrap()).await;
    for round in 0..3 {
        for number in 0..3000 {
            let path = format!("flat/file-{number}");
            assert_eq!(volume.read(&path, 100).await.unwrap(), format!("content of {number}"), "round {round}");
        }
    }
}

/// Plain content goes out in the pieces in which it was read, 128 KiB each.
#[unikernel_rt::test]
async fn plain_content_is_read_in_large_pieces() {
    let source = folder("costs-plain");
    let bytes = content(0, 4 << 20);
    fs::write(source.join("file"), &bytes).unwrap();
    let (sim, volume, _) = mount_counted(&fs::read(mkfs(&source, &[])).unwrap()).await;
    let file = volume.open("file").await.unwrap();
    let (mut at, before) = (0, reads(&sim));
    while at < bytes.len() {
        let piece = file.read_at(at as u64, usize::MAX).await.unwrap();
        assert!(piece == bytes[at..at + piece.len()]);
        at += piece.len();
    }
    assert!(reads(&sim) - before <= 40, "4 MiB took {} reads", reads(&sim) - before);
}

/// However small the steps are, an extent is decompressed once: its physical cluster is looked for once.
#[unikernel_rt::test]
async fn compressed_content_is_decompressed_once() {
    let source = folder("costs-lz4");
    let bytes = content(1, 1 << 20);
    fs::write(source.join("file"), &bytes).unwrap();
    let (sim, volume, disk) = mount_counted(&fs::read(mkfs(&source, &["-zlz4"])).unwrap()).await;
    let file = volume.open("file").await.unwrap();
    let before = disk.cache_stats();
    for at in (0..bytes.len()).step_by(100) {
        let mut part = vec![0; 100.min(bytes.len() - at)];
        file.read_exact_at(at as u64, &mut part).await.unwrap();
        assert!(part == bytes[at..at + part.len()]);
    }
    let stats = disk.cache_stats();
    let looks = stats.hits + stats.misses - before.hits - before.misses;
    // Each of some 200 extents: its cluster, and one or two blocks of indexes.
    assert!(looks < 1000, "{looks} looks into the cache for 10,486 steps");
    assert!(reads(&sim) < 40, "{} reads", reads(&sim));
}
