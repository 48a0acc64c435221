//! The note that an image was made: a file for each, in the folder `images` of this user's state, named after the image's path.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    boot_disk::{Format, hash::sha256},
    fs::Draft,
    instance::local::record::now_ms,
    state,
};

/// What is noted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    /// Where it is, from the root.
    pub(crate) file: PathBuf,
    pub(crate) format: Format,
    /// What it was made of: the name of a package, or of an ELF file.
    pub(crate) package: String,
    /// When, in milliseconds since 1970.
    pub(crate) created_ms: u64,
    pub(crate) sha256: String,
    pub(crate) len: u64,
}

impl Record {
    /// For an image that was made just now.
    pub(crate) fn of(image: &Path, format: Format, package: String, sha256: &str) -> Result<Record> {
        let file = absolute(image)?;
        let len = fs::metadata(&file)?.len();
        Ok(Record { file, format, package, created_ms: now_ms(), sha256: sha256.to_owned(), len })
    }

    /// Keeps it; an older one of the same file is replaced.
    pub(crate) fn write(&self) -> Result<()> {
        let path = place(&self.file)?;
        let folder = path.parent().context("it has a folder")?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let draft = Draft::of(&path)?;
        fs::write(draft.path(), serde_json::to_string(self)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        draft.finish()
    }

    /// That of this image, if `image create` made it.
    pub(crate) fn find(image: &Path) -> Result<Option<Record>> {
        let path = place(&absolute(image)?)?;
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// All, by their paths. One that cannot be read is not there.
    pub(crate) fn all() -> Result<Vec<Record>> {
        let folder = folder()?;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
        };
        let read = |entry: fs::DirEntry| {
            // Drafts begin with a dot.
            let is_whole = entry.file_name().to_str().is_some_and(|name| !name.starts_with('.'));
            is_whole.then(|| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()).flatten()
        };
        let mut records: Vec<Record> = entries.filter_map(Result::ok).filter_map(read).collect();
        records.sort_by(|one, other| one.file.cmp(&other.file));
        Ok(records)
    }

    /// Forgets the image.
    pub(crate) fn forget(&self) -> Result<()> {
        let path = place(&self.file)?;
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

fn folder() -> Result<PathBuf> {
    Ok(state::folder()?.join("images"))
}

fn place(image: &Path) -> Result<PathBuf> {
    Ok(folder()?.join(format!("{}.json", sha256(image.as_os_str().as_encoded_bytes()))))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    // With links followed as far as there is something, so that a file has one name.
    let folder = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let name = path.file_name().with_context(|| format!("`{}` names no file", path.display()))?;
    Ok(folder.canonicalize().or_else(|_| std::path::absolute(folder))?.join(name))
}
