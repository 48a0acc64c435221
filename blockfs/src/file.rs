//! [`File`]: an open file of a volume.

use crate::{
    error::{Cause, Error, Result},
    fs::Node,
};
use alloc::{boxed::Box, rc::Rc};
use bytes::Bytes;
use core::cell::Cell;
use embedded_io_async::{ErrorType, Read, Seek, SeekFrom, Write};
use unikernel_rt::device::Buffer;

/// So much is asked for ahead of a reader that goes from one place to the next.
const READ_AHEAD_LEN: usize = 256 * 1024;

/// An open file with a position for [`Read`], [`Write`] and [`Seek`]; `read_at` and `write_at` leave the position where it
/// is.
///
/// What was written is safe, and seen by those who open the file later, after [`sync`](File::sync). Dropping the file
/// does that in the background, and an error is only logged then.
///
/// A clone is the same open file with a position of its own.
///
/// ```
/// # use unikernel_rt::sim::SimDisk;
/// # unikernel_rt::sim::run("", async {
/// use unikernel_blockfs::{Disk, Format, Volume};
///
/// # let device = SimDisk::new(4 << 20).device();
/// # let volume = Volume::format(Disk::new(device), Format::Littlefs).await?;
/// let file = volume.create("log").await?;
/// file.write_at(0, b"one\ntwo\n").await?;
/// // From here on a loss of power changes nothing about it.
/// file.sync().await?;
///
/// let file = volume.open("log").await?;
/// assert_eq!(file.len(), 8);
/// assert_eq!(&file.read_at(4, 100).await?[..], b"two\n");
/// # Ok::<_, unikernel_blockfs::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct File {
    node: Rc<dyn Node>,
    path: Box<str>,
    position: u64,
    /// Where a reader that goes on would read next, and up to where was asked ahead.
    next: Cell<u64>,
    ahead: Cell<u64>,
}

impl File {
    pub(crate) fn new(node: Rc<dyn Node>, path: &str) -> File {
        File { node, path: path.into(), position: 0, next: Cell::new(0), ahead: Cell::new(0) }
    }

    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.node.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it was opened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where [`Read`] and [`Write`] go on.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Moves the position; it may be beyond the end.
    pub fn set_position(&mut self, position: u64) {
        self.position = position;
    }

    /// Bytes at `offset`: at least one and at most `len`, as many as can be had without copying; none at the end or when
    /// `len` is zero. A reader that goes on where it ended finds the next ones read ahead.
    ///
    /// # Errors
    ///
    /// The disk failed or is damaged; the file was removed.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let end = self.node.len().min(offset.saturating_add(len as u64));
        if offset >= end {
            return Ok(Bytes::new());
        }
        let len = (end - offset) as usize;
        let bytes = match self.node.read_now(offset, len) {
            Some(bytes) => bytes,
            None => self.node.read_at(offset, len).await.map_err(|cause| self.error("read", cause))?,
        };
        self.read_ahead(offset, offset + bytes.len() as u64);
        Ok(bytes)
    }

    /// The same, if the bytes are in memory.
    pub fn read_now(&self, offset: u64, len: usize) -> Option<Bytes> {
        let end = self.node.len().min(offset.saturating_add(len as u64));
        if offset >= end { Some(Bytes::new()) } else { self.node.read_now(offset, (end - offset) as usize) }
    }

    /// Asks for what comes next while the reader uses what it has.
    fn read_ahead(&self, start: u64, end: u64) {
        let goes_on = start == self.next.replace(end) && start > 0;
        if !goes_on || end < self.ahead.get().saturating_sub(READ_AHEAD_LEN as u64 / 2) {
            return;
        }
        let from = end.max(self.ahead.get());
        let until = self.node.len().min(end + READ_AHEAD_LEN as u64);
        if from < until {
            self.node.prefetch(from, (until - from) as usize);
            self.ahead.set(until);
        }
    }

    /// Fills `bytes` from `offset` on. Returns how many there were: fewer only at the end of the file.
    ///
    /// # Errors
    ///
    /// As for [`read_at`](Self::read_at).
    pub async fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let piece = self.read_at(offset + done as u64, bytes.len() - done).await?;
            if piece.is_empty() {
                break;
            }
            bytes[done..done + piece.len()].copy_from_slice(&piece);
            done += piece.len();
        }
        Ok(done)
    }

    /// The whole content.
    ///
    /// # Errors
    ///
    /// It is longer than `len_max`; as for [`read_at`](Self::read_at).
    pub async fn read_all(&self, len_max: usize) -> Result<Bytes> {
        let len = self.len();
        if len > len_max as u64 {
            return Err(self.error("read", Cause::TooLarge));
        }
        let first = self.read_at(0, len as usize).await?;
        if first.len() as u64 == len {
            return Ok(first);
        }
        let no_memory = || self.error("read", Cause::OutOfMemory);
        let mut whole = Buffer::try_new(len as usize).ok_or_else(no_memory)?;
        whole[..first.len()].copy_from_slice(&first);
        let done = first.len() + self.read_exact_at(first.len() as u64, &mut whole[first.len()..]).await?;
        whole.truncate(done);
        Ok(Bytes::from_owner(whole))
    }

    /// Writes all bytes at `offset`. What lies between the end and `offset` becomes zero.
    ///
    /// # Errors
    ///
    /// No space is left; the file was opened to read; the disk failed. A part may have been written; it is not safe
    /// before a [`sync`](Self::sync), which then must not follow if the file shall stay as it was.
    pub async fn write_at(&self, offset: u64, bytes: &[u8]) -> Result {
        self.node.write_at(offset, bytes).await.map_err(|cause| self.error("write", cause))
    }

    /// Shortens the file to `len` bytes, or lengthens it with zeros.
    ///
    /// # Errors
    ///
    /// As for [`write_at`](Self::write_at).
    pub async fn truncate(&self, len: u64) -> Result {
        self.node.truncate(len).await.map_err(|cause| self.error("change the length of", cause))
    }

    /// Makes what was written survive a loss of power, and visible to those who open the file from now on.
    ///
    /// # Errors
    ///
    /// No space is left; the disk failed. On a format that survives a loss of power the file then is as it was after the
    /// sync before.
    pub async fn sync(&self) -> Result {
        self.node.sync().await.map_err(|cause| self.error("sync", cause))
    }

    fn error(&self, operation: &'static str, cause: Cause) -> Error {
        Error::new(operation, &self.path, cause)
    }
}

impl ErrorType for File {
    type Error = Error;
}

impl Read for File {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let piece = self.read_at(self.position, bytes.len()).await?;
        bytes[..piece.len()].copy_from_slice(&piece);
        self.position += piece.len() as u64;
        Ok(piece.len())
    }
}

impl Write for File {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.write_at(self.position, bytes).await?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// See [`sync`](File::sync).
    async fn flush(&mut self) -> Result {
        self.sync().await
    }
}

impl Seek for File {
    async fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(distance) => self.len().checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        self.position = position.ok_or_else(|| self.error("seek in", Cause::OutOfRange))?;
        Ok(self.position)
    }
}

impl core::fmt::Debug for File {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "File({:?}, {} bytes)", self.path, self.len())
    }
}
