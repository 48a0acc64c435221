//! Does to a disk in the Linux guest what `bench-disk` does to it, as Linux does it best: `disk-linux WORK COUNT`.
//!
//! The init script starts it with the words of the kernel's command line. Each work prepares, calls
//! [`measured`](console::measured) around what counts, and then checks what it has done.

#![deny(unsafe_code)]

mod aligned;
mod append;
mod console;
mod files;
#[cfg(feature = "sqlite")]
mod puts;
mod random;
#[allow(unsafe_code, reason = "the interface is one of addresses")]
mod ring;
// One file for three programs, each of which uses a part of it.
#[allow(dead_code, reason = "some of it is for the others alone")]
#[path = "../../bench-disk/src/work.rs"]
mod work;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match &arguments[..] {
        [work, count] => count.parse().context("COUNT").and_then(|count| run(work, count)),
        _ => Err(anyhow::anyhow!("give WORK and COUNT on the kernel's command line: work=… count=…")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            console::line(&format!("{} {cause:#}", work::FAILED));
            ExitCode::FAILURE
        }
    }
}

/// Works with these names are ours, too; the rest of a name tells a way of Linux to do the same.
fn run(work: &str, count: u64) -> Result<()> {
    match work {
        "nothing" => console::measured(|| Ok(work::Done::default())).map(drop),
        "seq-read" => files::read_large(files::Cache::Used),
        "seq-read-direct" => files::read_large(files::Cache::Passed),
        "mount" => files::mount_many(),
        "random-read" => ring::read(count),
        "random-read-threads" => random::read(count),
        "append" => append::append(count),
        #[cfg(feature = "sqlite")]
        _ if work.starts_with("kv-") => puts::put(work, count),
        _ => bail!("there is no work {work:?} in this build"),
    }
}
