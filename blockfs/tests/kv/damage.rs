//! Damage is met with an error, or is where nothing is: never with wrong data.

use crate::{Model, batch, contents, disk_of, open, seeds, value};
use unikernel_blockfs::{
    Cause,
    kv::{KvStore, check},
};
use unikernel_rt::{
    sim::{Random, SimDisk},
    time::{Duration, sleep},
};

/// A small store that has everything: nodes on two levels, long values, values in many pieces, and a log.
async fn small_store(random: &mut Random) -> (SimDisk, Model) {
    let sim = SimDisk::new(512 << 10);
    sim.configure(|info| info.physical_sector_len = 512);
    let store = open(&sim).await;
    let mut model = Model::new();
    for number in 0..60u32 {
        let (key, value) = (number.to_be_bytes(), vec![number as u8; 10 + number as usize % 300]);
        store.put(&key, &value).await.unwrap();
        model.insert(key.to_vec(), value);
    }
    let long = vec![7; 30_000];
    store.put(b"long", &long).await.unwrap();
    model.insert(b"long".to_vec(), long);
    store.checkpoint().await.unwrap();
    for _ in 0..6 {
        let batch = batch(random, 6, &mut model);
        store.commit(batch).await.unwrap();
    }
    // The store rests, so that the last record is known to be safe.
    sleep(Duration::from_secs(1)).await;
    (sim, model)
}

/// Reads everything. Returns whether there was an error on the way.
async fn read_all(sim: &SimDisk, model: &Model, what: &str) -> bool {
    let Ok(store) = KvStore::open(disk_of(sim)).await else { return true };
    let mut any = false;
    for (key, value) in model {
        match store.get(key).await {
            Ok(found) => assert_eq!(found.as_deref(), Some(&value[..]), "{what}: {key:?}"),
            Err(error) => {
                assert!(matches!(error.cause(), Cause::Damaged(_)), "{what}: {error}");
                any = true;
            }
        }
    }
    match contents(&store.snapshot()).await {
        Ok(found) => assert_eq!(found, *model, "{what}"),
        Err(_) => any = true,
    }
    any
}

#[unikernel_rt::test]
async fn flipped_bits() {
    for seed in seeds(1) {
        let mut random = Random::new(seed);
        let (sim, model) = small_store(&mut random).await;
        assert!(!read_all(&sim, &model, "undamaged").await);
        let mut errors = 0;
        for page in 0..sim.len() / 4096 {
            let offsets = (0..48).chain((0..16).map(|_| random.below(4096) as u64)).collect::<Vec<_>>();
            for offset in offsets {
                let place = page * 4096 + offset;
                let before = sim.peek(place, 1);
                sim.poke(place, &[before[0] ^ 1 << random.below(8)]);
                let what = format!("seed {seed}, page {page}, byte {offset}");
                let failed = read_all(&sim, &model, &what).await;
                let is_noticed = check(disk_of(&sim)).await.map_or(true, |report| !report.is_clean());
                assert!(!failed || is_noticed, "{what}: not found by the check");
                errors += u32::from(failed);
                sim.poke(place, &before);
            }
        }
        assert!(errors > 100, "only {errors} flips were met");
    }
}

/// Whole pages that are zero, are those of another place, or are those of another time.
#[unikernel_rt::test]
async fn lost_and_misdirected_writes() {
    for seed in seeds(5) {
        let mut random = Random::new(seed);
        let (sim, model) = small_store(&mut random).await;
        let old: Vec<Vec<u8>> = (0..sim.len() / 4096).map(|page| sim.peek(page * 4096, 4096)).collect();
        let store = KvStore::open(disk_of(&sim)).await.unwrap();
        let mut model = model;
        for _ in 0..10 {
            let batch = batch(&mut random, 6, &mut model);
            store.commit(batch).await.unwrap();
            store.checkpoint().await.unwrap();
        }
        store.close().await.unwrap();
        for page in 0..old.len() {
            let before = sim.peek(page as u64 * 4096, 4096);
            let other = random.below(old.len());
            for (what, bytes) in [
                ("zeros", vec![0; 4096]),
                ("its past", old[page].clone()),
                ("another page", sim.peek(other as u64 * 4096, 4096)),
            ] {
                // The superblocks know of no other witness: both from the same past are that past.
                sim.poke(page as u64 * 4096, &bytes);
                read_all(&sim, &model, &format!("seed {seed}, page {page} is {what} {other}")).await;
            }
            sim.poke(page as u64 * 4096, &before);
        }
    }
}

#[unikernel_rt::test]
async fn disks_that_hold_something_else() {
    let mut random = Random::new(1);
    for (what, bytes, expected) in [
        ("nothing", vec![0; 2 << 20], Cause::Blank),
        ("an interrupted format", b"UNIKERNEL FORMATS THIS DISK NOW.".to_vec(), Cause::Blank),
    ] {
        let sim = SimDisk::new(2 << 20);
        sim.poke(0, &bytes);
        assert_eq!(*KvStore::open(disk_of(&sim)).await.unwrap_err().cause(), expected, "{what}");
        open(&sim).await;
    }
    let sim = SimDisk::new(2 << 20);
    sim.poke(100_000, &value(&mut random));
    sim.poke(100_000, b"x");
    let error = KvStore::open_or_create(disk_of(&sim)).await.unwrap_err();
    assert!(error.to_string().contains("not a key-value store"), "{error}");
    let error = KvStore::open_or_create(disk_of(&SimDisk::new(100 << 10))).await.unwrap_err();
    assert!(error.to_string().contains("at least 256 KiB"), "{error}");
    let whole = SimDisk::new(2 << 20);
    open(&whole).await.close().await.unwrap();
    let half = SimDisk::from_bytes(&whole.peek(0, 1 << 20));
    let error = KvStore::open(disk_of(&half)).await.unwrap_err();
    assert!(error.to_string().contains("smaller than the key-value store"), "{error}");
}
