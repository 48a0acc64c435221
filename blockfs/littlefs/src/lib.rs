//! littlefs, synchronous: a safe interface to the port of the C code in `littlefs-rust-core`.
//!
//! This crate is the one place of the file systems with `unsafe` code, for this reason: the port keeps C's interface, with
//! pointers into memory that must not move and callbacks that get pointers. Here all of that memory belongs to
//! [`Littlefs`], is on the heap, and is reached by pointers only; what a caller gets are numbers and copies.
//!
//! The port computes as C does, where numbers wrap around. A build with overflow checks must leave it out, as this workspace's
//! profiles do, or it panics on volumes that are in order:
//!
//! ```toml
//! [profile.dev.package.littlefs-rust-core]
//! overflow-checks = false
//! ```
//!
//! The port trusts the disk as much as the C code does. [`Storage`] must refuse places that are not there; the port's own
//! assertions are kept in images by the same profiles, so that a contradiction on a hostile disk ends in a panic, and
//! whoever runs this on foreign disks has to survive panics.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

mod callbacks;
mod error;
mod files;
mod names;

pub use error::{Error, Fault, Result};
pub use files::{Content, FileId, Mode};
pub use names::{Entry, Info};

use alloc::{boxed::Box, vec::Vec};
use core::ptr::NonNull;
use files::OpenFile;
use littlefs_rust_core::{Lfs, LfsConfig, LfsFsinfo};
use slab::Slab;

/// The longest file of the format, in bytes: lengths are signed numbers of 32 bits.
pub const FILE_LEN_MAX: u32 = i32::MAX as u32;

/// The longest name, in bytes.
pub const NAME_LEN_MAX: u32 = 255;

/// A disk of blocks. What is written before [`sync`](Self::sync) returns survives a loss of power, before anything that
/// is written later. It must not panic.
pub trait Storage {
    /// How many blocks there can be.
    fn block_count(&self) -> u32;

    /// Fills `bytes` from `offset` in `block`.
    fn read(&mut self, block: u32, offset: u32, bytes: &mut [u8]) -> Result<(), Fault>;

    /// Writes `bytes` at `offset` in `block`; the next [`read`](Self::read) sees them.
    fn write(&mut self, block: u32, offset: u32, bytes: &[u8]) -> Result<(), Fault>;

    /// Makes everything that was written survive a loss of power.
    fn sync(&mut self) -> Result<(), Fault>;
}

/// How littlefs uses its disk. In bytes, where not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// A block; a multiple of `cache_len`.
    pub block_len: u32,
    /// How many blocks there are; 0 to take the number that is on the disk.
    pub block_count: u32,
    /// The unit of reading and writing.
    pub sector_len: u32,
    /// Each of the caches: two of the volume and one of each open file. A multiple of `sector_len`.
    pub cache_len: u32,
    /// The map in which free blocks are looked for, eight in a byte; a multiple of 8.
    pub lookahead_len: u32,
    /// How much of a metadata block is used: to rewrite a block takes time that grows faster than its length. A divisor of
    /// `block_len`.
    pub metadata_len_max: u32,
}

/// A mounted volume. It does no I/O when it is dropped: what was not synced is lost.
pub struct Littlefs<S: Storage> {
    inner: NonNull<Inner<S>>,
    files: Slab<OpenFile>,
}

/// What the port has pointers to; it never moves.
struct Inner<S> {
    lfs: Lfs,
    config: LfsConfig,
    storage: S,
    /// Read cache, write cache, map of blocks: only their pointers in `config` are used.
    _memory: [Vec<u64>; 3],
}

impl<S: Storage> Littlefs<S> {
    /// Makes an empty volume on `storage`, and gives that back.
    pub fn format(storage: S, geometry: &Geometry) -> Result<S> {
        let volume = Littlefs::new(storage, geometry)?;
        let (lfs, config) = volume.pointers();
        error::check(littlefs_rust_core::lfs_format(lfs, config))?;
        Ok(volume.into_storage())
    }

    /// Mounts the volume on `storage`, and ends what a loss of power interrupted: as long as a file is under way from
    /// one folder to another, the port does not see the one whose name comes after it.
    pub fn mount(storage: S, geometry: &Geometry) -> Result<Littlefs<S>> {
        let mut volume = Littlefs::new(storage, geometry)?;
        let (lfs, config) = volume.pointers();
        error::check(littlefs_rust_core::lfs_mount(lfs, config))?;
        if volume.block_count()? > volume.storage().block_count() {
            return Err(Error::Corrupt);
        }
        error::check(littlefs_rust_core::lfs_fs_mkconsistent(volume.begin()))?;
        Ok(volume)
    }

    /// How many blocks the volume has.
    pub fn block_count(&self) -> Result<u32> {
        let mut info =
            LfsFsinfo { disk_version: 0, block_size: 0, block_count: 0, name_max: 0, file_max: 0, attr_max: 0 };
        error::check(littlefs_rust_core::lfs_fs_stat(self.lfs(), &mut info))?;
        Ok(info.block_count)
    }

    /// How many blocks are in use, by open files too.
    pub fn used_blocks(&self) -> Result<u32> {
        error::check_len(littlefs_rust_core::lfs_fs_size(self.lfs()))
    }

    /// Its disk, between operations.
    pub fn storage(&mut self) -> &mut S {
        // SAFETY: `inner` lives as long as `self`, which the caller has for itself, so the port is not running.
        unsafe { &mut (*self.inner.as_ptr()).storage }
    }

    fn new(storage: S, geometry: &Geometry) -> Result<Littlefs<S>> {
        let mut memory = [zeros(geometry.cache_len)?, zeros(geometry.cache_len)?, zeros(geometry.lookahead_len)?];
        let config = callbacks::config::<S>(geometry, &mut memory);
        let inner = Box::new(Inner { lfs: empty(), config, storage, _memory: memory });
        let inner = NonNull::from(Box::leak(inner));
        // SAFETY: `inner` was just made, and nobody else has it.
        let context = unsafe { &raw mut (*inner.as_ptr()).storage };
        // SAFETY: as above.
        unsafe { (*inner.as_ptr()).config.context = context.cast() };
        Ok(Littlefs { inner, files: Slab::new() })
    }

    fn pointers(&self) -> (*mut Lfs, *const LfsConfig) {
        // SAFETY: `inner` lives as long as `self`; no reference is made.
        unsafe { (&raw mut (*self.inner.as_ptr()).lfs, &raw const (*self.inner.as_ptr()).config) }
    }

    fn lfs(&self) -> *mut Lfs {
        self.pointers().0
    }

    /// Before each operation: blocks may be looked for in the whole volume again. Nothing is half done between operations.
    fn begin(&self) -> *mut Lfs {
        // SAFETY: it is a mounted volume.
        unsafe { littlefs_rust_core::lfs_alloc_ckpoint(self.lfs()) };
        self.lfs()
    }

    fn into_storage(self) -> S {
        let inner = self.inner;
        core::mem::forget(self);
        // SAFETY: `new` got it from a box, and nobody has it any more. No file is open: this is after `format`.
        unsafe { Box::from_raw(inner.as_ptr()) }.storage
    }
}

impl<S: Storage> Drop for Littlefs<S> {
    fn drop(&mut self) {
        self.files.clear();
        // SAFETY: `new` got it from a box; the files, which the port's list points to, are never looked at again.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

/// Zeroed memory, aligned for everything.
fn zeros(len: u32) -> Result<Vec<u64>> {
    let words = len.div_ceil(8) as usize;
    let mut memory = Vec::new();
    memory.try_reserve_exact(words).map_err(|_| Error::NoMemory)?;
    memory.resize(words, 0);
    Ok(memory)
}

/// A structure of the port before it is filled.
fn empty<T: files::Plain>() -> T {
    // SAFETY: `Plain` types are C structures of integers, booleans and nullable pointers; zeros are a value.
    unsafe { core::mem::zeroed() }
}
