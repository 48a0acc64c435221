//! Recognises what is on a disk. The one place that knows which formats there are.

#[cfg(feature = "fat")]
use crate::fat;
#[cfg(feature = "littlefs")]
use crate::littlefs;
use crate::{Disk, Volume, error::Cause, metadata::Format};

/// A disk is blank when so much of its start is zero: every format we know, and most others, have something there.
const BLANK_LEN: u64 = 1 << 20;

/// What an interrupted format leaves at the start, so that the disk still counts as blank.
pub(crate) const FORMATTING: &[u8; 32] = b"UNIKERNEL FORMATS THIS DISK NOW.";

pub(crate) async fn mount(disk: Disk) -> Result<Volume, Cause> {
    if is_blank(&disk).await? {
        return Err(Cause::Blank);
    }
    #[cfg(feature = "erofs")]
    if let Some(system) = crate::erofs::mount(&disk).await? {
        return Ok(Volume::new(system));
    }
    #[cfg(feature = "fat")]
    if fat::is_fat(&disk).await? {
        return fat::mount(disk).await;
    }
    #[cfg(feature = "littlefs")]
    if let Some(head) = littlefs::Head::find(&disk).await? {
        return littlefs::mount(disk, head).await;
    }
    Err(Cause::unsupported(
        "it holds no volume of a known format (EROFS, tar, ext4, littlefs, FAT32), or its start is damaged",
    ))
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
