//! Tries the machine's disks: uses all of them as the boot argument `try` says, and tells what came of it.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod pattern;
mod queue;
mod trials;

use alloc::{format, string::String};
use unikernel_rt::{Args, Error, Machine, device::BlockInfo, log::info};

#[unikernel_rt::main]
async fn main(args: Args, mut machine: Machine) -> unikernel_rt::Result {
    let what: String = args.get("try")?.unwrap_or_default();
    let (depth, count) = (args.get("depth")?.unwrap_or(1), args.get("count")?.unwrap_or(1000));
    args.finish()?;
    let mut number = 0;
    while let Ok(mut disk) = machine.take_disk() {
        info!("disk {}: {}", number, describe(disk.info()).as_str());
        let told = match &*what {
            "" => "is there".into(),
            "pattern" => trials::pattern(&mut *disk).await,
            "errors" => trials::errors(&mut *disk).await,
            "requests" => trials::requests(&mut *disk).await,
            "reads" => trials::reads(&mut *disk, depth, count).await,
            _ => {
                let kinds = "pattern, errors, requests, or reads with depth= and count=";
                return Err(Error::msg(format!("boot argument `try={what}`: write {kinds}")));
            }
        };
        info!("disk {} {}", number, told.as_str());
        number += 1;
    }
    info!("disks: {}", number);
    Ok(())
}

fn describe(info: &BlockInfo) -> String {
    format!(
        "`{}` len={} sector={} physical={} ro={} cache={} discard={} zeroes={} segments={} segment={} queue={}",
        info.serial,
        info.len,
        info.sector_len,
        info.physical_sector_len,
        info.is_read_only,
        info.has_volatile_cache,
        info.discard_len_max,
        info.write_zeroes_len_max,
        info.segments_max,
        info.segment_len_max,
        info.queue_len
    )
}
