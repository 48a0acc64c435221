//! Blocks at the end of a file on ext4, each of which is on the disk before the next one comes.

use std::fs::{self, File};
use std::io::Write;

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, mount};

use crate::console::measured;
use crate::work::{BLOCK_LEN, Done, block};

/// Where the file system is.
pub const PLACE: &str = "/mnt";

/// Mounts the ext4 image.
pub fn mount_ext4() -> Result<()> {
    mount("/dev/vda", PLACE, "ext4", MountFlags::NOATIME, None).context("cannot mount the ext4 image")
}

/// So many blocks.
pub fn append(count: u64) -> Result<()> {
    mount_ext4()?;
    let path = format!("{PLACE}/log");
    let mut file = File::options().append(true).create_new(true).open(&path)?;
    measured(|| {
        for number in 0..count {
            file.write_all(&block(number))?;
            file.sync_all()?;
        }
        Ok(Done { operations: count, bytes: count * BLOCK_LEN as u64, ..Done::default() })
    })?;
    let content = fs::read(&path)?;
    ensure!(content.len() as u64 == count * BLOCK_LEN as u64, "{} bytes were appended", content.len());
    let right = content.chunks(BLOCK_LEN).zip(0..).all(|(bytes, number)| bytes == block(number));
    ensure!(right, "something else was appended");
    Ok(())
}
