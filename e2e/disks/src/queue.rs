//! Requests, made and run.

use alloc::{vec, vec::Vec};
use core::future::poll_fn;
use unikernel_rt::device::{BlockCompletion, BlockDevice, BlockError, BlockOp, BlockRequest, Buffer};

/// A request for the buffers, or for `len` bytes where the operation has none.
pub fn request(op: BlockOp, offset: u64, len: u64, buffers: Vec<Buffer>) -> BlockRequest {
    BlockRequest { tag: offset, op, offset, len, buffers }
}

/// A read in one buffer.
pub fn read(offset: u64, len: usize) -> BlockRequest {
    request(BlockOp::Read, offset, len as u64, vec![Buffer::zeroed(len)])
}

/// Runs the requests, as many at once as the disk takes and `depth` allows. Hands every completion to `done`, and returns
/// how many were under way at most.
pub async fn run_all(
    disk: &mut dyn BlockDevice,
    depth: usize,
    requests: impl IntoIterator<Item = BlockRequest>,
    mut done: impl FnMut(BlockCompletion),
) -> usize {
    let mut requests = requests.into_iter();
    let (mut held, mut under_way, mut most) = (None, 0, 0);
    loop {
        while under_way < depth
            && let Some(request) = held.take().or_else(|| requests.next())
        {
            match disk.submit(request) {
                Ok(()) => under_way += 1,
                Err(request) => {
                    held = Some(request);
                    break;
                }
            }
        }
        if under_way == 0 {
            return most;
        }
        most = most.max(under_way);
        disk.kick();
        poll_fn(|cx| disk.poll_ready(cx)).await;
        while let Some(completion) = disk.complete() {
            under_way -= 1;
            done(completion);
        }
    }
}

/// Runs one request.
pub async fn run(disk: &mut dyn BlockDevice, request: BlockRequest) -> Result<BlockRequest, BlockError> {
    let mut outcome = None;
    run_all(disk, 1, [request], |done| outcome = Some(done.result.map(|()| done.request))).await;
    outcome.expect("every request is answered")
}
