//! The port's way to the storage.

use crate::{FILE_LEN_MAX, Fault, Geometry, NAME_LEN_MAX, Storage};
use alloc::vec::Vec;
use core::slice;
use littlefs_rust_core::{LFS_ERR_CORRUPT, LFS_ERR_IO, LfsConfig};

/// The longest attribute of the format.
const ATTRIBUTE_LEN_MAX: u32 = 1022;

/// The configuration, but for its context.
pub(crate) fn config<S: Storage>(geometry: &Geometry, memory: &mut [Vec<u64>; 3]) -> LfsConfig {
    let [read, write, lookahead] = memory;
    LfsConfig {
        context: core::ptr::null_mut(),
        read: Some(read_block::<S>),
        prog: Some(write_block::<S>),
        erase: Some(erase_block),
        sync: Some(sync::<S>),
        read_size: geometry.sector_len,
        prog_size: geometry.sector_len,
        block_size: geometry.block_len,
        block_count: geometry.block_count,
        // Disks wear evenly by themselves.
        block_cycles: -1,
        cache_size: geometry.cache_len,
        lookahead_size: geometry.lookahead_len,
        compact_thresh: u32::MAX,
        read_buffer: read.as_mut_ptr().cast(),
        prog_buffer: write.as_mut_ptr().cast(),
        lookahead_buffer: lookahead.as_mut_ptr().cast(),
        name_max: NAME_LEN_MAX,
        file_max: FILE_LEN_MAX,
        attr_max: ATTRIBUTE_LEN_MAX,
        metadata_max: geometry.metadata_len_max,
        inline_max: 0,
    }
}

/// The storage of a configuration.
///
/// # Safety
///
/// `config` is the one that `Littlefs::new` made for an `S`, and no other reference to the storage is alive.
unsafe fn storage<'a, S: Storage>(config: *const LfsConfig) -> &'a mut S {
    // SAFETY: the caller has it from the port, which has it from `Littlefs::new`.
    let context = unsafe { (*config).context };
    // SAFETY: the context is the storage beside the configuration; the port calls back once at a time.
    unsafe { &mut *context.cast::<S>() }
}

unsafe extern "C" fn read_block<S: Storage>(
    config: *const LfsConfig,
    block: u32,
    offset: u32,
    bytes: *mut u8,
    len: u32,
) -> i32 {
    // SAFETY: the port passes its configuration.
    let storage = unsafe { storage::<S>(config) };
    // SAFETY: the port passes memory of its own of this length, which was written before: caches, or the caller's slice.
    let bytes = unsafe { slice::from_raw_parts_mut(bytes, len as usize) };
    code_of(storage.read(block, offset, bytes))
}

unsafe extern "C" fn write_block<S: Storage>(
    config: *const LfsConfig,
    block: u32,
    offset: u32,
    bytes: *const u8,
    len: u32,
) -> i32 {
    // SAFETY: the port passes its configuration.
    let storage = unsafe { storage::<S>(config) };
    // SAFETY: the port passes a part of one of its caches.
    let bytes = unsafe { slice::from_raw_parts(bytes, len as usize) };
    code_of(storage.write(block, offset, bytes))
}

/// Disks need no erasing: the format copes with whatever was in a block before.
unsafe extern "C" fn erase_block(_: *const LfsConfig, _block: u32) -> i32 {
    0
}

unsafe extern "C" fn sync<S: Storage>(config: *const LfsConfig) -> i32 {
    // SAFETY: the port passes its configuration.
    let storage = unsafe { storage::<S>(config) };
    code_of(storage.sync())
}

fn code_of(result: Result<(), Fault>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(Fault::Io) => LFS_ERR_IO,
        Err(Fault::OutOfRange) => LFS_ERR_CORRUPT,
    }
}
