//! Random reads from the whole disk by threads, one read at a time each. They share one row of offsets.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Mutex;
use std::thread;

use anyhow::{Result, anyhow};
use rustix::fs::OFlags;

use crate::aligned::Aligned;
use crate::console::measured;
use crate::work::{BLOCK_LEN, DEPTH, Done, Offsets, Sum};

/// The disk without the page cache, and how long it is.
pub fn open_disk() -> Result<(File, u64)> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    let mut disk = File::options().read(true).custom_flags(flags).open("/dev/vda")?;
    let len = disk.seek(SeekFrom::End(0))?;
    Ok((disk, len))
}

/// So many reads.
pub fn read(count: u64) -> Result<()> {
    let (disk, len) = open_disk()?;
    let offsets = Mutex::new(Offsets::new(len, count));
    measured(|| {
        let sums = thread::scope(|scope| {
            let threads: Vec<_> = (0..DEPTH).map(|_| scope.spawn(|| read_some(&disk, &offsets))).collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?).collect()
        });
        let sums: Result<Vec<Sum>> = sums;
        let sum = sums?.into_iter().fold(Sum::default(), Sum::and);
        Ok(Done { operations: count, bytes: count * BLOCK_LEN as u64, sum })
    })?;
    Ok(())
}

/// Reads until there are no offsets left.
fn read_some(disk: &File, offsets: &Mutex<Offsets>) -> Result<Sum> {
    let (mut buffer, mut sum) = (Aligned::new(BLOCK_LEN), Sum::default());
    loop {
        let next = offsets.lock().map_err(|_| anyhow!("another thread panicked"))?.next();
        let Some(offset) = next else { return Ok(sum) };
        disk.read_exact_at(buffer.bytes(), offset)?;
        sum.take(offset, buffer.bytes());
    }
}
