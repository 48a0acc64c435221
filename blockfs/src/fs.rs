//! What a file system offers to [`Volume`](crate::Volume): one trait for it, one for its open files.

use crate::{
    error::Cause,
    metadata::{Entry, Metadata, Space, VolumeInfo},
};
use alloc::{boxed::Box, rc::Rc, vec::Vec};
use bytes::Bytes;
use core::{future::Future, pin::Pin};

/// The future of an answer. Boxed, so that a volume has no type parameter.
pub(crate) type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Cause>> + 'a>>;

/// What a folder takes at least, in any format: a few numbers about it, and its name.
const FOLDER_LEN_MIN: u64 = 32;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To read; it is there.
    Read,
    /// To read and write; it is there.
    Edit,
    /// To read and write; made if it is not there.
    Append,
    /// To read and write; made if it is not there, emptied if it is.
    Create,
}

/// A mounted file system. Paths are names joined by single slashes, without one at the start; empty for the root; none of
/// the names is empty, `.` or `..`, longer than 255 bytes, or has a NUL.
///
/// Every operation that returned without an error is done; a dropped future may have done its work or not, but no half
/// of it, where the format promises that.
pub(crate) trait FileSystem {
    /// What it is.
    fn info(&self) -> &VolumeInfo;

    /// More folders than this there cannot be: a walk that finds them goes in circles.
    fn folder_count_max(&self) -> u64 {
        self.info().len / FOLDER_LEN_MIN
    }

    /// About a file or folder; of a symbolic link, about what it leads to.
    fn metadata<'a>(&'a self, path: &'a str) -> Reply<'a, Metadata>;

    /// The entries of a folder, in the format's order.
    fn list<'a>(&'a self, path: &'a str) -> Reply<'a, Vec<Entry>>;

    /// Opens a file. Every mode but `Read` fails with [`Cause::ReadOnly`] where nothing can be written.
    fn open<'a>(&'a self, path: &'a str, mode: Mode) -> Reply<'a, Rc<dyn Node>>;

    /// What is free.
    fn space(&self) -> Reply<'_, Space> {
        let info = self.info();
        let space = Space { total: info.len, free: 0 };
        Box::pin(core::future::ready(Ok(space)))
    }

    /// Makes a folder in one that is there.
    fn create_folder<'a>(&'a self, _path: &'a str) -> Reply<'a, ()> {
        read_only()
    }

    /// Removes a file or an empty folder.
    fn remove<'a>(&'a self, _path: &'a str) -> Reply<'a, ()> {
        read_only()
    }

    /// Renames; a file that is there under the new name is replaced, at once where the format can.
    fn rename<'a>(&'a self, _from: &'a str, _to: &'a str) -> Reply<'a, ()> {
        read_only()
    }

    /// Makes everything that was done survive a loss of power; files that are open for writing are synced by themselves.
    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(core::future::ready(Ok(())))
    }
}

/// An open file. Dropping one that was written writes what is left in the background, in the order of the operations.
pub(crate) trait Node {
    /// Its length now.
    fn len(&self) -> u64;

    /// At least one and at most `len` bytes at `offset`, which is before the end; `len` is not zero. Without copying where
    /// that is possible.
    fn read_at(&self, offset: u64, len: usize) -> Reply<'_, Bytes>;

    /// The same, if the answer is in memory.
    fn read_now(&self, _offset: u64, _len: usize) -> Option<Bytes> {
        None
    }

    /// Begins to read ahead, if that is of use.
    fn prefetch(&self, _offset: u64, _len: usize) {}

    /// Writes all bytes; what lies between the end and `offset` becomes zero.
    fn write_at<'a>(&'a self, _offset: u64, _bytes: &'a [u8]) -> Reply<'a, ()> {
        read_only()
    }

    /// Shortens it, or lengthens it with zeros.
    fn truncate(&self, _len: u64) -> Reply<'_, ()> {
        read_only()
    }

    /// Makes what was written visible to those who open the file from now on, and safe.
    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(core::future::ready(Ok(())))
    }
}

fn read_only<'a, T: 'a>() -> Reply<'a, T> {
    Box::pin(core::future::ready(Err(Cause::ReadOnly)))
}
