//! [`Disk`]: a block device that tasks share, with a cache.

mod cache;
mod read;
mod router;
pub(crate) mod seal;
mod stats;
mod write;

pub use cache::CacheStats;

use crate::error::Cause;
use alloc::{boxed::Box, format, rc::Rc};
use cache::Cache;
use core::{cell::RefCell, ops::Range};
use router::Router;
use seal::Seal;
use unikernel_rt::{
    Acquire, Error, Machine,
    device::{BlockDevice, BlockInfo},
    heap,
};

/// The unit of the cache.
pub(crate) const PAGE_LEN: u64 = 4096;

/// The cache takes at most this part of the memory, ...
const CACHE_MEMORY_PART: usize = 8;
/// ... and these bounds on a workstation and on large machines: beyond them, more hits are rare for what a disk of content
/// is read for.
const CACHE_LEN_DEFAULT: usize = 16 << 20;
const CACHE_LEN_MAX: usize = 128 << 20;

/// A disk, or a part of one. Clones are handles to the same disk, its queue and its cache.
///
/// As an argument of `main` it takes the machine's next disk. A read that is dropped before it is done leaves nothing
/// behind; a dropped write may have been executed or not, in whole or in parts.
///
/// ```
/// # use unikernel_rt::sim::SimDisk;
/// # unikernel_rt::sim::run("", async {
/// use unikernel_blockfs::Disk;
///
/// let disk = Disk::new(SimDisk::new(1 << 20).device());
/// assert_eq!(disk.len(), 1 << 20);
///
/// // A part of it is a disk, too, with the same cache.
/// let second_half = disk.part(1 << 19..1 << 20).map_err(|cause| cause.to_string()).unwrap();
/// assert_eq!(second_half.len(), 1 << 19);
/// # Ok::<_, unikernel_blockfs::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Disk {
    shared: Rc<Shared>,
    /// What of the device this handle sees.
    range: Range<u64>,
    /// Says whether it is what it was when it was sealed.
    seal: Option<Rc<Seal>>,
}

struct Shared {
    info: BlockInfo,
    router: Router,
    cache: RefCell<Cache>,
}

impl Acquire for Disk {
    async fn acquire(machine: &mut Machine) -> unikernel_rt::Result<Disk> {
        Ok(Disk::new(machine.take_disk()?))
    }
}

impl Disk {
    /// Makes `device` shareable; a task of its own passes requests and completions, until the last handle is dropped.
    pub fn new(device: Box<dyn BlockDevice>) -> Disk {
        let info = device.info().clone();
        let memory = heap::stats().total;
        let cache_len = if memory == 0 { CACHE_LEN_DEFAULT } else { (memory / CACHE_MEMORY_PART).min(CACHE_LEN_MAX) };
        let range = 0..info.len;
        let shared = Shared { info, router: Router::start(device), cache: RefCell::new(Cache::new(cache_len)) };
        Disk { shared: Rc::new(shared), range, seal: None }
    }

    /// Takes the machine's disk with this serial.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn named(machine: &mut Machine, serial: &str) -> unikernel_rt::Result<Disk> {
        Ok(Disk::new(machine.take_disk_named(serial)?))
    }

    /// What the device is; its length is that of the whole device.
    pub fn info(&self) -> &BlockInfo {
        &self.shared.info
    }

    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Whether writes fail.
    pub fn is_read_only(&self) -> bool {
        self.shared.info.is_read_only || self.seal.is_some()
    }

    /// The part of it at `range`, such as a partition.
    ///
    /// # Errors
    ///
    /// It is not of whole sectors, or reaches beyond the end.
    pub fn part(&self, range: Range<u64>) -> Result<Disk, Cause> {
        let range = self.absolute(range)?;
        match self.shared.info.contains(&range) {
            true => Ok(Disk { shared: self.shared.clone(), range, seal: self.seal.clone() }),
            false => Err(Cause::OutOfRange),
        }
    }

    /// A number that is another one when anything on it is another one, where it was sealed (see
    /// [`Sealer`](crate::Sealer)) and the seal was found when it was mounted.
    pub fn content(&self) -> Option<u32> {
        self.seal.as_ref().map(|seal| seal.content())
    }

    /// How the cache does.
    pub fn cache_stats(&self) -> CacheStats {
        self.shared.cache.borrow().stats()
    }

    /// Changes how many bytes the cache may hold.
    pub fn set_cache_len(&self, len: usize) {
        self.shared.cache.borrow_mut().set_len_max(len);
    }

    /// Where `range` is on the device.
    fn absolute(&self, range: Range<u64>) -> Result<Range<u64>, Cause> {
        match range.start <= range.end && range.end <= self.len() {
            true => Ok(self.range.start + range.start..self.range.start + range.end),
            false => Err(Cause::OutOfRange),
        }
    }

    fn absolute_of(&self, offset: u64, len: u64) -> Result<Range<u64>, Cause> {
        self.absolute(offset..offset.checked_add(len).ok_or(Cause::OutOfRange)?)
    }
}

impl core::fmt::Debug for Disk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Disk({:?}, {:?})", self.shared.info.serial, self.range)
    }
}

/// What an argument of `main` fails with.
pub(crate) fn refused(disk: &BlockInfo, error: &impl core::fmt::Display) -> Error {
    match &*disk.serial {
        "" => Error::msg(format!("a disk of {} MiB: {error}", disk.len >> 20)),
        serial => Error::msg(format!("the disk `{serial}`: {error}")),
    }
}
