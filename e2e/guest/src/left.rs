//! A file that is written and then left to the volume, on the first disk, if the machine has one.

use crate::Shared;
use alloc::string::String;
use unikernel_blockfs::{Disk, Format, Volume};
use unikernel_http::{Bytes, Path, State};
use unikernel_rt::{Acquire, Machine};

const NAME: &str = "left";
const LEN_MAX: usize = 4096;

/// The volume of the first disk.
pub struct Kept(pub Option<Volume>);

impl Acquire for Kept {
    async fn acquire(machine: &mut Machine) -> unikernel_rt::Result<Kept> {
        let Ok(disk) = machine.take_disk() else { return Ok(Kept(None)) };
        Ok(Kept(Some(Volume::mount_or_format(Disk::new(disk), Format::Littlefs).await?)))
    }
}

/// Writes the file, and neither syncs nor closes it before the answer.
pub async fn leave(State(site): State<Shared>, Path(text): Path<String>) -> Option<()> {
    let file = site.kept.as_ref()?.create(NAME).await.ok()?;
    file.write_at(0, text.as_bytes()).await.ok()
}

pub async fn read(State(site): State<Shared>) -> Option<Bytes> {
    site.kept.as_ref()?.read(NAME, LEN_MAX).await.ok()
}
