//! The log: records one after the other, each with the changes of one or more transactions.
//!
//! A record is on the disk or not by its checksums. The next is written only when the one before is safe, so what follows a
//! record that is not whole tells an interrupted write from damage.

use super::{
    layout::{Layout, Superblock, u32_at, u64_at},
    pages::Pages,
};
use crate::error::Cause;
use bytes::Bytes;
use unikernel_rt::checksum::crc32c;
use unikernel_rt::device::Buffer;

/// Before the changes of a record.
pub(super) const RECORD_HEADER_LEN: usize = 32;
/// The log is read in pieces of this length.
const WINDOW_LEN: u64 = 128 * 1024;

/// Where the log begins and ends. Places count all bytes that ever were in the log; modulo its length they are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogEnds {
    /// The first record that is not in the tree.
    pub tail: u64,
    /// Where the next record goes.
    pub head: u64,
    /// The number of the next record.
    pub sequence: u64,
}

impl LogEnds {
    /// Where a record of `len` bytes can begin: it does not go round the end.
    pub(super) fn place(&self, layout: &Layout, len: u64) -> u64 {
        let log_len = layout.log_len();
        let left = log_len - self.head % log_len;
        if len <= left { self.head } else { self.head + left }
    }

    /// Whether a record that ends there leaves the oldest one alone.
    pub(super) fn has_room(&self, layout: &Layout, end: u64) -> bool {
        end - self.tail <= layout.log_len()
    }
}

/// The bytes of a record with `parts` as its changes, padded.
pub(super) fn encode(layout: &Layout, store_id: u64, sequence: u64, parts: &[Bytes]) -> Result<Buffer, Cause> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let padded = record_len(layout, len) as usize;
    let mut buffer = Buffer::try_new(padded).ok_or(Cause::OutOfMemory)?;
    let mut at = RECORD_HEADER_LEN;
    for part in parts {
        buffer[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    buffer[at..].fill(0);
    let sum = crc32c(0, &buffer[RECORD_HEADER_LEN..at]);
    buffer[4..8].copy_from_slice(&sum.to_le_bytes());
    buffer[8..16].copy_from_slice(&store_id.to_le_bytes());
    buffer[16..24].copy_from_slice(&sequence.to_le_bytes());
    buffer[24..28].copy_from_slice(&(len as u32).to_le_bytes());
    buffer[28..32].fill(0);
    let sum = crc32c(0, &buffer[4..RECORD_HEADER_LEN]);
    buffer[..4].copy_from_slice(&sum.to_le_bytes());
    Ok(buffer)
}

/// Bytes that a record with so many bytes of changes takes.
pub(super) fn record_len(layout: &Layout, len: usize) -> u64 {
    ((RECORD_HEADER_LEN + len) as u64).next_multiple_of(layout.log_unit.into())
}

/// Reads the log.
pub(super) struct Reader<'a> {
    pages: &'a Pages,
    window: Option<(u64, Bytes)>,
}

/// What a record's header says.
struct Head {
    sequence: u64,
    len: usize,
    sum: u32,
}

const DAMAGED_LOG: Cause =
    Cause::damaged("a record in the middle of the key-value store's log has not what was written to it");

impl<'a> Reader<'a> {
    pub(super) fn new(pages: &'a Pages) -> Reader<'a> {
        Reader { pages, window: None }
    }

    /// Calls `each` with the number and the changes of every record since the checkpoint. Returns where the log ends.
    pub(super) async fn replay(
        &mut self,
        superblock: &Superblock,
        mut each: impl FnMut(u64, Bytes) -> Result<(), Cause>,
    ) -> Result<LogEnds, Cause> {
        let layout = &self.pages.layout;
        let (offset, sequence) = (superblock.log_offset, superblock.log_sequence);
        let mut ends = LogEnds { tail: offset, head: offset, sequence };
        loop {
            let here = ends.head % layout.log_len();
            let gap = layout.log_len() - here;
            let found = match self.record(here, ends.sequence).await? {
                Some(record) => Some((ends.head, record)),
                None if here == 0 => None,
                None => self.record(0, ends.sequence).await?.map(|record| (ends.head + gap, record)),
            };
            let Some((start, changes)) = found else { break };
            let end = start + record_len(layout, changes.len());
            if !ends.has_room(layout, end) {
                return Err(DAMAGED_LOG);
            }
            each(ends.sequence, changes)?;
            ends = LogEnds { head: end, sequence: ends.sequence + 1, ..ends };
        }
        self.expect_end(&ends).await?;
        Ok(ends)
    }

    /// The changes of the record there, if it is whole and has this number.
    async fn record(&mut self, offset: u64, sequence: u64) -> Result<Option<Bytes>, Cause> {
        let head = self.head(offset).await?.filter(|head| head.sequence == sequence);
        let Some(head) = head else { return Ok(None) };
        let len = (RECORD_HEADER_LEN + head.len) as u64;
        if len > self.pages.layout.frame_len_max() || offset + len > self.pages.layout.log_len() {
            return Ok(None);
        }
        let changes = self.read(offset + RECORD_HEADER_LEN as u64, head.len).await?;
        Ok((crc32c(0, &changes) == head.sum).then_some(changes))
    }

    async fn head(&mut self, offset: u64) -> Result<Option<Head>, Cause> {
        let bytes = self.read(offset, RECORD_HEADER_LEN).await?;
        let is_ours = crc32c(0, &bytes[4..]) == u32_at(&bytes, 0) && u64_at(&bytes, 8) == self.pages.store_id;
        let head = Head { sequence: u64_at(&bytes, 16), len: u32_at(&bytes, 24) as usize, sum: u32_at(&bytes, 4) };
        Ok(is_ours.then_some(head))
    }

    /// Nothing later may follow the end: a later record proves that the one missing was whole once. It would begin within
    /// the longest record, or at the start of the log if that does not fit before its end.
    async fn expect_end(&mut self, ends: &LogEnds) -> Result<(), Cause> {
        let layout = &self.pages.layout;
        let (log_len, unit) = (layout.log_len(), u64::from(layout.log_unit));
        let here = ends.head % log_len;
        let end = here + layout.frame_len_max() + unit;
        let round = if end > log_len { 0..layout.frame_len_max() + unit } else { 0..unit };
        let places = (here..end.min(log_len)).step_by(unit as usize).chain(round.step_by(unit as usize));
        for offset in places {
            if self.head(offset).await?.is_some_and(|head| head.sequence > ends.sequence) {
                return Err(DAMAGED_LOG);
            }
        }
        Ok(())
    }

    /// Bytes of the log, through a window.
    async fn read(&mut self, offset: u64, len: usize) -> Result<Bytes, Cause> {
        if let Some((start, bytes)) = &self.window
            && let Some(at) = offset.checked_sub(*start)
            && let Some(part) = bytes.get(at as usize..at as usize + len)
        {
            return Ok(bytes.slice_ref(part));
        }
        let layout = &self.pages.layout;
        let window_len = WINDOW_LEN.max(len as u64).min(layout.log_len() - offset);
        let bytes = self.pages.disk.read(layout.log_start() + offset, window_len as usize).await?;
        let part = bytes.slice(..len);
        self.window = Some((offset, bytes));
        Ok(part)
    }
}
