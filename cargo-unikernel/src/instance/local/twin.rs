//! A copy of an instance that runs: its files, its memory, its disks, and an identity of its own.
//!
//! The copy has ports of its own, and by the generation id its app knows that it is one and draws other random numbers. The
//! address of its network card is part of its memory and stays; each machine is alone on its network, so the two never meet.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    control::{self, Request},
    copy,
    machine::{self, Machine, has_generation},
    record::{Description, Status, now_ms},
    store::Folder,
};
use crate::{
    disk::DiskFile,
    drives::{Access, Attached, Drive},
    instance::provider::State,
    port::{self, Port},
    settings::Settings,
};

/// Where the copy's memory is until it runs.
pub const MEMORY: &str = "memory";
/// Where its disks are.
const DISKS: &str = "disks";

/// Fills the folder of the copy, which will be `home`, where it finds its memory, too. The original stands still for a moment.
pub fn copy(original: &Folder, copy: &Folder, home: &Folder, ports: &[Port]) -> Result<()> {
    let status = Status::read(original)?;
    let name = original.name();
    let state = status.state(original.is_supervised());
    ensure!(
        state == State::Running,
        "`{name}` is {}, and only what runs can be copied; start it with `cargo unikernel instance start {name}`",
        state.word()
    );
    let machine = Machine::planned(original)?;
    ensure!(
        has_generation(&machine.settings),
        "`{name}` is a microvm, which does not tell its app that it is a copy: both would draw the same random numbers; \
         create it with `--machine q35` to copy it"
    );
    if let Some(net) = machine.settings.nets.iter().find(|net| net.is_shared()) {
        bail!(
            "`{name}` has an address on `--net {net}`, which its copy would have, too; only machines on a network of their own can be copied"
        );
    }
    let ports = ports_for(&machine.settings.ports, ports)?;
    copy_files(original, copy, &machine.description)?;
    let disks = disks_for(&machine.disks, original, copy, home)?;
    let mut to_copy: Vec<(PathBuf, PathBuf)> = disks.iter().filter(|disk| disk.is_written).map(Disk::pair).collect();
    if machine.description.disk.is_some() {
        to_copy.push((original.image(), copy.image()));
    }
    let accel = status.accel.as_deref().map(str::parse).transpose().map_err(anyhow::Error::msg)?;
    let settings = Settings {
        ports,
        drives: disks.into_iter().map(|disk| disk.drive).collect(),
        // Two machines would write to one file.
        pcap: None,
        ..machine.settings.clone()
    };
    let mut description = machine.description.clone();
    // What is saved under one acceleration goes on under it alone.
    description.set_machine(&settings, accel, machine.description.options()?.dump_on_crash);
    description.created_ms = now_ms();
    description.write(copy)?;
    Status::never_started().write(copy)?;
    let memory = copy.file(MEMORY);
    control::ask(original, &Request::Save { memory: memory.clone(), disks: to_copy })
        .with_context(|| format!("`{name}` cannot be copied"))?;
    Ok(())
}

/// Those that were asked for, or a free one of this machine for each of the original's.
fn ports_for(original: &[Port], wanted: &[Port]) -> Result<Vec<Port>> {
    if !wanted.is_empty() {
        return port::settle(wanted);
    }
    let free: Vec<Port> = original.iter().map(|port| Port { host: 0, ..*port }).collect();
    port::settle(&free)
}

/// All that never changes.
fn copy_files(original: &Folder, copy: &Folder, description: &Description) -> Result<()> {
    let elf = machine::elf(original, description);
    let modules = description.modules.as_ref().map(|name| original.file(name));
    let environment = description.has_environment.then(|| original.file(machine::ENVIRONMENT));
    for file in elf.into_iter().chain(modules).chain(environment) {
        share(&file, &copy.file(&file.file_name().unwrap_or_default().to_string_lossy()))?;
    }
    Ok(())
}

/// A file that never changes may have two names.
fn share(from: &Path, to: &Path) -> Result<()> {
    let shared = fs::hard_link(from, to).or_else(|_| copy::file(from, to));
    shared.with_context(|| format!("cannot copy {}", from.display()))
}

/// A disk of the copy.
struct Disk {
    original: PathBuf,
    drive: Drive,
    copy: PathBuf,
    /// It is copied while the machine stands still.
    is_written: bool,
}

impl Disk {
    fn pair(&self) -> (PathBuf, PathBuf) {
        (self.original.clone(), self.copy.clone())
    }
}

/// The disks of the copy in their order. Those that are only read are shared, unless they belong to the original.
fn disks_for(disks: &[Attached], original: &Folder, copy: &Folder, home: &Folder) -> Result<Vec<Disk>> {
    let folder = copy.file(DISKS);
    let disk = |(number, disk): (usize, &Attached)| {
        let is_written = disk.access == Access::Write;
        let is_owned = disk.file.starts_with(original.path());
        let file = format!("{number}.img");
        let own = folder.join(&file);
        if is_written && !fs::metadata(&disk.file)?.is_file() {
            bail!(
                "{} is a device, which cannot be copied; only machines whose disks are files can",
                disk.file.display()
            );
        }
        if is_written || is_owned {
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        if is_owned && !is_written {
            share(&disk.file, &own)?;
        }
        let path = if is_written || is_owned { home.file(DISKS).join(file) } else { disk.file.clone() };
        let drive = DiskFile { path, serial: disk.serial.clone(), is_read_only: !is_written };
        Ok(Disk { original: disk.file.clone(), drive: Drive::Disk(drive), copy: own, is_written })
    };
    disks.iter().enumerate().map(disk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_copy_has_free_ports_of_its_own() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        let original = [format!("{taken}:80"), "1:443".into(), "0.0.0.0:1:53/udp".into()];
        let original = original.map(|text| text.parse::<Port>().unwrap());
        let chosen = ports_for(&original, &[]).unwrap();
        let rest: Vec<_> = chosen.iter().map(|port| Port { host: 0, ..*port }.to_string()).collect();
        assert_eq!(rest, ["0:80", "0:443", "0.0.0.0:0:53/udp"]);
        assert!(chosen[0].host != chosen[1].host && chosen.iter().all(|port| port.host != taken));
        let error = ports_for(&original, &original[..1]).unwrap_err().to_string();
        assert!(error.contains("is taken by another program"), "{error}");
    }

    #[test]
    fn disks_are_copied_when_they_are_written_to() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            fs::create_dir(temporary.path().join(name)).unwrap();
            Folder::at(temporary.path().join(name)).unwrap()
        };
        let (original, copy, home) = (at("web"), at("web-draft"), at("web-2"));
        let shared = temporary.path().join("site.img");
        let (own, volume) = (original.file("image.0.disk"), temporary.path().join("state.img"));
        [&shared, &own, &volume].into_iter().for_each(|file| fs::write(file, "x").unwrap());
        let disk = |file: &PathBuf, access| Attached { file: file.clone(), serial: None, access };
        let disks = [disk(&shared, Access::Read), disk(&own, Access::Read), disk(&volume, Access::Write)];
        let chosen = disks_for(&disks, &original, &copy, &home).unwrap();
        let shown: Vec<_> = chosen.iter().map(|disk| format!("{:?} {}", disk.drive, disk.is_written)).collect();
        assert!(shown[0].contains("site.img") && shown[0].ends_with("false"), "{shown:?}");
        assert!(shown[1].contains("web-2/disks/1.img") && copy.file("disks/1.img").exists(), "{shown:?}");
        assert!(shown[2].contains("web-2/disks/2.img") && shown[2].ends_with("true"), "{shown:?}");
        let device = [disk(&PathBuf::from("/dev/null"), Access::Write)];
        assert!(disks_for(&device, &original, &copy, &home).err().unwrap().to_string().contains("is a device"));
    }
}
