//! A disk as drivers and the layers above see it: requests in, completions out, buffers owned by whoever has the request.

use super::Buffer;
use alloc::{string::String, vec::Vec};
use core::{
    fmt,
    ops::Range,
    task::{Context, Poll},
};

/// A disk. All places and lengths are in bytes and are multiples of [`sector_len`](BlockInfo::sector_len).
///
/// Requests may be executed in any order and at the same time: whoever needs an order waits for the first before it
/// submits the second. Completed writes survive a loss of power after a [`Flush`](BlockOp::Flush) that was submitted later
/// has completed.
pub trait BlockDevice {
    /// What it is; does not change.
    fn info(&self) -> &BlockInfo;

    /// Queues a request. Hands it back when the queue is full; try again after a completion. A bug of the caller, and
    /// panics: a range that is not of whole sectors, that leaves the device, or that is longer than
    /// [`BlockInfo`] allows; an operation that it does not offer.
    fn submit(&mut self, request: BlockRequest) -> Result<(), BlockRequest>;

    /// Tells the device about the requests queued since the last call: one doorbell for a batch.
    fn kick(&mut self);

    /// The next request that is done. Never waits.
    fn complete(&mut self) -> Option<BlockCompletion>;

    /// Ready when a request is done. Otherwise wakes the task once that changes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What a disk is. Lengths are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The disk's name, as the host gave it (virtio-blk: `serial=`, at most 20 bytes); often empty.
    pub serial: String,
    /// The unit of reading and writing: 512 or 4096.
    pub sector_len: usize,
    /// The size of the disk.
    pub len: u64,
    /// What the medium writes at once: writes of whole aligned multiples need not be read first. At least the sector.
    pub physical_sector_len: usize,
    /// Writes fail.
    pub is_read_only: bool,
    /// [`BlockOp::Flush`] is needed and offered; without it a completed write is on the medium.
    pub has_volatile_cache: bool,
    /// Most bytes that one [`BlockOp::Discard`] names; 0: not offered.
    pub discard_len_max: u64,
    /// Most bytes that one [`BlockOp::WriteZeroes`] names; 0: not offered.
    pub write_zeroes_len_max: u64,
    /// Most buffers in one request.
    pub segments_max: usize,
    /// Most bytes in one buffer of a request.
    pub segment_len_max: usize,
    /// How many requests of one buffer may be under way, about.
    pub queue_len: usize,
}

impl BlockInfo {
    /// Whether `range` is of whole sectors and inside the disk.
    pub fn contains(&self, range: &Range<u64>) -> bool {
        let sector_len = self.sector_len as u64;
        let is_whole = range.start.is_multiple_of(sector_len) && range.end.is_multiple_of(sector_len);
        is_whole && range.start <= range.end && range.end <= self.len
    }
}

/// What a disk shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOp {
    /// Fills the buffers.
    Read,
    /// Writes the buffers.
    Write,
    /// Makes all writes that have completed survive a loss of power.
    Flush,
    /// Forgets the bytes: they may read as anything until they are written again.
    Discard,
    /// Makes the bytes zero, and may give their place on the host back.
    WriteZeroes,
}

/// A request with its buffers, which belong to the device until it is done.
#[derive(Debug)]
pub struct BlockRequest {
    /// Comes back with the completion.
    pub tag: u64,
    /// What to do.
    pub op: BlockOp,
    /// Where; 0 for a flush.
    pub offset: u64,
    /// How much: the length of all buffers together for reads and writes, 0 for a flush.
    pub len: u64,
    /// Where the bytes go or come from, in order. Empty for the other operations.
    pub buffers: Vec<Buffer>,
}

impl BlockRequest {
    /// Panics where a disk may not be asked this; a real device would answer with an error, or worse.
    pub(crate) fn check(&self, info: &BlockInfo) {
        assert!(info.contains(&(self.offset..self.offset + self.len)), "a request outside the disk or its sectors");
        let (mut total, mut longest) = (0, 0);
        for buffer in &self.buffers {
            total += buffer.len();
            longest = longest.max(buffer.len());
        }
        let segments = self.buffers.len();
        match self.op {
            BlockOp::Read | BlockOp::Write => {
                assert!(total as u64 == self.len && total > 0, "the buffers are as long as the request");
                assert!(segments <= info.segments_max && longest <= info.segment_len_max, "too much at once");
            }
            _ => assert!(segments == 0, "buffers for an operation that has none"),
        }
        match self.op {
            BlockOp::Read | BlockOp::Write => {}
            BlockOp::Flush => assert!(info.has_volatile_cache && self.len == 0, "a flush that is not offered"),
            BlockOp::Discard => assert!(self.len <= info.discard_len_max, "a discard that is not offered"),
            BlockOp::WriteZeroes => assert!(self.len <= info.write_zeroes_len_max, "zeroes that are not offered"),
        }
    }
}

/// A request that is done, with its buffers.
#[derive(Debug)]
pub struct BlockCompletion {
    /// The request as it was submitted.
    pub request: BlockRequest,
    /// How it went. After an error the buffers of a read, or the range of a write, hold anything.
    pub result: Result<(), BlockError>,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockError {
    /// The device reported an error: the medium is damaged, or the host cannot reach or extend its file.
    Io,
    /// The device does not do this, or it is read-only.
    Unsupported,
    /// The device is gone, or it broke the rules and is not used any more.
    Gone,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BlockError::Io => "the disk reported an I/O error; look at the host: is its disk full, its file readable?",
            BlockError::Unsupported => "the disk does not offer this operation, or it is read-only",
            BlockError::Gone => "the disk is gone",
        })
    }
}

impl core::error::Error for BlockError {}
