//! What can go wrong with a disk and with what is on it.

use alloc::{borrow::Cow, boxed::Box};
use core::fmt;
use unikernel_rt::device::BlockError;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// There is no such file or folder.
    NotFound,
    /// There is one of this name already.
    Exists,
    /// A part of the path is a file, or a file was found where a folder is needed.
    NotAFolder,
    /// It is a folder.
    IsAFolder,
    /// The folder has entries.
    NotEmpty,
    /// No space is left. What was there before is as it was.
    Full,
    /// The volume or the disk is read-only.
    ReadOnly,
    /// The name is empty, too long, or has characters that the format does not allow; or the path has `.` or `..`.
    InvalidName,
    /// The file would become larger than the format or this implementation allows.
    TooLarge,
    /// Somebody else writes this file.
    Busy,
    /// The path leads through too many symbolic links.
    TooManyLinks,
    /// What is on the disk contradicts itself or its checksum.
    Damaged(Cow<'static, str>),
    /// The disk holds something that this implementation does not read.
    Unsupported(Cow<'static, str>),
    /// The disk holds nothing.
    Blank,
    /// A place beyond the end of the disk.
    OutOfRange,
    /// There is not enough memory.
    OutOfMemory,
    /// More than a limit of this implementation, which the sentence names.
    Limit(&'static str),
    /// What a transaction read has changed since.
    Conflict,
    /// An earlier write failed, so nothing more is written.
    Poisoned,
    /// It was closed.
    Closed,
    /// The device failed.
    Disk(BlockError),
}

impl Cause {
    /// Damage, described by a fixed sentence.
    pub(crate) const fn damaged(what: &'static str) -> Cause {
        Cause::Damaged(Cow::Borrowed(what))
    }

    /// A feature that is not read, described by a fixed sentence.
    pub(crate) const fn unsupported(what: &'static str) -> Cause {
        Cause::Unsupported(Cow::Borrowed(what))
    }
}

impl From<BlockError> for Cause {
    fn from(error: BlockError) -> Cause {
        match error {
            BlockError::Unsupported => Cause::ReadOnly,
            error => Cause::Disk(error),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::NotFound => "there is no such file or folder",
            Cause::Exists => "it exists already",
            Cause::NotAFolder => "it is not a folder",
            Cause::IsAFolder => "it is a folder",
            Cause::NotEmpty => "the folder is not empty",
            Cause::Full => "no space is left; remove something, or make the volume larger",
            Cause::ReadOnly => "it is read-only",
            Cause::InvalidName => "the name is empty, too long, or has parts that this volume does not allow",
            Cause::TooLarge => "the file would be larger than this volume allows",
            Cause::Busy => "another task writes this file; wait until it closes it",
            Cause::TooManyLinks => "the path leads through too many symbolic links",
            Cause::Damaged(what) => return write!(f, "the disk is damaged: {what}; restore it from a copy"),
            Cause::Unsupported(what) => return write!(f, "the disk cannot be used: {what}"),
            Cause::Blank => {
                "the disk is blank; put something on it with `cargo unikernel image fs create`, or format it first"
            }
            Cause::OutOfRange => "it lies beyond the end of the disk",
            Cause::OutOfMemory => "there is not enough memory; give the machine more with -m",
            Cause::Limit(what) => what,
            Cause::Conflict => "what it read has been changed by others meanwhile; do it again",
            Cause::Poisoned => {
                "an earlier write failed, so nothing more is written; see to the disk, then open it anew"
            }
            Cause::Closed => "it was closed",
            Cause::Disk(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for Cause {}

impl embedded_io_async::Error for Cause {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        use embedded_io_async::ErrorKind;
        match self {
            Cause::NotFound => ErrorKind::NotFound,
            Cause::Exists => ErrorKind::AlreadyExists,
            Cause::ReadOnly => ErrorKind::PermissionDenied,
            Cause::OutOfMemory => ErrorKind::OutOfMemory,
            Cause::InvalidName => ErrorKind::InvalidInput,
            Cause::Unsupported(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        }
    }
}

/// An operation that failed: what was tried, on which path, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    operation: &'static str,
    path: Box<str>,
    cause: Cause,
}

impl Error {
    pub(crate) fn new(operation: &'static str, path: &str, cause: Cause) -> Error {
        Error { operation, path: path.into(), cause }
    }

    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// On which path; empty for operations on the whole volume.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => write!(f, "cannot {}: {}", self.operation, self.cause),
            path => write!(f, "cannot {} `{path}`: {}", self.operation, self.cause),
        }
    }
}

impl core::error::Error for Error {}

impl embedded_io_async::Error for Error {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        embedded_io_async::Error::kind(&self.cause)
    }
}

/// The result of an operation on a volume.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;
