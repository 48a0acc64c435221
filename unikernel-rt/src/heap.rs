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

/// The heap now. All zero on the hosted platform, which uses the system's allocator.
pub fn stats() -> HeapStats {
    platform::heap_stats()
}
