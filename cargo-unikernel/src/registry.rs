//! Which VMs run: each runner leaves a note in a private folder, with the image and a monitor to ask things of it.

use std::{
    env, fs,
    io::ErrorKind,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{console::build_id, disk, qmp};

/// What is known about a VM that runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Note {
    /// The runner's process.
    pub pid: u32,
    /// The image's file name.
    pub name: String,
    /// The ELF file.
    pub image: PathBuf,
    /// The socket of QEMU's monitor.
    pub monitor: PathBuf,
    /// The build id of the image, if it has one.
    #[serde(default)]
    pub build_id: Option<String>,
}

/// The note of a VM; gone when this is dropped.
pub struct Registration {
    note: Note,
    file: PathBuf,
}

impl Registration {
    /// Leaves a note about this process's VM, whose image has the bytes `elf`.
    pub fn new(image: &Path, elf: &[u8]) -> Result<Registration> {
        Registration::named(&image.file_name().unwrap_or_default().to_string_lossy(), image, elf)
    }

    /// The same under another name than the image's.
    pub fn named(name: &str, image: &Path, elf: &[u8]) -> Result<Registration> {
        let folder = folder()?;
        let pid = std::process::id();
        let image = fs::canonicalize(image).with_context(|| format!("cannot find {}", image.display()))?;
        let name = name.to_owned();
        let monitor = folder.join(format!("{pid}.monitor"));
        check_socket(&monitor)?;
        let note = Note { pid, name, image, monitor, build_id: build_id(elf) };
        let file = folder.join(format!("{pid}.json"));
        // What a killed process of the same number left.
        let _ = fs::remove_file(&note.monitor);
        fs::write(&file, serde_json::to_vec(&note)?).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Registration { note, file })
    }

    /// What makes QEMU listen there.
    pub fn arguments(&self) -> Vec<std::ffi::OsString> {
        let path = disk::for_qemu(&self.note.monitor);
        qmp::monitor("registry", &format!("path={path},server=on,wait=off"))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Whoever reads the folder looks whether somebody answers, so what stays does no harm.
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(&self.note.monitor);
    }
}

/// The VM that `wanted` means: by the process id of its runner or by name; without it, the only one.
pub fn find(wanted: Option<&str>) -> Result<Note> {
    choose(running()?, wanted)
}

/// Removes the notes of VMs whose runners were killed.
pub fn sweep() {
    // Whoever looks for a VM does the same.
    let _ = running();
}

fn choose(running: Vec<Note>, wanted: Option<&str>) -> Result<Note> {
    let is_meant = |note: &Note| wanted.is_none_or(|wanted| note.name == wanted || note.pid.to_string() == wanted);
    let (mut meant, rest): (Vec<Note>, Vec<Note>) = running.into_iter().partition(is_meant);
    match (meant.len(), wanted) {
        (1, _) => Ok(meant.remove(0)),
        (0, Some(wanted)) => bail!("no VM `{wanted}` is running; {}", list(&rest)),
        (0, None) => bail!("no VM is running; start one with `cargo unikernel run`"),
        _ => bail!("say which VM, by its process id; {}", list(&meant)),
    }
}

fn list(notes: &[Note]) -> String {
    let names: Vec<_> = notes.iter().map(|note| format!("{} ({})", note.name, note.pid)).collect();
    if names.is_empty() { "none is".into() } else { format!("there are {}", names.join(", ")) }
}

/// The notes of VMs that answer. Others are removed: their runners were killed.
fn running() -> Result<Vec<Note>> {
    let folder = folder()?;
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut notes = Vec::new();
    for file in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let note = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        match note {
            Some(note) if UnixStream::connect(&note.monitor).is_ok() => notes.push(note),
            Some(note) if has_ended(note.pid) => {
                let _ = fs::remove_file(&note.monitor);
                let _ = fs::remove_file(&file);
            }
            // It has just begun, or is ending.
            _ => {}
        }
    }
    notes.sort_by_key(|note| note.pid);
    Ok(notes)
}

/// There is no such process, or one that has ended and that nobody has asked how (a zombie).
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

/// The folder of this user's notes, which nobody else can read or change.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = match env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("unikernel"),
        None => env::temp_dir().join(format!("unikernel-{}", user())),
    };
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot make the folder {}", folder.display()))
        }
        _ => check_private(&folder).map(|()| folder),
    }
}

/// Sockets have short names, and QEMU does not start with a longer one.
pub(crate) fn check_socket(socket: &Path) -> Result<()> {
    // unix(7): `sun_path`, without the zero at its end.
    const SOCKET_LEN_MAX: usize = 107;
    let len = socket.as_os_str().len();
    ensure!(
        len <= SOCKET_LEN_MAX,
        "{} has {len} bytes, and a socket's path at most {SOCKET_LEN_MAX}; set XDG_RUNTIME_DIR to a folder with a shorter path",
        socket.display()
    );
    Ok(())
}

/// In a folder for everybody, somebody else could have made it first.
fn check_private(folder: &Path) -> Result<()> {
    let facts = fs::symlink_metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    let is_private = facts.is_dir() && facts.uid() == user() && facts.permissions().mode() & 0o077 == 0;
    ensure!(is_private, "{} must be a folder of yours that only you can use; remove it", folder.display());
    Ok(())
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: Option<&str>, expected: &str) {
        let note = |pid, name: &str| Note {
            pid,
            name: name.into(),
            image: PathBuf::new(),
            monitor: PathBuf::new(),
            build_id: None,
        };
        let result = choose(vec![note(7, "echo"), note(8, "hello"), note(9, "hello")], wanted);
        assert_eq!(result.map_or_else(|error| error.to_string(), |note| note.pid.to_string()), expected);
    }

    #[test]
    fn a_vm_is_meant() {
        check(Some("echo"), "7");
        check(Some("9"), "9");
        check(Some("hello"), "say which VM, by its process id; there are hello (8), hello (9)");
        check(Some("nope"), "no VM `nope` is running; there are echo (7), hello (8), hello (9)");
        check(None, "say which VM, by its process id; there are echo (7), hello (8), hello (9)");
        let nothing = choose(Vec::new(), None).unwrap_err().to_string();
        assert_eq!(nothing, "no VM is running; start one with `cargo unikernel run`");
    }

    #[test]
    fn a_folder_that_others_can_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o700);
        check_private(folder.path()).unwrap();
        mode(0o750);
        assert!(check_private(folder.path()).is_err());
    }
}
