//! What is tried, and what is told of it.

use crate::{
    pattern,
    queue::{read, request, run, run_all},
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{future::poll_fn, ops::Range};
use unikernel_rt::{
    device::{BlockCompletion, BlockDevice, BlockInfo, BlockOp, BlockRequest, Buffer},
    heap,
};

/// Fills the disk with the pattern, in requests of all shapes, and reads it in others; where it is read-only it must have the
/// pattern. Then its second quarter becomes zeros and its third is discarded, where it offers that.
pub async fn pattern(disk: &mut dyn BlockDevice) -> String {
    let info = disk.info().clone();
    let mut bad = Vec::new();
    let mut most = 0;
    if info.is_read_only {
        let refused = run(disk, shaped(BlockOp::Write, &info, 0, 0)).await.map(|_| ());
        bad.extend(refused.is_ok().then(|| "took a write".to_string()));
    } else {
        let failed = |done: BlockCompletion| bad.extend(done.result.err().map(|error| error.to_string()));
        most = run_all(disk, usize::MAX, shapes(BlockOp::Write, &info, 1), failed).await;
        if info.has_volatile_cache {
            let flushed = run(disk, request(BlockOp::Flush, 0, 0, Vec::new())).await;
            bad.extend(flushed.err().map(|error| format!("flush: {error}")));
        }
    }
    let reads = shapes(BlockOp::Read, &info, 2);
    most = most.max(run_all(disk, usize::MAX, reads, |done| bad.extend(wrong(&done))).await);
    let quarter = info.len / 4 / 4096 * 4096;
    if info.write_zeroes_len_max > 0 {
        bad.extend(cleared(disk, quarter..2 * quarter, info.write_zeroes_len_max).await);
    }
    if info.discard_len_max > 0 {
        let parts = ranges(2 * quarter..3 * quarter, info.discard_len_max);
        let discards = parts.map(|(offset, len)| request(BlockOp::Discard, offset, len, Vec::new()));
        run_all(disk, usize::MAX, discards, |done| bad.extend(done.result.err().map(|error| error.to_string()))).await;
    }
    match bad.first() {
        None => format!("has the pattern; {most} at once"),
        Some(first) => format!("failed {} times: {first}", bad.len()),
    }
}

/// Requests over the whole disk.
fn shapes(op: BlockOp, info: &BlockInfo, seed: u64) -> impl Iterator<Item = BlockRequest> {
    let (mut offset, mut seed, info) = (0, seed, info.clone());
    core::iter::from_fn(move || {
        let request = (offset < info.len).then(|| shaped(op, &info, offset, seed))?;
        offset += request.len;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(request)
    })
}

/// A request at `offset` with some number of buffers of some lengths; a write has the pattern.
fn shaped(op: BlockOp, info: &BlockInfo, offset: u64, seed: u64) -> BlockRequest {
    let count = [1, 1, 1, 2, 3, 8, info.segments_max][(seed >> 33) as usize % 7].min(info.segments_max);
    let (mut buffers, mut place) = (Vec::new(), offset);
    for number in 0..count as u64 {
        let sectors = 1 + (seed >> 20).wrapping_mul(number * 7 + 3) % (16 * 512 / info.sector_len as u64);
        let len = (sectors * info.sector_len as u64).min(info.segment_len_max as u64).min(info.len - place);
        if len == 0 {
            break;
        }
        let mut buffer = Buffer::zeroed(len as usize);
        if op == BlockOp::Write {
            pattern::fill(place, &mut buffer);
        }
        buffers.push(buffer);
        place += len;
    }
    request(op, offset, place - offset, buffers)
}

/// What is wrong with a read of the pattern.
fn wrong(done: &BlockCompletion) -> Option<String> {
    let mut place = done.request.offset;
    let bad = done.request.buffers.iter().position(|buffer| {
        place += buffer.len() as u64;
        !pattern::is_right(place - buffer.len() as u64, buffer)
    });
    match done.result {
        Err(error) => Some(error.to_string()),
        Ok(()) => bad.map(|buffer| format!("wrong bytes in buffer {buffer} of {:?}", done.request)),
    }
}

/// Makes a range zero. What is wrong after that.
async fn cleared(disk: &mut dyn BlockDevice, range: Range<u64>, len_max: u64) -> Vec<String> {
    let mut bad = Vec::new();
    let requests = ranges(range.clone(), len_max);
    let requests = requests.map(|(offset, len)| request(BlockOp::WriteZeroes, offset, len, Vec::new()));
    run_all(disk, usize::MAX, requests, |done| bad.extend(done.result.err().map(|error| error.to_string()))).await;
    let reads = ranges(range, 4096).map(|(offset, len)| {
        let mut request = read(offset, len as usize);
        request.buffers[0].fill(1);
        request
    });
    run_all(disk, usize::MAX, reads, |done| {
        let is_zero = done.request.buffers[0].iter().all(|byte| *byte == 0);
        bad.extend((!is_zero).then(|| format!("no zeros at {}", done.request.offset)));
    })
    .await;
    bad
}

fn ranges(range: Range<u64>, len_max: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        let len = len_max.min(range.end - at);
        at += len;
        (len > 0).then_some((at - len, len))
    })
}

/// Reads every sector of the disk, and writes the first. Tells what failed and how.
pub async fn errors(disk: &mut dyn BlockDevice) -> String {
    let info = disk.info().clone();
    let mut failed = Vec::new();
    let sectors =
        (0..info.len / info.sector_len as u64).map(|number| read(number * info.sector_len as u64, info.sector_len));
    run_all(disk, usize::MAX, sectors, |done| {
        failed.extend(done.result.err().map(|error| format!("{}: {error:?}", done.request.offset)));
    })
    .await;
    let write = request(BlockOp::Write, 0, info.sector_len as u64, vec![Buffer::zeroed(info.sector_len)]);
    let written = run(disk, write).await.map(|_| ());
    format!("cannot read [{}]; write: {written:?}", failed.join(", "))
}

/// What a read is long, so that memory that is lost is seen.
const LONG_READ_LEN: usize = 64 * 1024;

/// Eight reads at once, then one more. Tells how they went, and whether all their memory came back.
pub async fn requests(disk: &mut dyn BlockDevice) -> String {
    let free = heap::free();
    let mut results = vec![String::new(); 8];
    let reads = (0..8).map(|number| read((number * LONG_READ_LEN) as u64, LONG_READ_LEN));
    run_all(disk, usize::MAX, reads, |done| {
        results[done.request.offset as usize / LONG_READ_LEN] = match done.result {
            Ok(()) => "ok".into(),
            Err(error) => format!("{error:?}"),
        };
    })
    .await;
    let last = run(disk, read(0, LONG_READ_LEN)).await.map(|_| ());
    let is_lost = free.saturating_sub(heap::free()) > LONG_READ_LEN / 2;
    let memory = if is_lost { "lost" } else { "back" };
    format!("answered {}, then {last:?}; memory is {memory}", results.join(" "))
}

/// So many reads of 4 KiB, `depth` at a time, each in the buffer of an earlier one: the driver's work, and little else.
pub async fn reads(disk: &mut dyn BlockDevice, depth: u64, count: u64) -> String {
    const READ_LEN: u64 = 4096;
    let places = disk.info().len / READ_LEN;
    let (mut submitted, mut done) = (depth, 0);
    for number in 0..depth {
        disk.submit(read(number % places * READ_LEN, READ_LEN as usize)).expect("the queue takes as many");
    }
    while done < count {
        disk.kick();
        poll_fn(|cx| disk.poll_ready(cx)).await;
        while let Some(BlockCompletion { mut request, result }) = disk.complete() {
            if let Err(error) = result {
                return format!("failed: {error}");
            }
            done += 1;
            if submitted < count {
                request.offset = submitted % places * READ_LEN;
                submitted += 1;
                disk.submit(request).expect("one was done");
            }
        }
    }
    format!("read {done} times")
}
