//! A stop of the machine waits for what volumes still have to write.
#![cfg(all(feature = "littlefs", feature = "fat"))]

use std::{cell::RefCell, rc::Rc};

use unikernel_blockfs::{Disk, Format, Volume};
use unikernel_rt::{
    lifecycle,
    sim::{Behaviour, SimDisk},
    sync::Notify,
    time::Duration,
};

/// Slow enough for a stop to come in between.
const DELAY: Duration = Duration::from_millis(5);
const BYTES: &[u8] = &[7; 10_000];

/// Drops a file that was written and not synced, and stops the machine; what is on the disk when all hooks have run?
async fn on_disk_after_stop(format: Format) -> Vec<u8> {
    let sim = SimDisk::with(64 << 20, 512, Behaviour { delay: DELAY, ..Behaviour::PROMPT });
    let (image, taken) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Notify::new()));
    let (kept, stopped, disk) = (image.clone(), taken.clone(), sim.clone());
    // The first hook is the last to run.
    lifecycle::on_stop(move || async move {
        kept.replace(disk.peek(0, disk.len() as usize));
        stopped.notify_one();
    });
    let volume = Volume::mount_or_format(Disk::new(sim.device()), format).await.unwrap();
    let file = volume.create("file").await.unwrap();
    file.write_at(0, BYTES).await.unwrap();
    drop(file);
    lifecycle::request_stop();
    taken.notified().await;
    image.take()
}

/// A machine stops once, so each format has a machine of its own.
async fn what_was_written_is_on_the_disk(format: Format) {
    let image = on_disk_after_stop(format).await;
    let volume = Volume::mount(Disk::new(SimDisk::from_bytes(&image).device())).await.unwrap();
    assert_eq!(volume.read("file", BYTES.len()).await.unwrap(), BYTES);
}

#[unikernel_rt::test]
async fn of_littlefs() {
    what_was_written_is_on_the_disk(Format::Littlefs).await;
}

#[unikernel_rt::test]
async fn of_fat() {
    what_was_written_is_on_the_disk(Format::Fat).await;
}
