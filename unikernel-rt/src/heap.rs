//! The heap: how much of it is in use, and the bookkeeping behind it, which the machine's memory is managed with.
//!
//! On the bare machine `platform/x86_64/heap.rs` is the allocator; all that can be said without touching memory is here,
//! in `blocks` and the modules below it, as safe code.

#[cfg(any(target_os = "none", test))]
pub(crate) mod blocks;
#[cfg(any(target_os = "none", test))]
pub(crate) mod chunks;
#[cfg(any(target_os = "none", test))]
mod runs;
#[cfg(any(target_os = "none", test))]
pub(crate) mod sites;
#[cfg(any(target_os = "none", test))]
pub(crate) mod sizes;
#[cfg(any(target_os = "none", test))]
mod slabs;
#[cfg(test)]
mod tests;

use crate::platform;
use alloc::vec::Vec;

/// Sizes in bytes. A block counts with what it takes, which is a little more than what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapStats {
    /// Allocated now.
    pub in_use: usize,
    /// The most that was ever allocated at once.
    pub peak: usize,
    /// All of it.
    pub total: usize,
}

impl HeapStats {
    /// Not allocated.
    pub fn free(&self) -> usize {
        self.total.saturating_sub(self.in_use)
    }
}

/// The heap now. All zero on the hosted platform, which uses the system's allocator.
pub fn stats() -> HeapStats {
    platform::heap_stats()
}

/// How many [`classes`] there are: one for each size of small blocks, and one for all others.
pub const SIZES: usize = 33;

/// The blocks of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// The longest block of this class; `None` for the last, of all that are longer than those of the others.
    pub block_len_max: Option<usize>,
    /// Blocks in use.
    pub blocks: usize,
    /// Bytes that serve this class: its blocks, and room for more of them.
    pub held: usize,
}

/// The blocks of all sizes now, the smallest first. Empty on the hosted platform, which uses the system's allocator. Some
/// hundred instructions.
pub fn classes() -> [ClassStats; SIZES] {
    platform::heap_classes()
}

/// Bytes that can still be allocated, about: not in use, or in frames that wait to be used again and are given back when
/// the heap runs out. Fragments may be too small for a large block. A few dozen instructions.
///
/// On the hosted platform `usize::MAX`, unless [`sim::set_heap_free`](crate::sim::set_heap_free) says otherwise.
pub fn free() -> usize {
    platform::heap_free()
}

/// Blocks in use that were allocated at one place, by the samples among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Return addresses, the innermost first, at most 16: as in the image's ELF file, so they tell nothing about where this
    /// boot put it.
    pub frames: Vec<u64>,
    /// How many of its blocks were sampled and are in use.
    pub samples: usize,
    /// The bytes that they stand for.
    pub bytes: usize,
}

/// By whom blocks were allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites {
    /// One block in about so many bytes is sampled; 0 before [`watch_sites`].
    pub interval: usize,
    /// Bytes whose sample found no room, of all time: there are at most 2,048 samples, of 256 places.
    pub missed: usize,
    /// The most bytes first.
    pub sites: Vec<Site>,
}

/// Begins to sample which code blocks are allocated by; what was allocated before stays unknown. It takes 90 KiB, and a few
/// hundred instructions for each 64 KiB that are allocated. Does nothing on the hosted platform.
pub fn watch_sites() {
    platform::watch_heap_sites();
}

/// The places at which the blocks in use were allocated, since [`watch_sites`].
pub fn sites() -> Sites {
    platform::heap_sites()
}
