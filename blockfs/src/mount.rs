//! Recognises what is on a disk. The one place that knows which formats there are.

#[cfg(feature = "fat")]
use crate::fat;
#[cfg(feature = "littlefs")]
use crate::littlefs;
#[cfg(feature = "tar")]
use crate::tar;
use crate::{Disk, Volume, draft, error::Cause, kv, metadata::Format, partition::partitions};

/// A disk is blank when so much of its start is zero: every format we know, and most others, have something there.
const BLANK_LEN: u64 = 1 << 20;

/// What an interrupted format leaves at the start, so that the disk still counts as blank.
pub(crate) const FORMATTING: &[u8; 32] = b"UNIKERNEL FORMATS THIS DISK NOW.";

/// What is on the disk; where that is a partition table, what is on its only partition that holds a volume.
pub(crate) async fn mount(disk: Disk) -> Result<Volume, Cause> {
    let volume = mount_any(disk).await?;
    draft::remove_left_overs(&volume).await?;
    Ok(volume)
}

async fn mount_any(disk: Disk) -> Result<Volume, Cause> {
    if let Some(volume) = mount_whole(disk.clone()).await? {
        return Ok(volume);
    }
    let mut found = None;
    for partition in partitions(&disk).await?.into_iter().filter(|partition| !partition.kind.has_no_volume()) {
        // A partition without a volume does not keep another one from being served; a damaged one is not passed over.
        let volume = match mount_whole(disk.part(partition.range)?).await {
            Err(Cause::Blank) => None,
            result => result?,
        };
        if volume.is_some() && found.is_some() {
            return Err(Cause::unsupported("it has several partitions with volumes; mount `disk.partition(NUMBER)`"));
        }
        found = found.or(volume);
    }
    match found {
        Some(volume) => Ok(volume),
        None if kv::is_store(&disk).await? => {
            Err(Cause::unsupported("it holds a key-value store; open it with `kv::KvStore::open`"))
        }
        None => Err(Cause::unsupported(
            "it holds no volume of a known format (EROFS, tar, ext4, littlefs, FAT32), or its start is damaged",
        )),
    }
}

/// `None` when it is of no known format.
async fn mount_whole(disk: Disk) -> Result<Option<Volume>, Cause> {
    let disk = disk.unsealed().await?;
    if is_blank(&disk).await? {
        return Err(Cause::Blank);
    }
    #[cfg(feature = "erofs")]
    if let Some(system) = crate::erofs::mount(&disk).await? {
        return Ok(Some(Volume::new(system)));
    }
    #[cfg(feature = "ext4")]
    if let Some(system) = crate::ext4::mount(&disk).await? {
        return Ok(Some(Volume::new(system)));
    }
    #[cfg(feature = "fat")]
    if fat::is_fat(&disk).await? {
        return fat::mount(disk).await.map(Some);
    }
    #[cfg(feature = "littlefs")]
    if let Some(head) = littlefs::Head::find(&disk).await? {
        return littlefs::mount(disk, head).await.map(Some);
    }
    // Last: an archive may begin with anything.
    #[cfg(feature = "tar")]
    if tar::recognise(&disk.read(0, disk.len().min(512) as usize).await?) {
        return Ok(Some(Volume::new(tar::mount(disk).await?)));
    }
    Ok(None)
}

pub(crate) async fn mount_or_format(disk: Disk, kind: Format) -> Result<Volume, Cause> {
    if is_blank(&disk).await? { format(disk, kind).await } else { mount(disk).await }
}

pub(crate) async fn format(disk: Disk, format: Format) -> Result<Volume, Cause> {
    if disk.is_read_only() {
        return Err(Cause::ReadOnly);
    }
    match format {
        #[cfg(feature = "fat")]
        Format::Fat => fat::format(&disk).await?,
        #[cfg(feature = "littlefs")]
        Format::Littlefs => littlefs::format(&disk).await?,
        _ => return Err(Cause::unsupported("volumes of this format are made on a workstation, and read here")),
    }
    mount(disk).await
}

/// Whether there is nothing on the disk, or a format that was interrupted.
pub(crate) async fn is_blank(disk: &Disk) -> Result<bool, Cause> {
    let end = disk.len().min(BLANK_LEN);
    let mut at = 0;
    while at < end {
        let bytes = disk.read_some(at, (end - at) as usize).await?;
        if at == 0 && bytes.starts_with(FORMATTING) {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += bytes.len() as u64;
    }
    Ok(true)
}
