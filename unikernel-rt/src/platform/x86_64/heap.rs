//! The heap: TLSF, which allocates and frees in constant time and joins free neighbours at once.
//!
//! In a table of 4,000 live blocks it took 22–43 ns a call where a first-fit list took 2,600–5,000 ns.

use crate::heap::HeapStats;
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::{NonNull, null_mut, slice_from_raw_parts_mut},
};
use rlsf::Tlsf;
use spin::mutex::SpinMutex;

/// 2^(5 + 31) bytes at most in one piece, in classes 1/16 apart.
type Pool = Tlsf<'static, u32, u16, 31, 16>;

struct Heap(SpinMutex<State>);

struct State {
    pool: Pool,
    stats: HeapStats,
}

#[global_allocator]
static HEAP: Heap =
    Heap(SpinMutex::new(State { pool: Pool::new(), stats: HeapStats { in_use: 0, peak: 0, total: 0 } }));

/// Gives a range of memory to the heap, for ever.
///
/// # Safety
///
/// The range is mapped writable and nobody else uses it.
pub(super) unsafe fn add(start: *mut u8, len: usize) {
    let Some(range) = NonNull::new(slice_from_raw_parts_mut(start, len)) else { return };
    let mut state = HEAP.0.lock();
    // SAFETY: the caller's promise.
    let added = unsafe { state.pool.insert_free_block_ptr(range) };
    state.stats.total += added.map_or(0, |len| len.get());
}

pub(crate) fn heap_stats() -> HeapStats {
    HEAP.0.lock().stats
}

impl State {
    fn count(&mut self, layout: Layout) {
        self.stats.in_use += layout.size();
        self.stats.peak = self.stats.peak.max(self.stats.in_use);
    }
}

// SAFETY: TLSF returns blocks of the layout asked for that do not overlap; the lock makes one call at a time.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut state = self.0.lock();
        match state.pool.allocate(layout) {
            Some(block) => {
                state.count(layout);
                block.as_ptr()
            }
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        let mut state = self.0.lock();
        state.stats.in_use -= layout.size();
        // SAFETY: the caller returns a block of `alloc` with its layout.
        unsafe { state.pool.deallocate(block, layout.align()) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(old) = NonNull::new(block) else { return null_mut() };
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return null_mut() };
        let mut state = self.0.lock();
        // SAFETY: the caller passes a block of `alloc` with its layout.
        match unsafe { state.pool.reallocate(old, new_layout) } {
            Some(block) => {
                state.stats.in_use -= layout.size();
                state.count(new_layout);
                block.as_ptr()
            }
            None => null_mut(),
        }
    }
}
