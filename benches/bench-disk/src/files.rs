//! Files: one read from start to end, the mounting of many, and one that grows.

use crate::{
    measured,
    work::{BLOCK_LEN, Done, LARGE_FILE, READ_LEN, SOME_FILE, Sum, block},
};
use alloc::format;
use unikernel_blockfs::{Disk, Format, Volume};
use unikernel_rt::{Error, Result};

/// Reads the large file once, with nothing of it in memory.
pub async fn read_large(disk: Disk) -> Result {
    let volume = Volume::mount(disk).await?;
    let file = volume.open(LARGE_FILE).await?;
    measured(async {
        let mut done = Done::default();
        loop {
            let piece = file.read_at(done.bytes, READ_LEN).await?;
            if piece.is_empty() {
                return Ok(done);
            }
            done.sum.take(done.bytes, &piece);
            done.operations += 1;
            done.bytes += piece.len() as u64;
        }
    })
    .await?;
    Ok(())
}

/// Mounts an image with many files and reads one of them, since a mount without files would be fast.
pub async fn mount_many(disk: Disk) -> Result {
    measured(async {
        let volume = Volume::mount(disk).await?;
        let content = volume.read(SOME_FILE, usize::MAX).await?;
        let mut sum = Sum::default();
        sum.take(0, &content);
        Ok(Done { operations: 1, bytes: content.len() as u64, sum })
    })
    .await?;
    Ok(())
}

/// Appends so many blocks, each of which is on the disk before the next one comes.
pub async fn append(disk: Disk, count: u64) -> Result {
    let volume = Volume::mount_or_format(disk, Format::Littlefs).await?;
    let file = volume.append("log").await?;
    measured(async {
        for number in 0..count {
            file.write_at(number * BLOCK_LEN as u64, &block(number)).await?;
            file.sync().await?;
        }
        Ok(Done { operations: count, bytes: count * BLOCK_LEN as u64, ..Done::default() })
    })
    .await?;
    let mut bytes = [0; BLOCK_LEN];
    for number in 0..count {
        let len = file.read_exact_at(number * BLOCK_LEN as u64, &mut bytes).await?;
        if len != BLOCK_LEN || bytes != block(number) {
            return Err(Error::msg(format!("block {number} is not what was appended")));
        }
    }
    Ok(())
}
