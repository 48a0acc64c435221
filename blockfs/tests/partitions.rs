//! Partition tables: those of the standard tool, and damaged ones.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};
use unikernel_blockfs::{Cause, Disk, Format, Volume, partition::partitions};
use unikernel_rt::sim::{FileDisk, Random, SimDisk};

/// A disk of 64 MiB with the table that this script of `sfdisk` describes.
fn disk_with(script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
    let mut command = Command::new("/usr/sbin/sfdisk");
    let command = command.arg("--quiet").arg(&path).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut sfdisk = command.spawn().expect("install the package fdisk (Debian) or util-linux");
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    fs::read(path).unwrap()
}

async fn ranges(image: &[u8]) -> Result<Vec<(u32, u64, u64, String)>, Cause> {
    let disk = Disk::new(SimDisk::from_bytes(image).device());
    let found = partitions(&disk).await?;
    Ok(found.into_iter().map(|p| (p.number, p.range.start >> 20, p.range.end >> 20, p.name)).collect())
}

const GPT: &str = "label: gpt\nstart=1MiB, size=4MiB, name=boot\nstart=8MiB, size=16MiB, name=\"ünï data\"\n";

#[unikernel_rt::test]
async fn tables_of_the_standard_tool() {
    let gpt = disk_with(GPT);
    let expected = [(1, 1, 5, "boot".to_string()), (2, 8, 24, "ünï data".to_string())];
    assert_eq!(ranges(&gpt).await.unwrap(), expected);
    // The copy at the end serves when the first is damaged.
    let mut damaged = gpt.clone();
    damaged[512 + 60] ^= 1;
    assert_eq!(ranges(&damaged).await.unwrap(), expected);
    damaged[(64 << 20) - 512 + 60] ^= 1;
    assert!(matches!(ranges(&damaged).await, Err(Cause::Damaged(_))));

    let mbr = disk_with(
        "label: dos\nstart=1MiB, size=4MiB\nstart=8MiB, size=32MiB, type=5\nstart=9MiB, size=2MiB\nstart=12MiB, size=3MiB\n",
    );
    let none = String::new;
    assert_eq!(ranges(&mbr).await.unwrap(), [(1, 1, 5, none()), (5, 9, 11, none()), (6, 12, 15, none())]);
    assert_eq!(ranges(&[0; 1 << 20]).await.unwrap(), []);
}

#[unikernel_rt::test]
async fn damaged_tables() {
    let gpt = disk_with(GPT);
    let mbr = disk_with("label: dos\nstart=8MiB, size=32MiB, type=5\nstart=9MiB, size=2MiB\nstart=12MiB, size=3MiB\n");
    let sims = [gpt, mbr].map(|image| SimDisk::from_bytes(&image));
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let sim = &sims[seed as usize % 2];
        let places: Vec<u64> = (0..1 + random.below(4))
            .map(|_| [0, 1, 2, 8 << 11, 9 << 11, (64 << 11) - 1][random.below(6)] * 512 + random.below(512) as u64)
            .collect();
        let before: Vec<Vec<u8>> = places.iter().map(|place| sim.peek(*place, 1)).collect();
        places.iter().for_each(|place| sim.poke(*place, &[random.u64() as u8]));
        if let Ok(found) = partitions(&Disk::new(sim.device())).await {
            assert!(found.iter().all(|found| found.range.end <= 64 << 20), "{found:?}");
        }
        places.iter().zip(before).rev().for_each(|(place, byte)| sim.poke(*place, &byte));
    }
}

fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    archive.append_data(&mut header, "hello", &b"hi"[..]).unwrap();
    archive.into_inner().unwrap()
}

#[unikernel_rt::test]
async fn the_volume_of_a_partition_is_found() {
    let (mut image, archive) = (disk_with(GPT), archive());
    image[8 << 20..(8 << 20) + archive.len()].copy_from_slice(&archive);
    let disk = Disk::new(SimDisk::from_bytes(&image).device());
    let volume = Volume::mount(disk.clone()).await.unwrap();
    assert_eq!(volume.read("hello", 10).await.unwrap(), "hi");
    assert_eq!(disk.partition_named("ünï data").await.unwrap().len(), 16 << 20);
    assert_eq!(disk.partition(3).await.unwrap_err(), Cause::NotFound);
    image[1 << 20..(1 << 20) + archive.len()].copy_from_slice(&archive);
    let disk = Disk::new(SimDisk::from_bytes(&image).device());
    let error = Volume::mount(disk.clone()).await.unwrap_err();
    assert!(error.to_string().contains("several partitions"), "{error}");
    let volume = Volume::mount(disk.partition(1).await.unwrap()).await.unwrap();
    assert_eq!(volume.read("hello", 10).await.unwrap(), "hi");
}

/// An app finds its volume on the disk that it was started from.
#[unikernel_rt::test]
async fn partitions_of_the_firmware_are_passed_over() {
    for (label, efi) in [("gpt", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"), ("dos", "ef")] {
        let site = "start=48MiB, size=15MiB\n";
        let bios = "start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n";
        let bios = if label == "gpt" { bios } else { "" };
        let mut image = disk_with(&format!("label: {label}\n{bios}start=2MiB, size=40MiB, type={efi}\n{site}"));
        image[1 << 20..(1 << 20) + 4096].fill(0xeb);
        let efi = SimDisk::new(40 << 20);
        Volume::format(Disk::new(efi.device()), Format::Fat).await.unwrap();
        image[2 << 20..42 << 20].copy_from_slice(&efi.peek(0, 40 << 20));
        let archive = archive();
        image[48 << 20..(48 << 20) + archive.len()].copy_from_slice(&archive);
        let volume = Volume::mount(Disk::new(SimDisk::from_bytes(&image).device())).await.unwrap();
        assert_eq!(volume.read("hello", 10).await.unwrap(), "hi", "{label}");
    }
}

#[unikernel_rt::test]
async fn a_file_as_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blank");
    fs::write(&path, [0; 4096]).unwrap();
    let disk = Disk::new(FileDisk::device(&path, false).unwrap());
    assert_eq!(Volume::mount(disk).await.unwrap_err().cause(), &Cause::Blank);
}
