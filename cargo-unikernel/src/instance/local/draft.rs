//! A folder of an instance that is being made.

use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    ops::Deref,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use anyhow::{Context, Result, bail};

use super::store::{Folder, Locked, Store, taken};
use crate::instance::Name;

impl Store {
    /// A folder that gets its name later, and is gone when it is dropped before it is kept.
    pub fn draft(&self, name: &Name) -> Result<Draft> {
        self.sweep();
        let path = self.0.join(format!(".{name}{DRAFT}{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make the folder {}", path.display()))?;
        let directory = File::open(&path);
        let draft = Draft { folder: Folder { path, name: name.clone() }, directory: Some(directory?) };
        draft.directory.iter().try_for_each(File::lock).context("cannot lock a folder that was made just now")?;
        Ok(draft)
    }

    /// Removes what killed commands left.
    fn sweep(&self) {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let owner = name.to_str().filter(|name| name.starts_with('.')).and_then(|name| name.rsplit_once(DRAFT));
            if owner.is_some_and(|(_, pid)| !Path::new("/proc").join(pid).exists() && Path::new("/proc/self").exists())
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// In the name of a folder that is not an instance yet, or no more, before the process that works on it.
pub(super) const DRAFT: &str = ".draft-";

/// An instance that is being made.
pub struct Draft {
    folder: Folder,
    /// Locked.
    directory: Option<File>,
}

impl Draft {
    /// Gives it its name, where no instance has it.
    pub fn publish(&mut self, store: &Store) -> Result<()> {
        let target = store.folder(&self.folder.name);
        match fs::rename(&self.folder.path, &target.path) {
            Ok(()) => self.folder = target,
            // A folder with something in it is not replaced (rename(2)), and every instance has something in it.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                bail!("{}", taken(&self.folder.name))
            }
            Err(error) => Err(error).with_context(|| format!("cannot make the folder {}", target.path.display()))?,
        }
        Ok(())
    }

    /// It stays.
    pub fn keep(mut self) -> Locked {
        Locked { folder: self.folder.clone(), _directory: self.directory.take() }
    }
}

impl Deref for Draft {
    type Target = Folder;
    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.directory.is_some() {
            // What cannot be removed now is swept by the next command.
            let _ = fs::remove_dir_all(&self.folder.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("instances")).unwrap();
        (folder, store)
    }

    fn everything(store: &Store) -> usize {
        fs::read_dir(&store.0).unwrap().count()
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let (_folder, store) = store();
        let mut draft = store.draft(&"web".parse().unwrap()).unwrap();
        assert_eq!((store.all().unwrap().len(), everything(&store)), (0, 1));
        draft.write("a", b"x").unwrap();
        draft.publish(&store).unwrap();
        assert_eq!(store.all().unwrap()[0].name.as_str(), "web");
        drop(draft);
        assert_eq!(everything(&store), 0);
    }

    #[test]
    fn drafts_of_killed_commands_are_swept() {
        let (_folder, store) = store();
        // No process has this id: Linux' largest is 2^22.
        fs::create_dir(store.0.join(".web.draft-99999999")).unwrap();
        fs::create_dir(store.0.join(format!(".other{DRAFT}{}", std::process::id()))).unwrap();
        store.sweep();
        assert_eq!(everything(&store), 1);
    }
}
