//! Full disks, failing disks, many writers, large stores: what is promised about each.

use crate::{Model, batch, contents, disk_of, expect_clean, open, seeds, short};
use std::{cell::Cell, rc::Rc};
use unikernel_blockfs::{
    Cause,
    kv::{Batch, KEY_LEN_MAX, KvStore, VALUE_LEN_MAX, check},
};
use unikernel_rt::{
    device::{BlockError, BlockOp},
    future::join_all,
    sim::{Behaviour, Random, SimDisk},
    spawn,
    time::Duration,
};

#[unikernel_rt::test]
async fn writers_share_flushes() {
    let sim = SimDisk::with(64 << 20, 512, Behaviour { delay: Duration::from_micros(100), reorders: true, seed: 1 });
    let store = open(&sim).await;
    let before = sim.counts();
    for number in 0..100u32 {
        store.put(&number.to_be_bytes(), &[1; 100]).await.unwrap();
    }
    let alone = sim.counts();
    assert_eq!(
        (alone.flushes - before.flushes, alone.writes - before.writes),
        (100, 100),
        "one write and one flush each"
    );
    let writers = (0..64u32).map(|writer| {
        let store = store.clone();
        spawn(async move {
            for number in 0..100u32 {
                store.put(&(writer << 16 | number).to_be_bytes(), &[2; 100]).await.unwrap();
            }
        })
    });
    join_all(writers.collect::<Vec<_>>()).await;
    let flushes = sim.counts().flushes - alone.flushes;
    assert!(flushes <= 110, "6400 commits took {flushes} flushes");
    assert_eq!(store.stats().commits, 6500);
}

#[unikernel_rt::test]
async fn what_is_too_long() {
    let store = open(&SimDisk::new(4 << 20)).await;
    let (key, value) = (vec![1; KEY_LEN_MAX], vec![2; VALUE_LEN_MAX]);
    store.put(&key, &value).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap(), value);
    let mut batch = Batch::new();
    for error in [
        batch.put(&[1; KEY_LEN_MAX + 1], b""),
        batch.put(b"", &vec![2; VALUE_LEN_MAX + 1]),
        batch.delete(&[1; KEY_LEN_MAX + 1]),
        store.put(&[1; KEY_LEN_MAX + 1], b"").await,
    ] {
        assert!(matches!(error.unwrap_err().cause(), Cause::Limit(_)));
    }
    (0..1000u32).for_each(|number| batch.put(&number.to_be_bytes(), &[0; 100]).unwrap());
    assert!(matches!(store.commit(batch).await.unwrap_err().cause(), Cause::Limit(_)));
}

/// Fills the store, empties it, and fills it again: with short and with long values.
#[unikernel_rt::test]
async fn a_full_disk_takes_deletions() {
    for (value_len, seed) in [(100, 1), (900, 2), (5000, 3), (200_000, 4), (100, 5), (900, 6)] {
        let sim = SimDisk::new(2 << 20);
        sim.configure(|info| info.physical_sector_len = 512);
        let store = open(&sim).await;
        let mut random = Random::new(seed);
        let mut counts = Vec::new();
        for round in 0..4 {
            let mut model = Model::new();
            loop {
                let (key, value) = (random.u64().to_be_bytes(), vec![round; value_len]);
                match store.put(&key, &value).await {
                    Ok(()) => drop(model.insert(key.to_vec(), value)),
                    Err(error) => {
                        assert_eq!(*error.cause(), Cause::Full);
                        break;
                    }
                }
            }
            assert_eq!(contents(&store.snapshot()).await.unwrap(), model);
            counts.push(model.len() * value_len);
            for key in model.keys() {
                store.delete(key).await.unwrap();
            }
            store.checkpoint().await.unwrap();
            assert_eq!(store.stats().entries, 0);
            assert_eq!(store.stats().total - store.stats().free, 0, "space is lost");
        }
        store.close().await.unwrap();
        expect_clean(&sim, "after filling").await;
        let least = counts.iter().min().unwrap();
        assert!(*least > 800 << 10, "values of {value_len} bytes: only {counts:?} bytes fit 2 MiB");
    }
}

#[unikernel_rt::test]
async fn space_is_used_again() {
    let sim = SimDisk::new(2 << 20);
    let store = open(&sim).await;
    let mut random = Random::new(1);
    let mut used = Vec::new();
    for _ in 0..60 {
        for _ in 0..100 {
            let key = [random.below(200) as u8];
            store.put(&key, &vec![1; random.below(6000)]).await.unwrap();
        }
        store.checkpoint().await.unwrap();
        used.push(store.stats().total - store.stats().free);
    }
    let (early, late) = (used[20..40].iter().max().unwrap(), used[40..].iter().max().unwrap());
    assert!(late <= &(early + early / 5), "usage grows: {used:?}");
    store.close().await.unwrap();
    expect_clean(&sim, "after many overwrites").await;
}

#[unikernel_rt::test]
async fn snapshots_hold_space_while_they_are_there() {
    let sim = SimDisk::new(4 << 20);
    let store = open(&sim).await;
    for number in 0..50u8 {
        store.put(&[number], &[number; 8000]).await.unwrap();
    }
    store.checkpoint().await.unwrap();
    let snapshot = store.snapshot();
    let free = store.stats().free;
    for number in 0..50u8 {
        store.put(&[number], b"short").await.unwrap();
    }
    store.checkpoint().await.unwrap();
    assert!(store.stats().free < free && store.stats().held >= 50 * 8192);
    for number in 0..50u8 {
        assert_eq!(snapshot.get(&[number]).await.unwrap().unwrap(), [number; 8000][..]);
    }
    drop(snapshot);
    assert!(store.stats().free > free + 49 * 8192, "what the snapshot held is not free");
}

/// With a snapshot that holds everything, a full store says so, and goes on once the snapshot is gone.
#[unikernel_rt::test]
async fn a_snapshot_on_a_full_disk() {
    let sim = SimDisk::new(1 << 20);
    let store = open(&sim).await;
    let mut random = Random::new(1);
    for number in 0..100u8 {
        store.put(&[number], &[1; 4000]).await.unwrap();
    }
    let snapshot = store.snapshot();
    let mut failed = None;
    for number in 0..4000 {
        let key = [random.below(100) as u8];
        if let Err(error) = store.put(&key, &[2; 4000]).await {
            failed = Some((number, error));
            break;
        }
    }
    assert_eq!(*failed.unwrap().1.cause(), Cause::Full);
    assert_eq!(contents(&snapshot).await.unwrap().len(), 100);
    drop(snapshot);
    for number in 0..100u8 {
        store.put(&[number], &[3; 4000]).await.unwrap();
    }
}

#[unikernel_rt::test]
async fn a_large_store_opens_with_few_reads() {
    let sim = SimDisk::new(1 << 30);
    let store = open(&sim).await;
    for start in (0..100_000u32).step_by(500) {
        let mut batch = Batch::new();
        (start..start + 500).for_each(|number| batch.put(&number.to_be_bytes(), &[7; 300]).unwrap());
        store.commit(batch).await.unwrap();
    }
    store.close().await.unwrap();
    let before = sim.counts();
    let store = open(&sim).await;
    let reads = sim.counts().read_len - before.read_len;
    assert!(reads < 3 << 20, "{reads} bytes were read");
    let before = sim.counts();
    assert!(store.get(&77_777u32.to_be_bytes()).await.unwrap().is_some());
    assert!(sim.counts().reads - before.reads <= 4, "as many as there are levels");
}

/// Faults at random: what failed is there or not, what was acknowledged is there, and nothing is written after a failure
/// until the store is opened anew.
#[unikernel_rt::test]
async fn faults_at_random() {
    for seed in seeds(100) {
        let mut random = Random::new(seed);
        let sim = SimDisk::with(1 << 20, 512, Behaviour { delay: Duration::from_micros(10), reorders: true, seed });
        let mut store = open(&sim).await;
        let mut model = Model::new();
        for _ in 0..30 {
            let op = [BlockOp::Write, BlockOp::Flush, BlockOp::Read][random.below(3)];
            if random.chance(200) {
                let start = if op == BlockOp::Flush { 0 } else { random.below(1 << 20) as u64 };
                sim.fail(op, start..start + 100_000, BlockError::Io, 1);
            }
            let mut next = model.clone();
            let batch = batch(&mut random, 30, &mut next);
            let mut result = store.commit(batch).await;
            if result.is_ok() {
                model = next.clone();
                if random.chance(300) {
                    result = store.checkpoint().await;
                }
            }
            let Err(error) = result else { continue };
            assert!(matches!(error.cause(), Cause::Disk(BlockError::Io) | Cause::Poisoned), "seed {seed}: {error}");
            assert_eq!(*store.put(b"x", b"").await.unwrap_err().cause(), Cause::Poisoned);
            drop(store.close().await);
            store = reopen(&sim).await;
            let found = contents(&store.snapshot()).await.unwrap_or_default();
            let found = if found.is_empty() { contents(&store.snapshot()).await.unwrap() } else { found };
            assert!(found == model || found == next, "seed {seed}");
            model = found;
        }
    }
}

/// Opens; faults that still wait are met and tried again.
async fn reopen(sim: &SimDisk) -> KvStore {
    for _ in 0..30 {
        if let Ok(store) = KvStore::open(disk_of(sim)).await {
            return store;
        }
    }
    panic!("the store does not open any more");
}

/// A failed flush cannot be tried again: the disk may have dropped what it could not write.
#[unikernel_rt::test]
async fn a_failed_flush_ends_writing() {
    let sim = SimDisk::new(1 << 20);
    let store = open(&sim).await;
    store.put(b"a", b"1").await.unwrap();
    sim.fail(BlockOp::Flush, 0..1, BlockError::Io, 1);
    assert_eq!(*store.put(b"a", b"2").await.unwrap_err().cause(), Cause::Disk(BlockError::Io));
    for _ in 0..2 {
        assert_eq!(*store.put(b"b", b"").await.unwrap_err().cause(), Cause::Poisoned);
        assert_eq!(*store.checkpoint().await.unwrap_err().cause(), Cause::Poisoned);
    }
    assert_eq!(store.get(b"a").await.unwrap().unwrap(), "1");
}

/// Every write is dropped at some moment: it happens or not, and the store goes on.
#[unikernel_rt::test]
async fn dropped_writes() {
    let behaviour = Behaviour { delay: Duration::from_micros(100), reorders: true, seed: 1 };
    let sim = SimDisk::with(2 << 20, 512, behaviour);
    let store = open(&sim).await;
    let mut random = Random::new(1);
    for number in 0..300u32 {
        let mut batch = Batch::new();
        batch.put(b"a", &number.to_be_bytes()).unwrap();
        batch.put(b"b", &vec![number as u8; random.below(20_000)]).unwrap();
        batch.put(b"c", &number.to_be_bytes()).unwrap();
        let task = spawn({
            let store = store.clone();
            async move { store.commit(batch).await }
        });
        unikernel_rt::time::sleep(Duration::from_micros(random.below(500) as u64)).await;
        task.abort();
        let snapshot = store.snapshot();
        let (a, c) = (snapshot.get(b"a").await.unwrap(), snapshot.get(b"c").await.unwrap());
        assert_eq!(short(&a), short(&c), "half of a batch is there");
    }
    store.put(b"a", b"last").await.unwrap();
    store.close().await.unwrap();
    expect_clean(&sim, "after dropped writes").await;
}

/// Counts in transactions, by many at once: no count is lost, whoever overtakes whom.
#[unikernel_rt::test]
async fn transactions_do_not_overlap() {
    let sim = SimDisk::with(4 << 20, 512, Behaviour { delay: Duration::from_micros(50), reorders: true, seed: 1 });
    let store = open(&sim).await;
    let runs = Rc::new(Cell::new(0));
    let tasks = (0..16u8).map(|task| {
        let (store, runs) = (store.clone(), runs.clone());
        spawn(async move {
            for _ in 0..20 {
                let count = store.transaction(async |tx| {
                    runs.set(runs.get() + 1);
                    let total: u32 = tx.prefix(b"count").await?.iter().map(|(_, value)| u32::from(value[0])).sum();
                    let key = [b"count".as_slice(), &[task % 4]].concat();
                    let own = tx.get(&key).await?.map_or(0, |value| value[0]);
                    tx.put(&key, &[own + 1])?;
                    Ok::<_, unikernel_blockfs::Error>(total)
                });
                count.await.unwrap();
                store.put(b"other", b"").await.unwrap();
            }
        })
    });
    join_all(tasks.collect::<Vec<_>>()).await;
    let counts = contents(&store.snapshot()).await.unwrap();
    let total: u32 =
        counts.iter().filter(|(key, _)| key.starts_with(b"count")).map(|(_, value)| u32::from(value[0])).sum();
    assert_eq!(total, 320);
    assert!(runs.get() > 320, "they never met");
}

#[unikernel_rt::test]
async fn reading_only_writes_nothing() {
    let sim = SimDisk::new(1 << 20);
    let store = open(&sim).await;
    store.put(b"a", b"1").await.unwrap();
    let before = sim.counts();
    let reader = KvStore::open_read_only(disk_of(&sim)).await.unwrap();
    assert_eq!(reader.get(b"a").await.unwrap().unwrap(), "1");
    assert_eq!(*reader.put(b"a", b"2").await.unwrap_err().cause(), Cause::ReadOnly);
    assert_eq!(check(disk_of(&sim)).await.unwrap().log_keys, 1);
    reader.close().await.unwrap();
    assert_eq!((sim.counts().writes, sim.counts().flushes), (before.writes, before.flushes));
}
