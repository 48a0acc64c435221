//! Works on a disk as `work=NAME count=N` say, and marks on the console what the benchmark counts.
//!
//! `disk-linux` does the same in a Linux guest. Each work prepares, calls [`measured`] around what counts, and then checks
//! what it has done, as far as the benchmark cannot do that from the checksum.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod files;
mod puts;
mod random;
// One file for three programs, each of which uses a part of it.
#[allow(dead_code, reason = "some of it is for the others alone")]
mod work;

use alloc::{format, string::String};
use core::future::Future;
use unikernel_blockfs::Disk;
use unikernel_rt::{
    Args, Error, Result,
    log::info,
    time::{Duration, Instant, sleep},
};
use work::{BEGIN, DONE, Done, END, GO, PAUSE_MILLIS, WRITERS};

#[unikernel_rt::main]
async fn main(disk: Disk, args: Args) -> Result {
    let work: String = args.get("work")?.unwrap_or_default();
    let count = args.get("count")?.unwrap_or(1);
    args.finish()?;
    match &*work {
        "nothing" => measured(async { Ok(Done::default()) }).await.map(drop),
        "seq-read" => files::read_large(disk).await,
        "mount" => files::mount_many(disk).await,
        "random-read" => random::read(disk, count).await.map(drop),
        "kv-1" => puts::put(disk, count, 1).await.map(drop),
        "kv-64" => puts::put(disk, count, WRITERS as u64).await.map(drop),
        "append" => files::append(disk, count).await,
        _ => Err(Error::msg(format!(
            "work={work}: there are nothing, seq-read, mount, random-read, kv-1, kv-64 and append"
        ))),
    }
}

/// Does what is measured, between marks and pauses, and tells what was done.
async fn measured(work: impl Future<Output = Result<Done>>) -> Result<Done> {
    info!("{}", BEGIN);
    // Not for an event: the tool reads the counter of instructions while there are none.
    sleep(Duration::from_millis(PAUSE_MILLIS)).await;
    info!("{}", GO);
    let start = Instant::now();
    let done = work.await?;
    let micros = Instant::now().as_micros() - start.as_micros();
    info!("{}", END);
    sleep(Duration::from_millis(PAUSE_MILLIS)).await;
    info!("{} {} micros={}", DONE, done, micros);
    Ok(done)
}

#[cfg(test)]
mod tests;
