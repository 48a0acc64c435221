//! The mark: when the writer rests, a page says up to which record everything is safe.
//!
//! Without it, damage to the last record of the log would look like a write that the power's loss interrupted, and the
//! record would silently be missing. What a mark says stays true for ever, so it may be old, and needs no flush.

use super::{
    layout::{MARK_PAGE, u32_at, u64_at},
    pages::{Pages, offset_of},
    shared::{Shared, write_sector},
};
use crate::error::Cause;
use alloc::{rc::Rc, vec::Vec};
use unikernel_rt::checksum::crc32c;
use unikernel_rt::time::{Duration, sleep};

/// So long after a commit the mark is written: often enough to matter, too seldom to cost.
const DELAY: Duration = Duration::from_millis(50);

const MAGIC: &[u8; 8] = b"UNIKVMRK";
const MARK_LEN: usize = 28;

/// Runs until it is aborted.
pub(super) async fn run(shared: Rc<Shared>) {
    loop {
        shared.unmarked.notified().await;
        sleep(DELAY).await;
        let safe = shared.log.get().sequence - 1;
        shared.is_marked.set(true);
        if !shared.is_poisoned.get() {
            // Without the mark nothing is lost; the next commit meets what is wrong with the disk.
            drop(write_sector(&shared.pages.disk, offset_of(MARK_PAGE), &encode(shared.pages.store_id, safe)).await);
        }
    }
}

fn encode(store_id: u64, safe: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&store_id.to_le_bytes());
    bytes.extend_from_slice(&safe.to_le_bytes());
    bytes.extend_from_slice(&crc32c(0, &bytes).to_le_bytes());
    bytes
}

/// The last record that is known to be safe, 0 if none is.
pub(super) async fn read(pages: &Pages) -> Result<u64, Cause> {
    let bytes = pages.disk.read(offset_of(MARK_PAGE), MARK_LEN).await?;
    let is_ours = bytes.starts_with(MAGIC)
        && u64_at(&bytes, 8) == pages.store_id
        && u32_at(&bytes, 24) == crc32c(0, &bytes[..24]);
    Ok(if is_ours { u64_at(&bytes, 16) } else { 0 })
}
