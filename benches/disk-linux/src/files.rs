//! Files of an EROFS image: one read from start to end, and the mounting of many.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::mount::{MountFlags, mount};

use crate::aligned::Aligned;
use crate::console::measured;
use crate::work::{Done, LARGE_FILE, READ_LEN, SOME_FILE, Sum};

/// Whether the page cache has a part in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// As everybody reads.
    Used,
    /// `O_DIRECT`.
    Passed,
}

const PLACE: &str = "/mnt";

/// Reads the large file once, with nothing of it in memory.
pub fn read_large(cache: Cache) -> Result<()> {
    mount_image()?;
    fs::write("/proc/sys/vm/drop_caches", "3").context("drop_caches")?;
    let flags = if cache == Cache::Passed { OFlags::DIRECT } else { OFlags::empty() };
    let path = Path::new(PLACE).join(LARGE_FILE);
    let mut file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let mut buffer = Aligned::new(READ_LEN);
    measured(|| read_all(&mut file, buffer.bytes()))?;
    Ok(())
}

fn read_all(file: &mut File, buffer: &mut [u8]) -> Result<Done> {
    let (mut done, mut sum) = (Done::default(), Sum::default());
    loop {
        let len = file.read(buffer)?;
        if len == 0 {
            return Ok(Done { sum, ..done });
        }
        sum.take(done.bytes, &buffer[..len]);
        done.operations += 1;
        done.bytes += len as u64;
    }
}

/// Mounts an image with many files, and then reads one of them, since a mount without files would be fast.
pub fn mount_many() -> Result<()> {
    fs::write("/proc/sys/vm/drop_caches", "3").context("drop_caches")?;
    measured(|| {
        mount_image()?;
        let content = fs::read(Path::new(PLACE).join(SOME_FILE))?;
        let mut sum = Sum::default();
        sum.take(0, &content);
        Ok(Done { operations: 1, bytes: content.len() as u64, sum })
    })?;
    Ok(())
}

fn mount_image() -> Result<()> {
    mount("/dev/vda", PLACE, "erofs", MountFlags::RDONLY, None).context("cannot mount the EROFS image")
}
