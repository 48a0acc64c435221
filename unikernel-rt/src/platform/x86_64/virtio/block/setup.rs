//! What we ask of a block device (virtio 1.2, 5.2.3), and what its configuration says.

use super::super::{
    device,
    request_queue::{RequestQueue, UNIT},
};
use crate::{Error, Result, device::BlockInfo};
use alloc::{
    format,
    string::{String, ToString},
};
use virtio_drivers::transport::Transport;

bitflags::bitflags! {
    /// Feature bits (virtio 1.2, 5.2.3 and 6).
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Features: u64 {
        const SIZE_MAX = 1 << 1;
        const SEG_MAX = 1 << 2;
        const RO = 1 << 5;
        const BLK_SIZE = 1 << 6;
        const FLUSH = 1 << 9;
        const TOPOLOGY = 1 << 10;
        const CONFIG_WCE = 1 << 11;
        const DISCARD = 1 << 13;
        const WRITE_ZEROES = 1 << 14;
        const ANY_LAYOUT = 1 << 27;
        const INDIRECT_DESC = 1 << 28;
        const VERSION_1 = 1 << 32;
    }
}

/// Offsets in the device's configuration (virtio 1.2, 5.2.4).
mod config {
    pub(super) const CAPACITY: usize = 0;
    pub(super) const SIZE_MAX: usize = 8;
    pub(super) const SEG_MAX: usize = 12;
    pub(super) const BLK_SIZE: usize = 20;
    pub(super) const PHYSICAL_BLOCK_EXP: usize = 24;
    pub(super) const WRITEBACK: usize = 32;
    pub(super) const MAX_DISCARD_SECTORS: usize = 36;
    pub(super) const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    pub(super) const WRITE_ZEROES_MAY_UNMAP: usize = 56;
}

/// All buffers of a request together stay below 4 GiB (virtio 1.2, 2.7.5), however many there are.
const SEGMENT_LEN_MAX: usize = 16 << 20;
/// Media that write more at once are not believed: 1 MiB in sectors of 512 bytes.
const PHYSICAL_EXPONENT_MAX: u8 = 11;

/// Agrees with the device on features and starts its setup.
pub(super) fn negotiate(transport: &mut impl Transport) -> Result<Features> {
    device::negotiate(transport, |offered| offered).map_err(|what| problem(what.into()))
}

impl Features {
    /// What the device is, and whether zeroes may give their place back. Its serial is still missing.
    pub(super) fn info(self, transport: &impl Transport, queue: &RequestQueue) -> Result<(BlockInfo, bool)> {
        let config = Config { features: self, transport };
        let sector_len = config.sector_len()?;
        let len = config.len(sector_len)?;
        let is_read_only = self.contains(Features::RO);
        let range_max = |feature, offset| -> Result<u64> {
            let units = config.word(feature, offset)?.filter(|_| !is_read_only).unwrap_or(0);
            Ok(whole(u64::from(units) * UNIT, sector_len))
        };
        let may_unmap = config.byte(Features::WRITE_ZEROES, config::WRITE_ZEROES_MAY_UNMAP)?.unwrap_or(0) != 0;
        let info = BlockInfo {
            serial: String::new(),
            sector_len,
            len,
            physical_sector_len: sector_len << config.physical_exponent()?,
            is_read_only,
            has_volatile_cache: config.has_volatile_cache()?,
            discard_len_max: range_max(Features::DISCARD, config::MAX_DISCARD_SECTORS)?,
            write_zeroes_len_max: range_max(Features::WRITE_ZEROES, config::MAX_WRITE_ZEROES_SECTORS)?,
            segments_max: config.segments_max(queue)?,
            segment_len_max: config.segment_len_max(sector_len)?,
            queue_len: queue.len(),
        };
        Ok((info, may_unmap))
    }
}

/// The device's configuration; what it holds depends on the features.
struct Config<'a, T: Transport> {
    features: Features,
    transport: &'a T,
}

impl<T: Transport> Config<'_, T> {
    fn word(&self, feature: Features, offset: usize) -> Result<Option<u32>> {
        let read = || self.transport.read_config_space::<u32>(offset).map_err(|error| problem(error.to_string()));
        self.features.contains(feature).then(read).transpose()
    }

    fn byte(&self, feature: Features, offset: usize) -> Result<Option<u8>> {
        let read = || self.transport.read_config_space::<u8>(offset).map_err(|error| problem(error.to_string()));
        self.features.contains(feature).then(read).transpose()
    }

    fn sector_len(&self) -> Result<usize> {
        match self.word(Features::BLK_SIZE, config::BLK_SIZE)?.unwrap_or(UNIT as u32) {
            len @ (512 | 4096) => Ok(len as usize),
            len => Err(problem(format!(
                "its sectors have {len} bytes; give it sectors of 512 or 4096 (QEMU: `logical_block_size=`)"
            ))),
        }
    }

    /// Whole sectors only: QEMU tells of the rest of a file that ends within one.
    fn len(&self, sector_len: usize) -> Result<u64> {
        let units = device::consistent(self.transport, || {
            let low = self.transport.read_config_space::<u32>(config::CAPACITY)?;
            let high = self.transport.read_config_space::<u32>(config::CAPACITY + 4)?;
            Ok(u64::from(high) << 32 | u64::from(low))
        });
        let units = units.map_err(problem)?;
        let len = units.checked_mul(UNIT).filter(|len| i64::try_from(*len).is_ok());
        let len = len.ok_or_else(|| problem(format!("it says that it has {units} sectors, which no disk has")))?;
        Ok(whole(len, sector_len))
    }

    fn physical_exponent(&self) -> Result<u8> {
        let exponent = self.byte(Features::TOPOLOGY, config::PHYSICAL_BLOCK_EXP)?.unwrap_or(0);
        Ok(if exponent <= PHYSICAL_EXPONENT_MAX { exponent } else { 0 })
    }

    /// Without `CONFIG_WCE` a device that takes flushes needs them (virtio 1.2, 5.2.6.2).
    fn has_volatile_cache(&self) -> Result<bool> {
        let writes_back = self.byte(Features::CONFIG_WCE, config::WRITEBACK)?.unwrap_or(1) != 0;
        Ok(self.features.contains(Features::FLUSH) && writes_back)
    }

    fn segments_max(&self, queue: &RequestQueue) -> Result<usize> {
        let told = self.word(Features::SEG_MAX, config::SEG_MAX)?.unwrap_or(1) as usize;
        Ok(told.clamp(1, queue.segments_max()))
    }

    fn segment_len_max(&self, sector_len: usize) -> Result<usize> {
        let told = self.word(Features::SIZE_MAX, config::SIZE_MAX)?;
        let len = told.map_or(SEGMENT_LEN_MAX, |len| (len as usize).min(SEGMENT_LEN_MAX));
        match whole(len as u64, sector_len) as usize {
            0 => Err(problem(format!("it takes {len} bytes at most at once, which is less than a sector"))),
            len => Ok(len),
        }
    }
}

fn whole(len: u64, sector_len: usize) -> u64 {
    len - len % sector_len as u64
}

/// The text before the first NUL.
pub(super) fn serial(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    match core::str::from_utf8(text) {
        Ok(text) => text.into(),
        Err(_) => {
            crate::log::warn!("a disk has a serial that is not UTF-8; it counts as a disk without one");
            String::new()
        }
    }
}

#[cold]
pub(super) fn problem(what: String) -> Error {
    Error::msg(format!("a virtio disk cannot be used: {what}"))
}
