//! littlefs volumes: what they do, with files of every length.
#![cfg(feature = "littlefs")]

use unikernel_blockfs::{Cause, Disk, Format, Volume};
use unikernel_rt::{
    device::{BlockError, BlockOp},
    sim::{Behaviour, FileDisk, Random, SimDisk, Survivors},
    spawn,
    time::{Duration, Instant, set_unix_time, sleep},
};

async fn new_volume(len: u64) -> (SimDisk, Volume) {
    let sim = SimDisk::new(len);
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
    (sim, volume)
}

async fn again(sim: &SimDisk) -> Volume {
    Volume::mount(Disk::new(sim.device())).await.unwrap()
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(seed).fill(&mut bytes);
    bytes
}

#[unikernel_rt::test]
async fn files_of_every_length() {
    let (sim, volume) = new_volume(32 << 20).await;
    volume.create_folder("sub").await.unwrap();
    let lens = [0, 1, 100, 511, 512, 513, 1022, 4095, 4096, 4097, 12_345, 131_072, 3_000_000];
    for len in lens {
        volume.write(&format!("sub/{len}"), &bytes(len as u64, len)).await.unwrap();
    }
    for volume in [volume, again(&sim).await] {
        for len in lens {
            let path = format!("sub/{len}");
            assert_eq!(volume.read(&path, len).await.unwrap(), bytes(len as u64, len), "{len}");
            assert_eq!(volume.metadata(&path).await.unwrap().len, len as u64);
        }
        assert_eq!(volume.list("sub").await.unwrap().len(), lens.len());
    }
}

#[unikernel_rt::test]
async fn one_writes_others_read_what_was_when_they_opened() {
    let (_, volume) = new_volume(4 << 20).await;
    let (old, new) = (bytes(1, 300_000), bytes(2, 200_000));
    volume.write("file", &old).await.unwrap();
    let before = volume.open("file").await.unwrap();
    let writer = volume.edit("file").await.unwrap();
    for mode in ["edit", "create", "append"] {
        let second = match mode {
            "edit" => volume.edit("file").await,
            "create" => volume.create("file").await,
            _ => volume.append("file").await,
        };
        assert_eq!(*second.unwrap_err().cause(), Cause::Busy, "{mode}");
    }
    assert_eq!(*volume.rename("file", "other").await.unwrap_err().cause(), Cause::Busy);
    writer.truncate(0).await.unwrap();
    writer.write_at(0, &new).await.unwrap();
    assert_eq!(volume.read("file", 1 << 20).await.unwrap(), old, "not synced yet");
    assert_eq!(writer.read_all(1 << 20).await.unwrap(), new, "the writer sees it");
    writer.sync().await.unwrap();
    assert_eq!(volume.read("file", 1 << 20).await.unwrap(), new);
    drop(writer);

    // The blocks of the old content are not given to others: write as much as the volume has, several times.
    for round in 0..30 {
        volume.write("other", &bytes(round, 1_000_000)).await.unwrap();
    }
    volume.remove("file").await.unwrap();
    assert_eq!(before.read_all(1 << 20).await.unwrap(), old);
    assert_eq!(*volume.open("file").await.unwrap_err().cause(), Cause::NotFound);
}

#[unikernel_rt::test]
async fn who_writes_a_removed_file_is_told() {
    let (_, volume) = new_volume(1 << 20).await;
    let file = volume.create("file").await.unwrap();
    volume.remove("file").await.unwrap();
    file.write_at(0, b"nothing").await.unwrap();
    assert_eq!(*file.sync().await.unwrap_err().cause(), Cause::NotFound);
    drop(file);
    assert_eq!(volume.list("").await.unwrap(), []);
}

#[unikernel_rt::test]
async fn a_full_volume_loses_nothing() {
    let (sim, volume) = new_volume(1 << 20).await;
    volume.write("kept", &bytes(1, 100_000)).await.unwrap();
    let mut count = 0;
    let error = loop {
        match volume.write(&format!("{count}"), &bytes(count, 50_000)).await {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(*error.cause(), Cause::Full);
    assert!(count > 10, "{count} files on a megabyte");
    assert_eq!(*volume.write("kept", &bytes(2, 900_000)).await.unwrap_err().cause(), Cause::Full);
    let check = async |volume: &Volume| {
        assert_eq!(volume.read("kept", 1 << 20).await.unwrap(), bytes(1, 100_000));
        for number in 0..count {
            assert_eq!(volume.read(&format!("{number}"), 1 << 20).await.unwrap(), bytes(number, 50_000));
        }
    };
    check(&volume).await;
    let volume = again(&sim).await;
    check(&volume).await;
    let full = volume.space().await.unwrap().free;
    for number in 0..count {
        volume.remove(&format!("{number}")).await.unwrap();
    }
    assert!(volume.space().await.unwrap().free > full + count * 50_000);
    volume.write("kept", &bytes(3, 500_000)).await.unwrap();
    assert_eq!(again(&sim).await.read("kept", 1 << 20).await.unwrap(), bytes(3, 500_000));
}

#[unikernel_rt::test]
async fn many_folders_and_open_files() {
    let (sim, volume) = new_volume(32 << 20).await;
    for number in 0..300 {
        volume.create_folder(&format!("folder {number}")).await.unwrap();
    }
    let mut files = Vec::new();
    for number in 0..150_u64 {
        let path = format!("folder {number}/file");
        let file = volume.create(&path).await.unwrap();
        file.write_at(0, &bytes(number, 3000)).await.unwrap();
        files.push(file);
    }
    drop(files);
    volume.sync().await.unwrap();
    let volume = again(&sim).await;
    assert_eq!(volume.list("").await.unwrap().len(), 300);
    let mut readers = Vec::new();
    for number in 0..600 {
        readers.push(volume.open(&format!("folder {}/file", number % 150)).await.unwrap());
    }
    volume.write("folder 299/more", &bytes(7, 100_000)).await.unwrap();
    for (number, reader) in readers.iter().enumerate() {
        assert_eq!(reader.read_all(3000).await.unwrap(), bytes(number as u64 % 150, 3000));
    }
    let report = volume.check().await;
    assert_eq!((report.files, report.folders, report.is_clean()), (151, 301, true));
}

#[unikernel_rt::test]
async fn gaps_are_zeros() {
    let (sim, volume) = new_volume(4 << 20).await;
    let file = volume.create("file").await.unwrap();
    file.write_at(400_000, b"end").await.unwrap();
    file.truncate(500_000).await.unwrap();
    file.sync().await.unwrap();
    let content = again(&sim).await.read("file", 1 << 20).await.unwrap();
    assert_eq!(content.len(), 500_000);
    assert_eq!(content[400_000..400_003], *b"end");
    assert!(content[..400_000].iter().chain(&content[400_003..]).all(|byte| *byte == 0));
    assert_eq!(*file.write_at(u64::from(u32::MAX / 2), b"x").await.unwrap_err().cause(), Cause::TooLarge);
}

#[unikernel_rt::test]
async fn times_of_changes() {
    let (sim, volume) = new_volume(1 << 20).await;
    set_unix_time(Duration::from_secs(2_000_000_000));
    for (path, len) in [("small", 10), ("large", 100_000)] {
        volume.write(path, &bytes(0, len)).await.unwrap();
        assert_eq!(again(&sim).await.metadata(path).await.unwrap().modified, Some(2_000_000_000), "{path}");
    }
    // To open a file and change nothing is no change.
    set_unix_time(Duration::from_secs(2_000_000_500));
    drop(volume.edit("small").await.unwrap());
    volume.sync().await.unwrap();
    assert_eq!(volume.metadata("small").await.unwrap().modified, Some(2_000_000_000));
}

#[unikernel_rt::test]
async fn a_disk_that_fails() {
    let (sim, volume) = new_volume(1 << 20).await;
    volume.write("file", &bytes(1, 10_000)).await.unwrap();
    for op in [BlockOp::Write, BlockOp::Flush] {
        let volume = again(&sim).await;
        sim.fail(op, 0..1 << 20, BlockError::Io, 1);
        let error = volume.write("file", &bytes(2, 20_000)).await.unwrap_err();
        assert_eq!(*error.cause(), Cause::Disk(BlockError::Io), "{op:?}");
        // What is on the disk is not known any more, so nothing is written on top of it; it can be read.
        assert_eq!(*volume.create_folder("x").await.unwrap_err().cause(), Cause::Disk(BlockError::Io));
        assert_eq!(volume.read("file", 1 << 20).await.unwrap(), bytes(1, 10_000));
        assert_eq!(again(&sim).await.read("file", 1 << 20).await.unwrap(), bytes(1, 10_000));
    }
    let volume = again(&sim).await;
    sim.remove();
    assert_eq!(*volume.read("file", 1 << 20).await.unwrap_err().cause(), Cause::Disk(BlockError::Gone));
}

/// Futures that are dropped at every point do all of their work or none, and others wait for nobody.
#[unikernel_rt::test]
async fn dropped_operations() {
    let sim = SimDisk::with(4 << 20, 512, Behaviour { delay: Duration::from_micros(100), reorders: true, seed: 1 });
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
    for micros in (0..6000).step_by(50) {
        let task = spawn({
            let volume = volume.clone();
            async move { volume.write("file", &bytes(micros, 9000)).await }
        });
        sleep(Duration::from_micros(micros)).await;
        task.abort();
        volume.sync().await.unwrap();
        let content = volume.read("file", 1 << 20).await;
        if let Ok(content) = content {
            let is_one = (0..=micros).step_by(50).any(|seed| content == bytes(seed, 9000)[..content.len()]);
            assert!(is_one, "{} bytes of nobody", content.len());
        }
        // Nothing stays open.
        drop(volume.append("file").await.unwrap());
        volume.sync().await.unwrap();
    }
    assert!(volume.check().await.is_clean());
}

#[unikernel_rt::test]
async fn others_run_while_the_disk_works() {
    let sim = SimDisk::with(4 << 20, 512, Behaviour { delay: Duration::from_millis(5), reorders: false, seed: 1 });
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
    let start = Instant::now();
    let writer = spawn(async move { volume.write("file", &bytes(1, 50_000)).await });
    let mut ticks = 0;
    while !writer.is_finished() {
        sleep(Duration::from_millis(1)).await;
        ticks += 1;
    }
    assert_eq!(ticks, start.elapsed().as_millis() as u64);
    assert!(ticks >= 20, "{ticks}");
}

/// At every cut a format leaves a disk that is blank or formatted.
#[unikernel_rt::test]
async fn interrupted_formats() {
    for sector_len in [512, 4096] {
        let sim = SimDisk::with(4 << 20, sector_len, Behaviour::PROMPT);
        sim.record();
        drop(Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap());
        let recording = sim.end_recording();
        let mut blank = 0;
        for cut in 0..=recording.len() {
            for survivors in [Survivors::None, Survivors::All, Survivors::Some(1), Survivors::Some(2)] {
                let sim = recording.cut(cut, survivors);
                match Volume::mount(Disk::new(sim.device())).await {
                    Err(error) => {
                        assert_eq!(*error.cause(), Cause::Blank, "{cut} {survivors:?}");
                        blank += 1;
                    }
                    Ok(volume) => assert_eq!(volume.list("").await.unwrap(), []),
                }
                let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
                volume.write("file", &bytes(3, 5000)).await.unwrap();
                assert_eq!(again(&sim).await.read("file", 5000).await.unwrap(), bytes(3, 5000));
            }
        }
        assert!(blank > 4, "the cuts came too late");
    }
}

#[unikernel_rt::test]
async fn disks_of_other_kinds() {
    let sim = SimDisk::with(8 << 20, 4096, Behaviour::PROMPT);
    let volume = Volume::format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
    volume.write("file", &bytes(1, 70_000)).await.unwrap();
    sim.configure(|info| info.is_read_only = true);
    let volume = again(&sim).await;
    assert!(volume.info().is_read_only);
    assert_eq!(volume.read("file", 1 << 20).await.unwrap(), bytes(1, 70_000));
    assert_eq!(*volume.write("file", b"x").await.unwrap_err().cause(), Cause::ReadOnly);
    assert_eq!(*volume.remove("file").await.unwrap_err().cause(), Cause::ReadOnly);

    let small = SimDisk::new(32 * 1024);
    assert!(Volume::format(Disk::new(small.device()), Format::Littlefs).await.is_err());

    // Block 0 is gone: block 1 has the same.
    let (sim, volume) = new_volume(1 << 20).await;
    let file = volume.create("file").await.unwrap();
    file.write_at(0, &bytes(1, 70_000)).await.unwrap();
    file.sync().await.unwrap();
    sim.poke(0, &[0x55; 4096]);
    assert_eq!(again(&sim).await.read("file", 1 << 20).await.unwrap(), bytes(1, 70_000));
}

/// A long file is written and read in one go. `BLOCKFS_FILE_MIB=1024` makes it a gigabyte, and says what it takes.
#[unikernel_rt::test]
async fn a_long_file() {
    const PIECE: usize = 1 << 20;
    let mib: u64 = std::env::var("BLOCKFS_FILE_MIB").map_or(24, |mib| mib.parse().unwrap());
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len((mib << 20) * 2).unwrap();
    let disk = Disk::new(FileDisk::device(image.path(), true).unwrap());
    let volume = Volume::mount_or_format(disk, Format::Littlefs).await.unwrap();
    let clock = std::time::Instant::now();
    let file = volume.create("file").await.unwrap();
    for number in 0..mib {
        file.write_at(number << 20, &bytes(number, PIECE)).await.unwrap();
    }
    file.sync().await.unwrap();
    let written = clock.elapsed();
    let disk = Disk::new(FileDisk::device(image.path(), true).unwrap());
    let volume = Volume::mount(disk).await.unwrap();
    let clock = std::time::Instant::now();
    let file = volume.open("file").await.unwrap();
    assert_eq!(file.len(), mib << 20);
    let mut piece = vec![0; PIECE];
    for number in 0..mib {
        assert_eq!(file.read_exact_at(number << 20, &mut piece).await.unwrap(), PIECE);
        assert!(piece == bytes(number, PIECE), "MiB {number}");
    }
    let block_len = volume.info().block_len >> 10;
    println!("{mib} MiB in blocks of {block_len} KiB: written in {written:.1?}, read in {:.1?}", clock.elapsed());
}
