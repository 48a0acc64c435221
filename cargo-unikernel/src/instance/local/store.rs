//! Where instances are kept: a folder for each, and who may change it.
//!
//! | in an instance's folder | what |
//! |---|---|
//! | `instance.json` | how it was created; never changes |
//! | `state.json` | what it does; written by its supervisor alone |
//! | `image`, `image.*` | what it boots, its boot modules, images of its folders |
//! | `environment` | what `--env` said |
//! | `disks/` | disks of a copy |
//! | `addresses` | those on networks that it shares |
//! | `console.log`, `console.log.1` | what it said |
//! | `supervisor` | locked while its supervisor lives |
//! | `control` | the supervisor's socket |
//!
//! Whoever changes an instance has the folder itself locked.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    ops::Deref,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::draft::DRAFT;
use crate::instance::Name;

/// The folder of all instances of this user.
#[derive(Clone, Debug)]
pub struct Store(pub(super) PathBuf);

impl Store {
    /// In the folder of this user's state.
    pub fn open() -> Result<Store> {
        Store::at(crate::state::folder()?.join("instances"))
    }

    /// At this place, which is made.
    pub fn at(folder: PathBuf) -> Result<Store> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make the folder {}; is it yours?", folder.display()))?;
        Ok(Store(folder))
    }

    /// The folder of this name, whether it exists or not.
    pub fn folder(&self, name: &Name) -> Folder {
        Folder { path: self.0.join(name.as_str()), name: name.clone() }
    }

    /// All that exist, by name.
    pub fn all(&self) -> Result<Vec<Folder>> {
        let entries = fs::read_dir(&self.0).with_context(|| format!("cannot read {}", self.0.display()))?;
        // Drafts begin with a dot.
        let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<Name>().ok());
        let mut folders: Vec<Folder> = names.map(|name| self.folder(&name)).collect();
        folders.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(folders)
    }

    /// A name that is free: this one, or with a number.
    pub fn free_name(&self, wanted: &Name) -> Name {
        let is_free = |name: &Name| !self.folder(name).path.exists();
        let names = std::iter::once(wanted.clone()).chain((2..).map(|number| wanted.numbered(number)));
        names.into_iter().find(is_free).unwrap_or_else(|| wanted.clone())
    }

    /// An instance that exists, to be changed by nobody else until this is dropped.
    pub fn lock(&self, name: &Name) -> Result<Locked> {
        let folder = self.folder(name);
        loop {
            let directory = File::open(&folder.path).map_err(|error| self.not_found(name, &error))?;
            if let Err(TryLockError::WouldBlock) = directory.try_lock() {
                eprintln!("unikernel: waiting for another command that works on `{name}`");
                directory.lock().with_context(|| format!("cannot lock {}", folder.path.display()))?;
            }
            // Who had the lock may have deleted it, and somebody may have made another one.
            let (locked, there) = (directory.metadata()?, fs::metadata(&folder.path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino())) {
                return Ok(Locked { folder, _directory: Some(directory) });
            }
        }
    }

    fn not_found(&self, name: &Name, error: &io::Error) -> anyhow::Error {
        if error.kind() != ErrorKind::NotFound {
            return anyhow::anyhow!("cannot open the folder of `{name}`: {error}");
        }
        let names: Vec<String> = self.all().unwrap_or_default().iter().map(|folder| folder.name.to_string()).collect();
        match names.as_slice() {
            [] => anyhow::anyhow!("there is no instance `{name}`; make one with `cargo unikernel instance create`"),
            _ => anyhow::anyhow!("there is no instance `{name}`; there are {}", names.join(", ")),
        }
    }

    /// Like `not_found`, for one that is only looked at.
    pub fn existing(&self, name: &Name) -> Result<Folder> {
        let folder = self.folder(name);
        fs::metadata(&folder.path).map_err(|error| self.not_found(name, &error))?;
        Ok(folder)
    }
}

/// What to say when a name is not free.
pub fn taken(name: &Name) -> String {
    format!(
        "there is an instance `{name}` already; take another name, or remove that one with \
         `cargo unikernel instance delete {name}`"
    )
}

/// The folder of an instance.
#[derive(Clone, Debug)]
pub struct Folder {
    pub(super) path: PathBuf,
    pub(super) name: Name,
}

impl Folder {
    /// One that this process was told of.
    pub fn at(path: PathBuf) -> Result<Folder> {
        let name = path.file_name().and_then(|name| name.to_str()).context("no folder of an instance")?;
        let name = name.parse().map_err(anyhow::Error::msg)?;
        Ok(Folder { path, name })
    }

    /// The instance's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What it boots.
    pub fn image(&self) -> PathBuf {
        self.file("image")
    }

    /// Writes a file so that others see the old one or the new one, and only this user sees it at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let draft = self.file(&format!("{name}{DRAFT}{}", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            io::Write::write_all(&mut file, bytes)?;
            // Else a loss of power could leave an empty file under the name.
            file.sync_all()?;
            fs::rename(&draft, self.file(name))
        };
        write().with_context(|| format!("cannot write {}", self.file(name).display()))
    }

    /// What its supervisor has locked while it lives.
    fn vigil(&self) -> PathBuf {
        self.file("supervisor")
    }

    /// Takes the place of the supervisor, for as long as the file is open.
    pub fn become_supervisor(&self) -> Result<File> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.vigil());
        let file = file.with_context(|| format!("cannot open {}", self.vigil().display()))?;
        file.lock().context("cannot lock the supervisor's file")?;
        Ok(file)
    }

    /// Whether a supervisor lives.
    pub fn is_supervised(&self) -> bool {
        let file = File::open(self.vigil());
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Whether a command works on it.
    pub fn is_being_changed(&self) -> bool {
        let directory = File::open(&self.path);
        directory.is_ok_and(|directory| matches!(directory.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Waits for the end of the supervisor, if there is one.
    pub fn wait_for_supervisor(&self) -> Result<()> {
        match File::open(self.vigil()) {
            Ok(file) => file.lock_shared().context("cannot wait for the supervisor"),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context("cannot open the supervisor's file"),
        }
    }

    /// Refuses a folder that others could read or change.
    pub fn check_private(&self) -> Result<()> {
        let facts = fs::symlink_metadata(&self.path).with_context(|| format!("cannot find {}", self.path.display()))?;
        let is_private = facts.is_dir() && facts.permissions().mode() & 0o077 == 0;
        ensure!(is_private, "others can use {}; `chmod 700` it", self.path.display());
        Ok(())
    }
}

/// An instance that nobody else changes.
pub struct Locked {
    pub(super) folder: Folder,
    pub(super) _directory: Option<File>,
}

impl Deref for Locked {
    type Target = Folder;
    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Locked {
    /// Removes all of it.
    pub fn delete(self, store: &Store) -> Result<()> {
        // First out of the way, so that nobody sees half of it.
        let doomed = store.0.join(format!(".{}{DRAFT}{}", self.name, std::process::id()));
        let path = self.path.display();
        fs::rename(&self.path, &doomed).with_context(|| format!("cannot remove {path}"))?;
        fs::remove_dir_all(&doomed).with_context(|| format!("cannot remove {}", doomed.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread};

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("instances")).unwrap();
        (folder, store)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn made(store: &Store, text: &str) -> Locked {
        let mut draft = store.draft(&name(text)).unwrap();
        draft.write("state.json", b"{}").unwrap();
        draft.publish(store).unwrap();
        draft.keep()
    }

    fn everything(store: &Store) -> usize {
        fs::read_dir(&store.0).unwrap().count()
    }

    #[test]
    fn a_name_is_given_once() {
        let (_folder, store) = store();
        let first = made(&store, "web");
        let mut second = store.draft(&name("web")).unwrap();
        let error = second.publish(&store).unwrap_err().to_string();
        assert!(error.starts_with("there is an instance `web` already; take another name"), "{error}");
        drop(second);
        assert_eq!(store.free_name(&name("web")), name("web-2"));
        assert_eq!(store.free_name(&name("other")), name("other"));
        first.delete(&store).unwrap();
        assert_eq!(everything(&store), 0);
    }

    #[test]
    fn only_this_user_sees_it() {
        let (_folder, store) = store();
        let locked = made(&store, "web");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&store.0), mode(&locked.path), mode(&locked.file("state.json"))), (0o700, 0o700, 0o600));
        locked.check_private().unwrap();
        fs::set_permissions(&locked.path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(locked.check_private().unwrap_err().to_string().contains("chmod 700"));
    }

    #[test]
    fn two_commands_do_not_meet() {
        let (_folder, store) = store();
        let first = made(&store, "web");
        let (sender, events) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                // It waits for the first, and then finds that there is nothing any more.
                let second = store.lock(&name("web")).map(|_| ()).map_err(|error| error.to_string());
                sender.send(second).unwrap();
            });
            assert!(events.try_recv().is_err());
            first.delete(&store).unwrap();
        });
        let told = events.recv().unwrap().unwrap_err();
        assert_eq!(told, "there is no instance `web`; make one with `cargo unikernel instance create`");
        let other = made(&store, "other");
        let told = store.lock(&name("web")).map(|_| ()).unwrap_err().to_string();
        assert_eq!(told, "there is no instance `web`; there are other");
        drop(other);
        store.lock(&name("other")).unwrap();
    }

    #[test]
    fn a_supervisor_is_seen_while_it_lives() {
        let (_folder, store) = store();
        let locked = made(&store, "web");
        assert!(!locked.is_supervised());
        let vigil = locked.become_supervisor().unwrap();
        assert!(locked.is_supervised());
        drop(vigil);
        assert!(!locked.is_supervised());
        locked.wait_for_supervisor().unwrap();
    }
}
