//! Operations on names.

use crate::{Error, FileId, Littlefs, Result, Storage, empty, error};
use alloc::{vec, vec::Vec};
use littlefs_rust_core::{LfsDir, LfsInfo, lfs_type::lfs_type::LFS_TYPE_DIR};

/// The attribute with the time of the last change: the letter that ESP-IDF's littlefs and `mklittlefs` use.
pub(crate) const TIME_ATTRIBUTE: u8 = b't';

/// About a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// It is a folder.
    pub is_folder: bool,
    /// Bytes in it; of a folder 0.
    pub len: u32,
    /// When it was last changed, in seconds since 1970.
    pub modified: Option<u64>,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, in whatever encoding.
    pub name: Vec<u8>,
    /// It is a folder.
    pub is_folder: bool,
}

impl<S: Storage> Littlefs<S> {
    /// About a file or folder.
    pub fn info(&self, path: &str) -> Result<Info> {
        let path = terminated(path)?;
        let mut info = empty::<LfsInfo>();
        error::check(littlefs_rust_core::lfs_stat(self.lfs(), path.as_ptr(), &mut info))?;
        let mut time = [0; 8];
        let found = littlefs_rust_core::lfs_getattr(
            self.lfs(),
            path.as_ptr(),
            TIME_ATTRIBUTE,
            time.as_mut_ptr().cast(),
            time.len() as u32,
        );
        let modified = Some(u64::from_le_bytes(time)).filter(|time| found > 0 && *time > 0);
        Ok(Info { is_folder: is_folder(&info), len: if is_folder(&info) { 0 } else { info.size }, modified })
    }

    /// The entries of a folder.
    pub fn list(&mut self, path: &str) -> Result<Vec<Entry>> {
        let path = terminated(path)?;
        let mut folder = empty::<LfsDir>();
        let folder = &raw mut folder;
        error::check(littlefs_rust_core::lfs_dir_open(self.lfs(), folder, path.as_ptr()))?;
        let entries = self.entries(folder);
        // The port's list has a pointer to `folder` until here.
        littlefs_rust_core::lfs_dir_close(self.lfs(), folder);
        entries
    }

    fn entries(&mut self, folder: *mut LfsDir) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        loop {
            let mut info = empty::<LfsInfo>();
            if error::check_len(littlefs_rust_core::lfs_dir_read(self.lfs(), folder, &mut info))? == 0 {
                return Ok(entries);
            }
            let len = info.name.iter().position(|byte| *byte == 0).unwrap_or(info.name.len());
            let name = &info.name[..len];
            if name == b"." || name == b".." {
                continue;
            }
            entries.try_reserve(1).map_err(|_| Error::NoMemory)?;
            entries.push(Entry { name: name.to_vec(), is_folder: is_folder(&info) });
        }
    }

    /// Makes a folder.
    pub fn create_folder(&mut self, path: &str) -> Result<()> {
        let path = terminated(path)?;
        error::check(littlefs_rust_core::lfs_mkdir(self.begin(), path.as_ptr()))
    }

    /// Removes a file or an empty folder. Handles that read the file keep its content.
    pub fn remove(&mut self, path: &str) -> Result<()> {
        let path = terminated(path)?;
        error::check(littlefs_rust_core::lfs_remove(self.begin(), path.as_ptr()))
    }

    /// Renames; a file of the new name is replaced. [`Error::Busy`] while a handle writes the file: the port would
    /// lose what it writes after that.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        if self.is_written(from)? {
            return Err(Error::Busy);
        }
        let (from, to) = (terminated(from)?, terminated(to)?);
        error::check(littlefs_rust_core::lfs_rename(self.begin(), from.as_ptr(), to.as_ptr()))
    }

    fn is_written(&mut self, path: &str) -> Result<bool> {
        let looked_at: FileId = match self.open_handle(path, littlefs_rust_core::lfs_type::lfs_open_flags::LFS_O_RDONLY)
        {
            Ok(id) => id,
            Err(Error::IsAFolder) => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_written = self.has_other_writer(looked_at);
        self.abandon(looked_at);
        Ok(is_written)
    }
}

fn is_folder(info: &LfsInfo) -> bool {
    u32::from(info.type_) == LFS_TYPE_DIR
}

/// The path as the port takes it.
pub(crate) fn terminated(path: &str) -> Result<Vec<u8>> {
    if path.contains('\0') {
        return Err(Error::Invalid);
    }
    let mut bytes = vec![0; path.len() + 2];
    // Also for the root there is something.
    bytes[0] = b'/';
    bytes[1..=path.len()].copy_from_slice(path.as_bytes());
    Ok(bytes)
}
