//! The config partition, on disks that the standard tool (util-linux' sfdisk) has made.

use std::{
    fs::{self, File},
    io::Write,
    process::{Command, Stdio},
};

use unikernel_blockfs::{ConfigPartition, Disk, Volume};
use unikernel_rt::{Acquire, Machine, args, config, device::BlockOp, sim::SimDisk};

const TYPE: &str = "37D7ED5E-A8BC-4DA7-AD33-FD667E755520";
const CONFIG_AT: usize = 1 << 20;
const VOLUME_AT: usize = 8 << 20;

/// A disk with a config partition of 128 KiB that begins with `text`, and an archive with a file.
fn disk(text: &[u8]) -> SimDisk {
    let script = format!("label: gpt\nstart=1MiB, size=128KiB, type={TYPE}\nstart=8MiB, size=4MiB, name=site\n");
    let mut image = disk_with(&script);
    image[CONFIG_AT..][..text.len()].copy_from_slice(text);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_cksum();
    archive.append_data(&mut header, "name", &b"hi"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    image[VOLUME_AT..][..archive.len()].copy_from_slice(&archive);
    SimDisk::from_bytes(&image)
}

fn disk_with(script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    File::create(&path).unwrap().set_len(16 << 20).unwrap();
    let mut sfdisk = Command::new("/usr/sbin/sfdisk").arg("--quiet").arg(&path).stdin(Stdio::piped()).spawn().unwrap();
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    fs::read(path).unwrap()
}

fn machine(disks: &[&SimDisk]) -> Machine {
    let mut machine = Machine::new();
    disks.iter().for_each(|disk| machine.add_disk(disk.device()));
    machine
}

#[unikernel_rt::test(args = "b=line")]
async fn it_is_read_and_the_disks_stay() {
    let other = SimDisk::new(1 << 20);
    let mut machine = machine(&[&other, &disk(b"env.A=some words\na=1\nb=2\n")]);
    assert!(ConfigPartition::acquire(&mut machine).await.unwrap().is_there);
    assert_eq!(config::env::<String>("A").unwrap().as_deref(), Some("some words"));
    assert_eq!(args::take::<u8>("a").unwrap(), Some(1));
    assert_eq!(args::take::<String>("b").unwrap().as_deref(), Some("line"));
    assert_eq!(machine.disks().map(|info| info.len).collect::<Vec<_>>(), [1 << 20, 16 << 20]);
    machine.take_disk().unwrap();
    // A partition without a volume does not keep the other from being served.
    let volume = Volume::mount(Disk::new(machine.take_disk().unwrap())).await.unwrap();
    assert_eq!(&*volume.read("name", 100).await.unwrap(), b"hi");
}

#[unikernel_rt::test]
async fn a_machine_without_one_goes_on() {
    let plain = disk_with("label: gpt\nstart=1MiB, size=4MiB\n");
    let mut machine = machine(&[&SimDisk::new(1 << 20), &SimDisk::from_bytes(&plain), &SimDisk::new(512)]);
    assert!(!ConfigPartition::acquire(&mut machine).await.unwrap().is_there);
    assert_eq!(machine.disks().count(), 3);
    assert!(!ConfigPartition::acquire(&mut Machine::new()).await.unwrap().is_there);
}

async fn check(disks: &[&SimDisk], part: &str) {
    let error = ConfigPartition::acquire(&mut machine(disks)).await.unwrap_err().to_string();
    assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
}

#[unikernel_rt::test]
async fn what_is_wrong_is_named() {
    check(&[&disk(b"a=1\nmy hunter2")], "the configuration in the config partition is wrong in line 2").await;
    check(&[&disk(&[b'#'; 100 << 10])], "is longer than 64 KiB").await;
    check(&[&disk(&[0xff; 10])], "is no UTF-8 text").await;
    check(&[&disk(b"a=1"), &disk(b"a=2")], "disk 2 has another config partition").await;
    let two = format!("label: gpt\nstart=1MiB, size=1MiB, type={TYPE}\nstart=2MiB, size=1MiB, type={TYPE}\n");
    check(&[&SimDisk::from_bytes(&disk_with(&two))], "it has several of them").await;
}

#[unikernel_rt::test]
async fn a_device_that_fails_is_an_error() {
    let failing = disk(b"a=1");
    let text = CONFIG_AT as u64..(CONFIG_AT + 512) as u64;
    failing.fail(BlockOp::Read, text, unikernel_rt::device::BlockError::Io, 100);
    check(&[&SimDisk::new(1 << 20), &failing], "disk 2 has no config partition to read").await;
}
