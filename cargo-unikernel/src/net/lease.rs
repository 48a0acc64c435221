//! Who has which address of a network: a file for each, locked while its machine runs. So what a killed runner had is free.
//!
//! They are in `networks/NETWORK/ADDRESS` of this user's [private folder](crate::registry), which is locked itself while
//! somebody chooses.

use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::subnet::{self, Subnet};
use crate::registry;

/// All leases of this user, and nobody else chooses.
pub struct Table {
    folder: PathBuf,
    _turn: File,
}

/// What a lease says.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Note {
    /// The process that runs the machine.
    pub pid: u32,
    /// The machine's name.
    pub machine: String,
    /// Its address, with the network's prefix; none where somebody else gives it.
    pub address: Option<String>,
}

/// An address that no other machine of this user gets.
pub struct Lease {
    path: PathBuf,
    _file: File,
}

impl Table {
    /// Waits until nobody else chooses.
    pub fn open() -> Result<Table> {
        let folder = registry::folder()?;
        let turn = File::open(&folder).with_context(|| format!("cannot open {}", folder.display()))?;
        turn.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
        Ok(Table { folder: folder.join("networks"), _turn: turn })
    }

    /// Takes an address of a network, or another place there, unless a machine has it.
    pub fn claim(&self, network: &str, place: &str, note: &Note) -> Result<Option<Lease>> {
        let folder = self.folder.join(network);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let path = folder.join(place);
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock a lease")?,
        }
        file.set_len(0).and_then(|()| file.write_all(&serde_json::to_vec(note)?)).context("cannot write a lease")?;
        Ok(Some(Lease { path, _file: file }))
    }

    /// The networks with their machines. What killed ones left is removed.
    pub fn networks(&self) -> Result<Vec<(String, Vec<Note>)>> {
        let mut networks = Vec::new();
        for folder in names(&self.folder)? {
            let path = self.folder.join(&folder);
            let notes: Vec<Note> = names(&path)?.iter().filter_map(|place| alive(path.join(place))).collect();
            if notes.is_empty() {
                let _ = fs::remove_dir(&path);
            } else {
                networks.push((folder, notes));
            }
        }
        let _ = fs::remove_dir(&self.folder);
        Ok(networks)
    }

    /// The addresses of a private network: those of its machines, or free ones.
    pub fn private(&self, network: &str) -> Result<Subnet> {
        let networks = self.networks()?;
        let subnet = |note: &Note| note.address.as_ref()?.parse::<Subnet>().ok();
        let of = |wanted: &str| {
            networks.iter().filter(|(name, _)| name == wanted).flat_map(|(_, notes)| notes).find_map(subnet)
        };
        let taken: Vec<Subnet> = networks.iter().filter_map(|(name, _)| of(name)).collect();
        of(network)
            .or_else(|| subnet::free(subnet::PRIVATE, &taken))
            .context("no network is free; name an address for each machine, `ip=10.0.0.2/24`")
    }

    /// Gives up leases.
    pub fn release(&self, leases: Vec<Lease>) {
        for lease in leases {
            let _ = fs::remove_file(&lease.path);
            let _ = lease.path.parent().map(fs::remove_dir);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// In order.
fn names(folder: &std::path::Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The note of a machine that runs.
fn alive(path: PathBuf) -> Option<Note> {
    let file = File::open(&path).ok()?;
    if file.try_lock().is_ok() {
        let _ = fs::remove_file(&path);
        return None;
    }
    serde_json::from_slice(&fs::read(&path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(folder: &tempfile::TempDir) -> Table {
        Table { folder: folder.path().join("networks"), _turn: File::open(folder.path()).unwrap() }
    }

    fn note(address: &str) -> Note {
        Note { pid: 7, machine: "web".into(), address: Some(address.into()) }
    }

    #[test]
    fn an_address_is_given_once_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let table = table(&folder);
        let first = table.claim("private-lan", "10.213.0.2", &note("10.213.0.2/24")).unwrap().unwrap();
        assert!(table.claim("private-lan", "10.213.0.2", &note("")).unwrap().is_none());
        assert!(table.claim("private-other", "10.213.0.2", &note("")).unwrap().is_some());
        assert_eq!(table.networks().unwrap(), [("private-lan".into(), vec![note("10.213.0.2/24")])]);
        table.release(vec![first]);
        assert!(!folder.path().join("networks").exists());
    }

    #[test]
    fn private_networks_have_addresses_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let table = table(&folder);
        let subnet = |network: &str| table.private(network).unwrap().to_string();
        assert_eq!(subnet("private-a"), "10.214.0.1/24");
        let _machine = table.claim("private-a", "10.214.0.2", &note("10.214.0.2/24")).unwrap().unwrap();
        assert_eq!((subnet("private-a"), subnet("private-b")), ("10.214.0.2/24".into(), "10.214.1.1/24".into()));
    }

    #[test]
    fn what_a_killed_machine_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let table = table(&folder);
        drop(table.claim("link-br0", "10.0.0.2", &note("10.0.0.2/24")).unwrap());
        assert!(folder.path().join("networks/link-br0/10.0.0.2").exists());
        assert_eq!(table.networks().unwrap(), []);
        assert!(!folder.path().join("networks").exists());
    }
}
