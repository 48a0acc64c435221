//! Durable puts by one task, or by 64 that wait for each of theirs.

use crate::{
    measured,
    work::{Done, KEYS, Puts, key, value},
};
use alloc::{collections::BTreeMap, format};
use unikernel_blockfs::{
    Disk,
    kv::{Batch, KvStore},
};
use unikernel_rt::{Error, Result, future::join_all, spawn};

/// Well below what one transaction may hold.
const BATCH_LEN: u64 = 1_000;

/// So many puts by so many writers.
pub async fn put(disk: Disk, count: u64, writers: u64) -> Result<Done> {
    let store = KvStore::open_or_create(disk).await?;
    for start in (0..KEYS).step_by(BATCH_LEN as usize) {
        let mut batch = Batch::new();
        for number in start..KEYS.min(start + BATCH_LEN) {
            batch.put(&key(number), &value(0))?;
        }
        store.commit(batch).await?;
    }
    let each = count / writers;
    let done = measured(async {
        let tasks = (0..writers).map(|writer| spawn(put_all(store.clone(), Puts::new(writer, writers), each)));
        for put in join_all(tasks).await {
            put.ok_or_else(|| Error::msg("a task that puts was ended"))??;
        }
        Ok(Done { operations: each * writers, ..Done::default() })
    });
    let done = done.await?;
    check(&store, each, writers).await?;
    store.close().await?;
    Ok(done)
}

async fn put_all(store: KvStore, puts: Puts, count: u64) -> Result {
    for (key, value) in puts.take(count as usize) {
        store.put(&key, &value).await?;
    }
    Ok(())
}

/// Every key has the value that was put last.
async fn check(store: &KvStore, each: u64, writers: u64) -> Result {
    for writer in 0..writers {
        let last: BTreeMap<_, _> = Puts::new(writer, writers).take(each as usize).collect();
        for (key, value) in last {
            if store.get(&key).await?.as_deref() != Some(&value) {
                let key = key.escape_ascii();
                return Err(Error::msg(format!("{key} has another value than the one that was put last")));
            }
        }
    }
    Ok(())
}
