//! Random reads from the whole disk by tasks, one read at a time each. They share one row of offsets.

use crate::{
    measured,
    work::{BLOCK_LEN, DEPTH, Done, Offsets, Sum},
};
use alloc::rc::Rc;
use core::cell::RefCell;
use unikernel_blockfs::Disk;
use unikernel_rt::{Error, Result, future::join_all, spawn};

/// So many reads, past the cache.
pub async fn read(disk: Disk, count: u64) -> Result<Done> {
    let offsets = Rc::new(RefCell::new(Offsets::new(disk.len(), count)));
    measured(async {
        let tasks = (0..DEPTH).map(|_| spawn(read_some(disk.clone(), offsets.clone())));
        let mut sum = Sum::default();
        for read in join_all(tasks).await {
            sum = sum.and(read.ok_or_else(|| Error::msg("a task that reads was ended"))??);
        }
        Ok(Done { operations: count, bytes: count * BLOCK_LEN as u64, sum })
    })
    .await
}

/// Reads until there are no offsets left.
async fn read_some(disk: Disk, offsets: Rc<RefCell<Offsets>>) -> Result<Sum> {
    let mut sum = Sum::default();
    loop {
        let next = offsets.borrow_mut().next();
        let Some(offset) = next else { return Ok(sum) };
        sum.take(offset, &disk.read_uncached(offset, BLOCK_LEN).await?);
    }
}
