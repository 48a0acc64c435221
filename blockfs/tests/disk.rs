//! The shared disk: completions find their asker, the cache never lies, dropped futures leave nothing behind.

use std::{cell::Cell, rc::Rc};
use unikernel_blockfs::{Cause, Disk};
use unikernel_rt::{
    device::{BlockError, BlockOp, Buffer},
    future::join_all,
    sim::{Behaviour, Random, SimDisk},
    spawn,
    task::yield_now,
    time::{Duration, sleep},
};

const LEN: u64 = 4 << 20;

/// Every byte tells where it is.
fn pattern(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(|at| (at / 512 * 7 + at % 251) as u8).collect()
}

fn slow_disk(seed: u64) -> (SimDisk, Disk) {
    let sim = SimDisk::with(LEN, 512, Behaviour { delay: Duration::from_micros(100), reorders: true, seed });
    sim.poke(0, &pattern(0, LEN as usize));
    let disk = Disk::new(sim.device());
    (sim, disk)
}

#[unikernel_rt::test]
async fn a_hundred_readers_get_what_they_asked_for() {
    let (_, disk) = slow_disk(1);
    let readers = (0..100).map(|seed| {
        let disk = disk.clone();
        spawn(async move {
            let mut random = Random::new(seed);
            for _ in 0..50 {
                let len = 1 + random.below(20_000);
                let offset = random.u64() % (LEN - len as u64);
                assert_eq!(disk.read(offset, len).await.unwrap(), pattern(offset, len));
            }
        })
    });
    join_all(readers.collect::<Vec<_>>()).await;
}

#[unikernel_rt::test]
async fn one_page_is_read_once() {
    let (sim, disk) = slow_disk(1);
    let readers = (0..64).map(|_| disk.read(8192, 600));
    assert!(join_all(readers).await.into_iter().all(|bytes| bytes.unwrap() == pattern(8192, 600)));
    assert_eq!(sim.counts().reads, 1);
    assert_eq!(disk.read_cached(8192 + 512, 88).unwrap(), pattern(8192 + 512, 88));
    assert_eq!(disk.read_cached(8192 + 4096, 1), None);
}

#[unikernel_rt::test]
async fn the_cache_is_bounded_and_keeps_what_is_used() {
    let (sim, disk) = slow_disk(1);
    disk.set_cache_len(64 * 1024);
    disk.read(0, 100).await.unwrap();
    for page in 1..200 {
        disk.read(page * 4096, 100).await.unwrap();
        assert!(disk.read_cached(0, 100).is_some(), "the page that is always used is gone after {page}");
    }
    let stats = disk.cache_stats();
    assert!(stats.len <= 64 * 1024 && stats.evictions > 100, "{stats:?}");
    assert_eq!(sim.counts().reads, 200);
}

/// Readers and writers of the same pages at random: a reader sees the value of a write that was done before it began, or
/// a later one.
#[unikernel_rt::test]
async fn no_reader_sees_the_past() {
    for seed in 0..20 {
        let (_, disk) = slow_disk(seed);
        disk.write(0, Buffer::zeroed(64 * 1024)).await.unwrap();
        let written: Rc<Vec<Cell<u8>>> = Rc::new((0..16).map(|_| Cell::new(0)).collect());
        let tasks = (0..8).map(|task| {
            let (disk, written) = (disk.clone(), written.clone());
            spawn(async move {
                let mut random = Random::new(seed * 100 + task);
                for _ in 0..100 {
                    let page = random.below(16);
                    if task < 2 && page % 2 == task as usize {
                        let value = written[page].get() + 1;
                        disk.write(page as u64 * 4096, Buffer::from_bytes(&[value; 4096])).await.unwrap();
                        written[page].set(value);
                    } else {
                        let before = written[page].get();
                        let value = disk.read(page as u64 * 4096 + 4095, 1).await.unwrap()[0];
                        assert!(value >= before, "page {page} has {value}, and {before} was written before");
                    }
                    sleep(Duration::from_micros(random.below(50) as u64)).await;
                }
            })
        });
        join_all(tasks.collect::<Vec<_>>()).await;
    }
}

/// Pages that were read together, of which one is written since.
#[unikernel_rt::test]
async fn what_follows_a_page_is_not_of_the_past() {
    let (_, disk) = slow_disk(9);
    disk.read(0, 64 * 1024).await.unwrap();
    disk.write(8192, Buffer::from_bytes(&[1; 4096])).await.unwrap();
    assert_eq!(disk.read_cached(4096, 8192), None);
    assert_eq!(disk.read_some(4096, 8192).await.unwrap(), pattern(4096, 4096));
    assert_eq!(disk.read(4096, 8192).await.unwrap(), [pattern(4096, 4096), vec![1; 4096]].concat());
}

#[unikernel_rt::test]
async fn dropped_requests_leave_nothing_behind() {
    let (_, disk) = slow_disk(3);
    disk.read(0, 1).await.unwrap();
    for _ in 0..20 {
        let reader = spawn({
            let disk = disk.clone();
            async move { drop(disk.read(100_000, 5000).await) }
        });
        let writer = spawn({
            let disk = disk.clone();
            async move { drop(disk.write(0, Buffer::from_bytes(&[9; 4096])).await) }
        });
        yield_now().await;
        reader.abort();
        writer.abort();
        // The write may not be done yet: whatever is read now must not be what is read for ever.
        disk.read(0, 1).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(disk.read(0, 4096).await.unwrap(), [9; 4096][..]);
        assert_eq!(disk.read(100_000, 5000).await.unwrap(), pattern(100_000, 5000));
        disk.write(0, Buffer::from_bytes(&pattern(0, 4096))).await.unwrap();
    }
}

#[unikernel_rt::test]
async fn bytes_that_are_no_sectors() {
    let (sim, disk) = slow_disk(4);
    disk.write_bytes(1000, &[1; 300_000]).await.unwrap();
    disk.write_bytes(10, &[2; 3]).await.unwrap();
    assert_eq!(sim.peek(0, 10), pattern(0, 10));
    assert_eq!(sim.peek(9, 5), [pattern(9, 1), vec![2; 3], pattern(13, 1)].concat());
    assert_eq!(sim.peek(999, 2), [pattern(999, 1), vec![1]].concat());
    assert_eq!(disk.read(1000, 300_000).await.unwrap(), [1; 300_000][..]);
    assert_eq!(sim.peek(301_000, 100), pattern(301_000, 100));
}

#[unikernel_rt::test]
async fn places_that_are_not_there() {
    let (_, disk) = slow_disk(5);
    let part = disk.part(4096..8192).unwrap();
    assert_eq!(part.read(0, 100).await.unwrap(), pattern(4096, 100));
    for (offset, len) in [(4096, 1), (4000, 97), (u64::MAX, 2), (1 << 40, 1)] {
        assert_eq!(part.read(offset, len).await, Err(Cause::OutOfRange), "{offset} {len}");
    }
    assert_eq!(part.write(4096, Buffer::zeroed(512)).await, Err(Cause::OutOfRange));
    assert_eq!(disk.part(1..512).unwrap_err(), Cause::OutOfRange);
    assert_eq!(disk.write(1, Buffer::zeroed(512)).await, Err(Cause::OutOfRange));
}

#[unikernel_rt::test]
async fn faults_reach_those_they_concern() {
    let (sim, disk) = slow_disk(6);
    sim.fail(BlockOp::Read, 4096..8192, BlockError::Io, 1);
    assert_eq!(disk.read(4096, 1).await, Err(Cause::Disk(BlockError::Io)));
    assert_eq!(disk.read(4096, 1).await.unwrap(), pattern(4096, 1));
    sim.fail(BlockOp::Flush, 0..1, BlockError::Io, 1);
    assert_eq!(disk.flush().await, Err(Cause::Disk(BlockError::Io)));
    sim.remove();
    assert_eq!(disk.read(1 << 20, 1).await, Err(Cause::Disk(BlockError::Gone)));
    assert_eq!(disk.read(4096, 1).await.unwrap(), pattern(4096, 1));
}

#[unikernel_rt::test]
async fn what_is_asked_ahead_is_there() {
    let (sim, disk) = slow_disk(7);
    disk.prefetch(0, 1 << 20);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(sim.counts().reads, 1);
    assert_eq!(disk.read_some(0, 1 << 20).await.unwrap(), pattern(0, 128 * 1024));
    assert_eq!(disk.cache_stats().misses, 0);
}

#[unikernel_rt::test]
async fn zeroes_and_discards() {
    let (sim, disk) = slow_disk(8);
    disk.read(0, 8192).await.unwrap();
    disk.write_zeroes(512..4096).await.unwrap();
    assert_eq!(disk.read(0, 8192).await.unwrap(), [pattern(0, 512), vec![0; 3584], pattern(4096, 4096)].concat());
    sim.configure(|info| info.write_zeroes_len_max = 0);
    let disk = Disk::new(sim.device());
    disk.write_zeroes(0..LEN / 2).await.unwrap();
    disk.discard(0..LEN).await.unwrap();
    assert_eq!(sim.peek(0, LEN as usize / 2), vec![0; LEN as usize / 2]);
}
