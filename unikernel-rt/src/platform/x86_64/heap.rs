//! The heap: TLSF, which allocates and frees in constant time and joins free neighbours at once, behind lists of small
//! blocks that were just freed.
//!
//! In a table of 4,000 live blocks TLSF took 22–43 ns a call where a first-fit list took 2,600–5,000 ns. Most
//! blocks live as long as a request or a connection, and their successors find them on the lists.

mod recent;

use crate::heap::HeapStats;
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::{NonNull, null_mut, slice_from_raw_parts_mut},
};
use recent::Recent;
use rlsf::Tlsf;
use spin::mutex::SpinMutex;

/// 2^(5 + 31) bytes at most in one piece, in classes 1/16 apart.
type Pool = Tlsf<'static, u32, u16, 31, 16>;

struct Heap(SpinMutex<State>);

struct State {
    pool: Pool,
    recent: Recent,
    stats: HeapStats,
}

#[global_allocator]
static HEAP: Heap = Heap(SpinMutex::new(State {
    pool: Pool::new(),
    recent: Recent::new(),
    stats: HeapStats { in_use: 0, peak: 0, total: 0 },
}));

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

/// A block for ever. `None` when memory is short, or before there is a heap.
pub(super) fn pages(layout: Layout) -> Option<NonNull<u8>> {
    HEAP.allocate(layout)
}

/// For reports: `None` where the failure came from inside the heap.
pub(super) fn stats_unless_locked() -> Option<HeapStats> {
    HEAP.0.try_lock().map(|state| state.stats)
}

pub(crate) fn heap_stats() -> HeapStats {
    HEAP.0.lock().stats
}

pub(crate) fn heap_free() -> usize {
    let pools = super::with_core(|core| core.frames.borrow().len() + core.buffers.borrow().len());
    heap_stats().free() + pools + super::fiber::waiting_len()
}

impl State {
    fn count(&mut self, layout: Layout) {
        self.stats.in_use += layout.size();
        self.stats.peak = self.stats.peak.max(self.stats.in_use);
    }

    #[inline]
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let Some(class) = recent::class(layout) else { return self.allocate_large(layout) };
        match self.recent.take(class) {
            Some(block) => Some(block),
            None => self.allocate_large(recent::layout(class)),
        }
    }

    fn allocate_large(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.pool.allocate(layout).or_else(|| {
            self.give_back_recent();
            self.pool.allocate(layout)
        })
    }

    /// Returns the small free blocks to the pool, where they join their neighbours.
    #[cold]
    fn give_back_recent(&mut self) {
        while let Some(block) = self.recent.take_any() {
            // SAFETY: a block of `allocate_large` with this alignment, which nobody has.
            unsafe { self.pool.deallocate(block, recent::ALIGN) };
        }
    }

    /// # Safety
    ///
    /// A block of `allocate` with its layout, which nobody uses any more.
    #[inline]
    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        let class = recent::class(layout);
        if let Some(class) = class
            // SAFETY: the caller's promise; blocks of a class are at least its size.
            && unsafe { self.recent.put(class, block) }
        {
            return;
        }
        let align = if class.is_some() { recent::ALIGN } else { layout.align() };
        // SAFETY: the caller's promise; this is the alignment it was allocated with.
        unsafe { self.pool.deallocate(block, align) };
    }
}

impl Heap {
    #[inline]
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let mut state = self.0.lock();
        let block = state.allocate(layout)?;
        state.count(layout);
        Some(block)
    }

    /// # Safety
    ///
    /// As for [`GlobalAlloc::realloc`].
    unsafe fn reallocate(&self, old: NonNull<u8>, layout: Layout, new_layout: Layout) -> Option<NonNull<u8>> {
        let mut state = self.0.lock();
        let (class, new_class) = (recent::class(layout), recent::class(new_layout));
        let new = match (class, new_class) {
            (Some(class), Some(new_class)) if class == new_class => old,
            // SAFETY: the caller passes a block of `alloc` with its layout, and neither size is of a class.
            (None, None) => unsafe { state.pool.reallocate(old, new_layout) }?,
            _ => {
                let new = state.allocate(new_layout)?;
                let len = layout.size().min(new_layout.size());
                // SAFETY: two blocks that do not overlap, both at least `len` long.
                unsafe { new.copy_from_nonoverlapping(old, len) };
                // SAFETY: the caller passes a block of `alloc` with its layout and will use the new one.
                unsafe { state.free(old, layout) };
                new
            }
        };
        state.stats.in_use -= layout.size();
        state.count(new_layout);
        Some(new)
    }
}

/// Waits for nothing: what lies in pools goes back to the heap, and then there may be enough.
#[cold]
fn relieve<T>(again: impl FnOnce() -> Option<T>) -> Option<T> {
    super::give_back_pools();
    super::fiber::give_back_stacks();
    again()
}

// SAFETY: TLSF returns blocks of the layout asked for that do not overlap, and a block on a list is of its class; the lock
// makes one call at a time.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = self.allocate(layout).or_else(|| relieve(|| self.allocate(layout)));
        block.map_or(null_mut(), NonNull::as_ptr)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        let mut state = self.0.lock();
        state.stats.in_use -= layout.size();
        // SAFETY: the caller returns a block of `alloc` with its layout.
        unsafe { state.free(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(old) = NonNull::new(block) else { return null_mut() };
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return null_mut() };
        // SAFETY: the caller's promise. A block that could not be made larger is as it was, so it may be tried again.
        let reallocate = || unsafe { self.reallocate(old, layout, new_layout) };
        reallocate().or_else(|| relieve(reallocate)).map_or(null_mut(), NonNull::as_ptr)
    }
}
