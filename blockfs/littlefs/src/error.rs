//! The port's numbers as errors.

use core::fmt;

/// What a volume answers with.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why a disk did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk failed.
    Io,
    /// There is no such place on it.
    OutOfRange,
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The disk failed.
    Io,
    /// What is on the disk contradicts itself.
    Corrupt,
    /// There is no such file or folder.
    NotFound,
    /// There is one already.
    Exists,
    /// It is not a folder.
    NotAFolder,
    /// It is a folder.
    IsAFolder,
    /// The folder has entries.
    NotEmpty,
    /// The port takes this for a mistake; of a mount: the volume is of a kind that is not read.
    Invalid,
    /// No block is free.
    Full,
    /// There is not enough memory.
    NoMemory,
    /// The name is too long.
    NameTooLong,
    /// The file would be too long.
    TooLarge,
    /// Another handle writes the file.
    Busy,
    /// Another number.
    Other(i32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl core::error::Error for Error {}

fn error_of(code: i32) -> Error {
    use littlefs_rust_core as port;
    match code {
        port::LFS_ERR_IO => Error::Io,
        port::LFS_ERR_CORRUPT => Error::Corrupt,
        port::LFS_ERR_NOENT => Error::NotFound,
        port::LFS_ERR_EXIST => Error::Exists,
        port::LFS_ERR_NOTDIR => Error::NotAFolder,
        port::LFS_ERR_ISDIR => Error::IsAFolder,
        port::LFS_ERR_NOTEMPTY => Error::NotEmpty,
        port::LFS_ERR_INVAL => Error::Invalid,
        port::LFS_ERR_NOSPC => Error::Full,
        port::LFS_ERR_NOMEM => Error::NoMemory,
        port::LFS_ERR_NAMETOOLONG => Error::NameTooLong,
        // LFS_ERR_FBIG, which the port does not export.
        -27 => Error::TooLarge,
        code => Error::Other(code),
    }
}

pub(crate) fn check(code: i32) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(error_of(code)) }
}

/// For functions that return a length.
pub(crate) fn check_len(code: i32) -> Result<u32> {
    u32::try_from(code).map_err(|_| error_of(code))
}
