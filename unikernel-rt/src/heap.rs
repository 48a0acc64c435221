//! The heap, seen from outside: how much of it is in use.

use crate::platform;

/// Sizes in bytes.
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

/// Bytes that can still be allocated, about: not in use, or in frames that wait to be used again and are given back when
/// the heap runs out. Fragments may be too small for a large block. A few dozen instructions.
///
/// On the hosted platform `usize::MAX`, unless [`sim::set_heap_free`](crate::sim::set_heap_free) says otherwise.
pub fn free() -> usize {
    platform::heap_free()
}
