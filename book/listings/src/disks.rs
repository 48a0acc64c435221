//! Listings of the page "Disks".

use alloc::vec::Vec;
use bytes::Bytes;
use embedded_io_async::Write;
use unikernel_blockfs::{
    Disk, Format, Result, Volume,
    kv::{Batch, KvStore},
};
use unikernel_http::{Router, ServeDir};
use unikernel_rt::{Machine, log::info};

/// A site on one disk, state on another that has a name.
// ANCHOR: acquire
pub async fn wire(machine: &mut Machine) -> unikernel_rt::Result<(Volume, Volume)> {
    let state = Disk::named(machine, "state")?;
    let state = Volume::mount_or_format(state, Format::Littlefs).await?;
    let site = Volume::mount(Disk::new(machine.take_disk()?)).await?;
    Ok((site, state))
}
// ANCHOR_END: acquire

/// The files of a volume as resources.
// ANCHOR: serve
pub fn router(site: Volume) -> Router {
    Router::new().fallback(ServeDir::new(site))
}
// ANCHOR_END: serve

/// Reads, replaces, appends.
// ANCHOR: files
pub async fn settings(volume: &Volume) -> Result<Bytes> {
    if volume.metadata("settings.json").await.is_err() {
        // The old content or the new one, at any time; the new one when this returns.
        volume.write("settings.json", b"{}").await?;
    }
    let mut log = volume.append("log.txt").await?;
    log.write_all(b"started\n").await?;
    log.sync().await?;
    volume.read("settings.json", 64 * 1024).await
}
// ANCHOR_END: files

/// A large file, piece by piece.
// ANCHOR: stream
pub async fn sum(volume: &Volume, path: &str) -> Result<u64> {
    let file = volume.open(path).await?;
    let (mut at, mut sum) = (0, 0);
    loop {
        // At most so much at once, and without a copy: a piece of the disk's cache.
        let piece = file.read_at(at, 128 * 1024).await?;
        if piece.is_empty() {
            return Ok(sum);
        }
        sum += piece.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        at += piece.len() as u64;
    }
}
// ANCHOR_END: stream

/// Takes from one account and gives to another, or does nothing.
// ANCHOR: kv
pub async fn book(store: &KvStore, from: &[u8], to: &[u8], entry: &[u8]) -> Result {
    let mut batch = Batch::new();
    batch.put(from, entry)?;
    batch.put(to, entry)?;
    store.commit(batch).await
}

/// The keys of all accounts at one moment.
pub async fn accounts(store: &KvStore) -> Result<Vec<Bytes>> {
    // What is written from here on does not change what this sees.
    let mut pairs = store.snapshot().prefix(b"account/");
    let mut keys = Vec::new();
    while let Some((key, _)) = pairs.next().await? {
        keys.push(key);
    }
    Ok(keys)
}
// ANCHOR_END: kv

/// A disk that is divided.
// ANCHOR: partitions
pub async fn divided(disk: Disk) -> unikernel_rt::Result<(Volume, KvStore)> {
    let site = Volume::mount(disk.partition_named("site").await?).await?;
    let store = KvStore::open_or_create(disk.partition(2).await?).await?;
    info!("the store has {} bytes of disk", disk.len());
    Ok((site, store))
}
// ANCHOR_END: partitions
