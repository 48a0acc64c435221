//! The works on simulated disks.

use crate::work::{BLOCK_LEN, Offsets, Sum};
use unikernel_blockfs::Disk;
use unikernel_rt::{sim::SimDisk, time::Instant};

/// A disk whose every byte tells its block.
fn disk(blocks: u8) -> (SimDisk, Vec<u8>) {
    let bytes: Vec<u8> = (0..blocks).flat_map(|block| [block; BLOCK_LEN]).collect();
    (SimDisk::from_bytes(&bytes), bytes)
}

#[unikernel_rt::test]
async fn random_reads_all_reach_the_disk() {
    let (sim, bytes) = disk(100);
    let done = crate::random::read(Disk::new(sim.device()), 1_000).await.unwrap();
    assert_eq!(sim.counts().reads, 1_000);
    let mut sum = Sum::default();
    for offset in Offsets::new(bytes.len() as u64, 1_000) {
        sum.take(offset, &bytes[offset as usize..][..BLOCK_LEN]);
    }
    assert_eq!(done.sum, sum);
}

#[unikernel_rt::test]
async fn puts_by_many_are_all_there_and_share_flushes() {
    let sim = SimDisk::new(8 << 20);
    let done = crate::puts::put(Disk::new(sim.device()), 6_400, 64).await.unwrap();
    assert_eq!(done.operations, 6_400);
    assert!(sim.counts().flushes < 3_200, "{:?}", sim.counts());
}

#[unikernel_rt::test]
async fn appends_are_all_there() {
    crate::files::append(Disk::new(SimDisk::new(8 << 20).device()), 100).await.unwrap();
}

#[unikernel_rt::test]
async fn the_counter_can_be_read_before_and_after() {
    let start = Instant::now();
    crate::measured(async { Ok(crate::work::Done::default()) }).await.unwrap();
    assert_eq!(Instant::now().as_micros() - start.as_micros(), 2_000 * crate::work::PAUSE_MILLIS);
}
