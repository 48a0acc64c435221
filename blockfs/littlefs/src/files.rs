//! Open files.

use crate::{Error, Fault, Littlefs, Result, Storage, empty, error, names::TIME_ATTRIBUTE, names::terminated, zeros};
use alloc::{boxed::Box, vec::Vec};
use core::ptr::NonNull;
use littlefs_rust_core::{
    Lfs, LfsDir, LfsFile, LfsFileConfig, LfsInfo, lfs_mattr, lfs_mktag,
    lfs_type::{
        lfs_open_flags::{LFS_F_DIRTY, LFS_F_ERRED, LFS_F_INLINE, LFS_O_CREAT, LFS_O_RDONLY, LFS_O_RDWR, LFS_O_TRUNC},
        lfs_type::{LFS_TYPE_CTZSTRUCT, LFS_TYPE_INLINESTRUCT, LFS_TYPE_USERATTR},
        lfs_whence_flags::LFS_SEEK_SET,
    },
};

/// An open file's number. It is used again after the file was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(usize);

/// How a file is opened to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is there.
    Edit,
    /// It is made if it is not there.
    Append,
    /// The same, and it is emptied, with the first sync.
    Create,
}

/// Where the bytes of a file are that was opened to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of them, from the folder's block.
    Inline(Vec<u8>),
    /// In blocks of their own, which stay as they are until the file is closed, whatever happens to its name.
    Blocks {
        /// To close it.
        file: FileId,
        /// The last block; the others are found from there.
        head: u32,
        /// Bytes in all.
        len: u32,
    },
}

/// Types of the port of which zeros are a value.
pub(crate) trait Plain {}
impl Plain for Lfs {}
impl Plain for LfsInfo {}
impl Plain for LfsDir {}
impl Plain for LfsFile {}

/// An open file; the memory stays where it is.
pub(crate) struct OpenFile(NonNull<Memory>);

struct Memory {
    file: LfsFile,
    config: LfsFileConfig,
    cache: Vec<u64>,
    is_writer: bool,
    /// An error after which the file must not be synced.
    failed: Option<Error>,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: `open_handle` got it from a box. The port's list has it no more, or is not used any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl OpenFile {
    fn new(cache_len: u32) -> Result<OpenFile> {
        let null = core::ptr::null_mut();
        let memory = Box::new(Memory {
            file: empty(),
            config: LfsFileConfig { buffer: null, attrs: null.cast(), attr_count: 0 },
            cache: zeros(cache_len)?,
            is_writer: false,
            failed: None,
        });
        let memory = NonNull::from(Box::leak(memory));
        // SAFETY: it was just made, and nobody else has it.
        let of = unsafe { &mut *memory.as_ptr() };
        of.config.buffer = of.cache.as_mut_ptr().cast();
        Ok(OpenFile(memory))
    }

    fn file(&self) -> *mut LfsFile {
        // SAFETY: the memory lives as long as `self`; no reference is made.
        unsafe { &raw mut (*self.0.as_ptr()).file }
    }

    /// A copy of what the port has changed since.
    fn flags(&self) -> i32 {
        // SAFETY: the port is not running.
        unsafe { (*self.file()).flags as i32 }
    }

    fn set_flags(&self, flags: i32) {
        // SAFETY: the port is not running.
        unsafe { (*self.file()).flags = flags as u32 };
    }

    /// Its last block and length.
    fn blocks(&self) -> (u32, u32) {
        // SAFETY: the port is not running.
        unsafe { ((*self.file()).ctz.head, (*self.file()).ctz.size) }
    }

    fn position(&self) -> u32 {
        // SAFETY: the port is not running.
        unsafe { (*self.file()).pos }
    }

    /// Where the bytes of an inline file are.
    fn cache(&self) -> *const core::ffi::c_void {
        // SAFETY: the port is not running.
        unsafe { (*self.file()).cache.buffer.cast_const().cast() }
    }

    /// The pair of blocks and the number in it where its name is; the pair of nulls when that is gone.
    fn place(&self) -> ([u32; 2], u16) {
        // SAFETY: the port is not running.
        unsafe { ((*self.file()).m.pair, (*self.file()).id) }
    }

    fn is_removed(&self) -> bool {
        self.place().0.contains(&u32::MAX)
    }

    fn is_at(&self, (pair, id): ([u32; 2], u16)) -> bool {
        let (own_pair, own_id) = self.place();
        own_id == id && !self.is_removed() && own_pair.iter().any(|block| pair.contains(block))
    }

    fn is_writer(&self) -> bool {
        // SAFETY: the port does not know this field.
        unsafe { (*self.0.as_ptr()).is_writer }
    }

    fn failed(&self) -> Option<Error> {
        // SAFETY: the port does not know this field.
        unsafe { (*self.0.as_ptr()).failed }
    }

    /// Remembers an error: from then on the file is never synced.
    fn fail<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = result {
            // SAFETY: the port does not know this field.
            unsafe { (*self.0.as_ptr()).failed = Some(error) };
        }
        result
    }
}

impl<S: Storage> Littlefs<S> {
    /// Opens a file to read it.
    pub fn open(&mut self, path: &str) -> Result<Content> {
        let id = self.open_handle(path, LFS_O_RDONLY)?;
        let file = &self.files[id.0];
        let (head, len) = file.blocks();
        if file.flags() & LFS_F_INLINE != 0 {
            let content = self.read_handle(id, len);
            self.abandon(id);
            return content.map(Content::Inline);
        }
        // The port takes blocks of a changed file for used ones, and does not sync one with an error: so nothing
        // gets these blocks until the handle is closed.
        file.set_flags(file.flags() | LFS_F_DIRTY | LFS_F_ERRED);
        Ok(Content::Blocks { file: id, head, len })
    }

    /// Opens a file to write it; there is one such handle of a file at a time, or [`Error::Busy`].
    pub fn open_to_write(&mut self, path: &str, mode: Mode) -> Result<(FileId, u32)> {
        let flags = match mode {
            Mode::Edit => LFS_O_RDWR,
            Mode::Append => LFS_O_RDWR | LFS_O_CREAT,
            Mode::Create => LFS_O_RDWR | LFS_O_CREAT | LFS_O_TRUNC,
        };
        // The names are short enough: the port means that it has no block for the folder.
        let full = |error| if error == Error::NameTooLong { Error::Full } else { error };
        let id = self.open_handle(path, flags).map_err(full)?;
        if self.has_other_writer(id) {
            self.abandon(id);
            return Err(Error::Busy);
        }
        let file = &self.files[id.0];
        let (_, len) = file.blocks();
        if file.flags() & LFS_F_INLINE != 0 && len > self.cache_len() {
            self.abandon(id);
            return Err(Error::Corrupt);
        }
        // SAFETY: the port does not know this field.
        unsafe { (*file.0.as_ptr()).is_writer = true };
        Ok((id, len))
    }

    /// Bytes at `offset`: `len` of them, fewer at the end.
    pub fn read(&mut self, id: FileId, offset: u32, len: u32) -> Result<Vec<u8>> {
        self.check_writer(id)?;
        let result = self.seek(id, offset).and_then(|()| self.read_handle(id, len));
        // To seek and to read may write what is in the file's cache.
        if result == Err(Error::NoMemory) { result } else { self.files[id.0].fail(result) }
    }

    /// Writes `bytes` at `offset`, which is at most the length. After an error the file stays as it was at the last sync.
    pub fn write(&mut self, id: FileId, offset: u32, bytes: &[u8]) -> Result<()> {
        self.check_writer(id)?;
        let result = self.seek(id, offset).and_then(|()| {
            let file = self.files[id.0].file();
            let len = bytes.len() as u32;
            let written = littlefs_rust_core::lfs_file_write(self.begin(), file, bytes.as_ptr().cast(), len);
            error::check_len(written).and_then(|written| if written == len { Ok(()) } else { Err(Error::Io) })
        });
        self.files[id.0].fail(result)
    }

    /// Shortens the file to `len` bytes.
    pub fn truncate(&mut self, id: FileId, len: u32) -> Result<()> {
        self.check_writer(id)?;
        let file = &self.files[id.0];
        let result = error::check(littlefs_rust_core::lfs_file_truncate(self.begin(), file.file(), len));
        file.fail(result)
    }

    /// Makes what was written the file's content; `now` is the time of the change, in seconds since 1970.
    pub fn sync(&mut self, id: FileId, now: u64) -> Result<()> {
        self.check_writer(id)?;
        let result = if self.files[id.0].is_removed() { Err(Error::NotFound) } else { self.commit(id, now) };
        self.files[id.0].fail(result)
    }

    /// What the port's `lfs_file_sync` does, with the time in the same change of the folder. The port has attributes of files
    /// for that, but counts the place of a name twice when it rewrites a folder's block with one.
    fn commit(&mut self, id: FileId, now: u64) -> Result<()> {
        // To go to another place writes the cache.
        let (_, len) = self.files[id.0].blocks();
        self.seek(id, if self.files[id.0].position() == len { 0 } else { len })?;
        let file = &self.files[id.0];
        if file.flags() & LFS_F_DIRTY == 0 {
            return Ok(());
        }
        let ((head, len), (_, number)) = (file.blocks(), file.place());
        let place = [head.to_le(), len.to_le()];
        let content = match file.flags() & LFS_F_INLINE {
            0 => {
                // The data have to be on the disk before the name refers to them.
                self.storage().sync().map_err(|fault| if fault == Fault::Io { Error::Io } else { Error::Corrupt })?;
                lfs_mattr { tag: lfs_mktag(LFS_TYPE_CTZSTRUCT, number.into(), 8), buffer: place.as_ptr().cast() }
            }
            _ => lfs_mattr { tag: lfs_mktag(LFS_TYPE_INLINESTRUCT, number.into(), len), buffer: file.cache() },
        };
        let now = now.to_le_bytes();
        let time_tag = lfs_mktag(LFS_TYPE_USERATTR + u32::from(TIME_ATTRIBUTE), number.into(), 8);
        let changes = [content, lfs_mattr { tag: time_tag, buffer: now.as_ptr().cast() }];
        let file = self.files[id.0].file();
        // SAFETY: the port is not running; it takes the folder of its own file, as its own sync does.
        let folder = unsafe { &raw mut (*file).m };
        let (lfs, changes) = (self.begin(), &changes);
        error::check(littlefs_rust_core::lfs_dir_commit(lfs, folder, changes.as_ptr().cast(), changes.len() as i32))?;
        let file = &self.files[id.0];
        file.set_flags(file.flags() & !LFS_F_DIRTY);
        Ok(())
    }

    /// Closes a file; what was written since the last sync is forgotten. A number that is not in use is a bug of the
    /// caller and panics.
    pub fn close(&mut self, id: FileId) {
        self.abandon(id);
    }

    pub(crate) fn open_handle(&mut self, path: &str, flags: i32) -> Result<FileId> {
        let path = terminated(path)?;
        let open = OpenFile::new(self.cache_len())?;
        // SAFETY: the memory was just made; no reference is kept.
        let config = unsafe { &raw const (*open.0.as_ptr()).config };
        error::check(littlefs_rust_core::lfs_file_opencfg(self.begin(), open.file(), path.as_ptr(), flags, config))?;
        Ok(FileId(self.files.insert(open)))
    }

    /// Closes without syncing.
    pub(crate) fn abandon(&mut self, id: FileId) {
        let file = self.files.remove(id.0);
        // The port leaves a file in its list whose sync fails at the end; with an error before, it does not sync.
        file.set_flags(file.flags() | LFS_F_ERRED);
        littlefs_rust_core::lfs_file_close(self.lfs(), file.file());
    }

    pub(crate) fn has_other_writer(&self, id: FileId) -> bool {
        let place = self.files[id.0].place();
        self.files.iter().any(|(number, file)| number != id.0 && file.is_writer() && file.is_at(place))
    }

    fn check_writer(&self, id: FileId) -> Result<()> {
        match self.files.get(id.0) {
            Some(file) if file.is_writer() => file.failed().map_or(Ok(()), Err),
            _ => Err(Error::Invalid),
        }
    }

    fn seek(&mut self, id: FileId, offset: u32) -> Result<()> {
        let offset = i32::try_from(offset).map_err(|_| Error::TooLarge)?;
        let file = self.files[id.0].file();
        error::check_len(littlefs_rust_core::lfs_file_seek(self.begin(), file, offset, LFS_SEEK_SET)).map(drop)
    }

    fn read_handle(&mut self, id: FileId, len: u32) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len as usize).map_err(|_| Error::NoMemory)?;
        bytes.resize(len as usize, 0);
        let file = self.files[id.0].file();
        let read = littlefs_rust_core::lfs_file_read(self.begin(), file, bytes.as_mut_ptr().cast(), len);
        bytes.truncate(error::check_len(read)? as usize);
        Ok(bytes)
    }

    fn cache_len(&self) -> u32 {
        // SAFETY: `inner` lives as long as `self`, and nobody changes its configuration.
        unsafe { (*self.inner.as_ptr()).config.cache_size }
    }
}
