//! Random work on a volume and on a model of it: after every operation they hold the same. `BLOCKFS_SEEDS=1000` tries more.

mod common;

use common::{Tree, Work, difference, seeds, tree_of};
use unikernel_blockfs::{Disk, Format, Volume};
use unikernel_rt::sim::SimDisk;

const OPERATIONS: usize = 150;

async fn work_and_compare(format: Format, len: u64, seed: u64) {
    let sim = SimDisk::new(len);
    let mut volume = Volume::mount_or_format(Disk::new(sim.device()), format).await.unwrap();
    let mut work = Work::new(seed);
    for number in 0..OPERATIONS {
        work.operate(&volume, &mut |_: &Tree| {}).await;
        if number % 50 == 49 {
            drop(volume);
            volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
        }
        if number % 10 == 9 {
            let found = tree_of(&volume).await;
            assert_eq!(difference(&found, &work.tree), None, "seed {seed}, after operation {number}");
        }
    }
    assert!(volume.check().await.is_clean());
}

#[cfg(feature = "littlefs")]
#[unikernel_rt::test]
async fn littlefs() {
    for seed in seeds(100) {
        work_and_compare(Format::Littlefs, 32 << 20, seed).await;
    }
}
