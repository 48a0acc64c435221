//! The key-value store against a model of it, and against everything that a disk can do to it.

mod damage;
mod limits;
mod model;
mod power;

use bytes::Bytes;
use std::collections::BTreeMap;
use unikernel_blockfs::{
    Disk, Result,
    kv::{Batch, KvStore, Snapshot, check},
};
use unikernel_rt::sim::{Random, SimDisk};

/// What a store should hold.
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// How many seeds a test takes: so many, or `KV_SEEDS`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    0..std::env::var("KV_SEEDS").map_or(count, |seeds| seeds.parse().expect("KV_SEEDS is a number"))
}

fn disk_of(sim: &SimDisk) -> Disk {
    Disk::new(sim.device())
}

async fn open(sim: &SimDisk) -> KvStore {
    KvStore::open_or_create(disk_of(sim)).await.unwrap()
}

/// Fails unless everything on the disk is as it must be.
async fn expect_clean(sim: &SimDisk, what: &str) {
    let report = check(disk_of(sim)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(report.is_clean(), "{what}: {report:?}");
}

/// One of few keys, so that they meet; some are long, some begin like others.
fn key(random: &mut Random, keys: usize) -> Vec<u8> {
    let number = random.below(keys);
    match number % 7 {
        0 => format!("key {number}").into_bytes(),
        1 => vec![number as u8; number % 1025],
        2 => (number as u16).to_be_bytes().to_vec(),
        3 => format!("{}{number}", "the same start ".repeat(number % 60)).into_bytes(),
        _ => format!("{number}").into_bytes(),
    }
}

/// Mostly short, sometimes with pages of its own.
fn value(random: &mut Random) -> Vec<u8> {
    let len = match random.below(20) {
        0 => 0,
        1 => random.below(40_000),
        2 | 3 => 900 + random.below(200),
        _ => random.below(120),
    };
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

/// A batch of random changes, and the same to the model.
fn batch(random: &mut Random, keys: usize, model: &mut Model) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..1 + random.below(5) {
        let key = key(random, keys);
        if random.chance(700) {
            let value = value(random);
            batch.put(&key, &value).unwrap();
            model.insert(key, value);
        } else {
            batch.delete(&key).unwrap();
            model.remove(&key);
        }
    }
    batch
}

/// All entries of a snapshot.
async fn contents(snapshot: &Snapshot) -> Result<Model> {
    let mut range = snapshot.range(..);
    let mut found = Model::new();
    while let Some((key, value)) = range.next().await? {
        found.insert(key.to_vec(), value.to_vec());
    }
    Ok(found)
}

fn short(bytes: &Option<Bytes>) -> Option<Vec<u8>> {
    bytes.as_ref().map(|bytes| bytes.to_vec())
}
