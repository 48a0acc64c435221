//! A file of the workstation as a disk.

use crate::device::{BlockCompletion, BlockDevice, BlockError, BlockInfo, BlockOp, BlockRequest};
use core::task::{Context, Poll};
use std::{
    boxed::Box,
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    string::ToString,
};

/// The sector length that files are given.
const SECTOR_LEN: usize = 512;
/// Zeros are written in pieces of this length.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// A file as a disk: what is written is in the file at once, what is flushed is on its medium. Requests block, so it is
/// for tools and tests.
///
/// ```
/// use unikernel_rt::{device::BlockDevice, sim::FileDisk};
///
/// # let path = std::env::temp_dir().join(format!("file-disk-{}.img", std::process::id()));
/// std::fs::write(&path, [0; 1 << 20])?;
/// let disk = FileDisk::open(&path, true)?;
/// assert_eq!((disk.info().len, disk.info().is_read_only), (1 << 20, false));
/// # std::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
pub struct FileDisk {
    file: File,
    info: BlockInfo,
    requests: VecDeque<BlockRequest>,
}

impl FileDisk {
    /// Opens the file at `path`; to read only, unless `is_writable`. Bytes beyond the last whole sector are not seen.
    ///
    /// # Errors
    ///
    /// It cannot be opened so.
    pub fn open(path: &Path, is_writable: bool) -> io::Result<FileDisk> {
        let file = OpenOptions::new().read(true).write(is_writable).open(path)?;
        let len = file.metadata()?.len();
        let info = BlockInfo {
            serial: path.file_stem().map(|name| name.to_string_lossy().to_string()).unwrap_or_default(),
            sector_len: SECTOR_LEN,
            len: len - len % SECTOR_LEN as u64,
            physical_sector_len: 4096,
            is_read_only: !is_writable,
            has_volatile_cache: is_writable,
            discard_len_max: 0,
            write_zeroes_len_max: 1 << 30,
            segments_max: 128,
            segment_len_max: 1 << 20,
            queue_len: 64,
        };
        Ok(FileDisk { file, info, requests: VecDeque::new() })
    }

    /// The same as a device.
    ///
    /// # Errors
    ///
    /// See [`open`](Self::open).
    pub fn device(path: &Path, is_writable: bool) -> io::Result<Box<dyn BlockDevice>> {
        Ok(Box::new(FileDisk::open(path, is_writable)?))
    }

    fn execute(&self, request: &mut BlockRequest) -> io::Result<()> {
        let mut at = request.offset;
        match request.op {
            BlockOp::Read => request.buffers.iter_mut().try_for_each(|buffer| {
                let len = buffer.len() as u64;
                at += len;
                self.file.read_exact_at(&mut buffer[..], at - len)
            }),
            BlockOp::Write => request.buffers.iter().try_for_each(|buffer| {
                at += buffer.len() as u64;
                self.file.write_all_at(buffer, at - buffer.len() as u64)
            }),
            BlockOp::Flush => self.file.sync_data(),
            BlockOp::Discard => Ok(()),
            BlockOp::WriteZeroes => self.write_zeroes(request.offset, request.len),
        }
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let part = (len - done).min(ZEROES.len() as u64);
            self.file.write_all_at(&ZEROES[..part as usize], offset + done)?;
            done += part;
        }
        Ok(())
    }
}

impl BlockDevice for FileDisk {
    fn info(&self) -> &BlockInfo {
        &self.info
    }

    fn submit(&mut self, request: BlockRequest) -> Result<(), BlockRequest> {
        if self.requests.len() >= self.info.queue_len {
            return Err(request);
        }
        self.requests.push_back(request);
        Ok(())
    }

    fn kick(&mut self) {}

    fn complete(&mut self) -> Option<BlockCompletion> {
        let mut request = self.requests.pop_front()?;
        let writes = !matches!(request.op, BlockOp::Read);
        let result = match writes && self.info.is_read_only {
            true => Err(BlockError::Unsupported),
            false => self.execute(&mut request).map_err(|_| BlockError::Io),
        };
        Some(BlockCompletion { request, result })
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.requests.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}
