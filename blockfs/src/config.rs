//! [`ConfigPartition`]: configuration on a disk, for machines that get no command line, such as those of a cloud.

use crate::{
    Disk,
    error::Cause,
    partition::{PartitionKind, partitions},
};
use alloc::{boxed::Box, format, vec::Vec};
use core::task::{Context, Poll};
use unikernel_rt::{
    Acquire, Error, Machine, Result,
    config::{self, Source, TEXT_LEN_MAX},
    device::{BlockCompletion, BlockDevice, BlockInfo, BlockRequest},
    sync::{OneshotSender, oneshot},
};

/// The type of a config partition in a GPT, 37D7ED5E-A8BC-4DA7-AD33-FD667E755520, in the order of bytes in which it is
/// stored.
pub const CONFIG_PARTITION: [u8; 16] = *b"\x5e\xed\xd7\x37\xbc\xa8\xa7\x4d\xad\x33\xfd\x66\x7e\x75\x55\x20";

/// What an image has in it that looks for a config partition. Who makes a disk of it can tell by that whether one would be read.
pub const CONFIG_MARK: &str = "unikernel: this image reads a config partition";

/// Adds what is on the machine's config partition to its configuration, as an argument of `main` that comes before those
/// whose arguments it may hold. See [`unikernel_rt::config`] for the text and for what counts when.
///
/// It is a partition of the type [`CONFIG_PARTITION`] in the GPT of any disk, whatever its name is. The text ends with its
/// first zero byte or with the partition. The disks stay where they are.
///
/// ```
/// # #[allow(dead_code)] mod app {
/// use unikernel_blockfs::{ConfigPartition, Volume};
/// use unikernel_rt::Config;
///
/// async fn main(_: ConfigPartition, site: Volume, config: Config) -> unikernel_rt::Result {
///     let name: String = config.env("NAME")?.unwrap_or_default();
///     config.finish()?;
///     # let _ = (site, name);
///     Ok(())
/// }
/// # }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigPartition {
    /// The machine has one.
    pub is_there: bool,
}

impl Acquire for ConfigPartition {
    async fn acquire(machine: &mut Machine) -> Result<ConfigPartition> {
        // So that it is in the image, though nobody here reads it.
        core::hint::black_box(CONFIG_MARK);
        let disks: Vec<_> = core::iter::from_fn(|| machine.take_disk().ok()).collect();
        let mut is_there = false;
        for (number, device) in (1..).zip(disks) {
            let (device, text) = read(device).await;
            machine.add_disk(device);
            let text = text.map_err(|cause| {
                Error::msg(format!("disk {number} cannot be searched for a config partition: {cause}"))
            })?;
            let Some(text) = text else { continue };
            if is_there {
                return Err(Error::msg(format!("disk {number} has another config partition; leave one of them out")));
            }
            is_there = true;
            config::add(Source::Partition, &text)?;
        }
        Ok(ConfigPartition { is_there })
    }
}

/// Reads the text of a disk's config partition, and gives the disk back.
async fn read(device: Box<dyn BlockDevice>) -> (Box<dyn BlockDevice>, core::result::Result<Option<Vec<u8>>, Cause>) {
    let (sender, receiver) = oneshot();
    let disk = Disk::new(Box::new(Lent { device: Some(device), owner: Some(sender) }));
    let text = text_of(&disk).await;
    drop(disk);
    let device = receiver.await.expect("the disk's task drops its device at its end");
    (device, text)
}

async fn text_of(disk: &Disk) -> core::result::Result<Option<Vec<u8>>, Cause> {
    let found = partitions(disk).await?;
    let mut mine = found.into_iter().filter(|partition| partition.kind == PartitionKind::Guid(CONFIG_PARTITION));
    let Some(partition) = mine.next() else { return Ok(None) };
    if mine.next().is_some() {
        return Err(Cause::unsupported("it has several config partitions; leave all but one out"));
    }
    let part = disk.part(partition.range)?;
    // One byte more than may be, so that a longer text is noticed.
    let mut text = part.read(0, part.len().min(TEXT_LEN_MAX as u64 + 1) as usize).await?.to_vec();
    let end = text.iter().position(|byte| *byte == 0);
    text.truncate(end.unwrap_or(text.len()));
    Ok(Some(text))
}

/// A device that goes back to its owner when it is dropped.
struct Lent {
    /// Until then.
    device: Option<Box<dyn BlockDevice>>,
    owner: Option<OneshotSender<Box<dyn BlockDevice>>>,
}

impl Lent {
    fn device(&mut self) -> &mut dyn BlockDevice {
        &mut **self.device.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(device), Some(owner)) = (self.device.take(), self.owner.take()) {
            // Where nobody waits any more, the machine ends.
            let _ = owner.send(device);
        }
    }
}

impl BlockDevice for Lent {
    fn info(&self) -> &BlockInfo {
        self.device.as_ref().expect("it is there until the drop").info()
    }

    fn submit(&mut self, request: BlockRequest) -> core::result::Result<(), BlockRequest> {
        self.device().submit(request)
    }

    fn kick(&mut self) {
        self.device().kick();
    }

    fn complete(&mut self) -> Option<BlockCompletion> {
        self.device().complete()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device().poll_ready(cx)
    }
}
