//! Making an empty volume.

use super::geometry;
use crate::{Disk, error::Cause, mount::FORMATTING};
use alloc::{collections::BTreeMap, vec, vec::Vec};
use unikernel_littlefs::{Error, Fault, Littlefs, Storage};
use unikernel_rt::device::Buffer;

/// Formats the disk. Between the two flushes in the middle it counts as blank; before them it is as it was.
pub(crate) async fn format(disk: &Disk) -> Result<(), Cause> {
    let geometry = geometry::for_new(disk)?;
    let (block_len, block_count) = (geometry.block_len as usize, geometry.block_count);
    let memory = Memory { block_len, block_count, blocks: BTreeMap::new() };
    let blocks = Littlefs::format(memory, &geometry).map_err(cause_of)?.blocks;
    let sector_len = geometry.sector_len as usize;

    let mut marker = Buffer::zeroed(sector_len);
    marker[..FORMATTING.len()].copy_from_slice(FORMATTING);
    disk.write(0, marker).await?;
    disk.flush().await?;

    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for (block, bytes) in blocks {
        let at = u64::from(block) * u64::from(geometry.block_len);
        if block == 0 {
            first = bytes[..sector_len].to_vec();
            rest.push((sector_len as u64, bytes[sector_len..].to_vec()));
        } else {
            rest.push((at, bytes));
        }
    }
    for (at, bytes) in rest {
        disk.write_bytes(at, &bytes).await?;
    }
    disk.flush().await?;
    disk.write_bytes(0, &first).await?;
    disk.flush().await
}

fn cause_of(error: Error) -> Cause {
    match error {
        Error::NoMemory => Cause::OutOfMemory,
        _ => unreachable!("memory has no faults, and the geometry is ours"),
    }
}

/// The blocks that were written.
struct Memory {
    block_len: usize,
    block_count: u32,
    blocks: BTreeMap<u32, Vec<u8>>,
}

impl Storage for Memory {
    fn block_count(&self) -> u32 {
        self.block_count
    }

    fn read(&mut self, block: u32, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        match self.blocks.get(&block) {
            Some(block) => bytes.copy_from_slice(&block[offset as usize..][..bytes.len()]),
            None => bytes.fill(0),
        }
        Ok(())
    }

    fn write(&mut self, block: u32, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        let block = self.blocks.entry(block).or_insert_with(|| vec![0; self.block_len]);
        block[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}
