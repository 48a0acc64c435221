//! The samples of blocks: see [`sites`]. A block that is one has another word behind it, so that nobody else's free takes
//! longer.

use super::{
    super::{report, seed},
    HEAP, Heap,
};
use crate::heap::{
    Sites,
    sites::{self, Book},
    sizes::{class_of, has_canary},
};
use core::alloc::Layout;

pub(crate) fn watch_heap_sites() {
    if !HEAP.with(|state| state.sampler.is_open()) {
        let (book, [seed, ..]) = (Book::new(), seed::words());
        drop(HEAP.with(|state| state.sampler.open(book, seed)));
    }
}

pub(crate) fn heap_sites() -> Sites {
    sites::list(|look| HEAP.with(|state| look(&state.sampler)))
}

impl Heap {
    /// Notes who called for the block which was counted last, if it is a sample.
    #[inline(always)]
    pub(super) fn sample(&self, block: *mut u8, len: usize, class: Option<usize>) {
        if self.with(|state| state.sampler.is_due()) && !block.is_null() {
            // SAFETY: the caller's block, of this length and class.
            unsafe { self.record(block, len, class) };
        }
    }

    /// # Safety
    ///
    /// It is a block of this length and class, and was counted.
    #[cold]
    #[inline(never)]
    unsafe fn record(&self, block: *mut u8, len: usize, class: Option<usize>) {
        let callers = report::callers();
        self.with(|state| {
            if state.sampler.record(block.addr(), len, &callers) && has_canary(len, class) {
                // SAFETY: the caller's promise; it has room for the word.
                unsafe { state.canary.put_sampled(block.add(len)) };
            }
        });
    }

    /// Makes a block that may be a sample one like all others. True when it was one. What is no block stays as it is.
    #[inline(always)]
    pub(super) fn forget_sample(&self, block: *mut u8) -> bool {
        self.with(|state| state.sampler.is_open()) && self.forget_noted(block)
    }

    #[inline(never)]
    fn forget_noted(&self, block: *mut u8) -> bool {
        self.with(|state| {
            let Some(len) = state.sampler.forget(block.addr()) else { return false };
            // A large block that ends with its last chunk has no word.
            let class = Layout::from_size_align(len, 1).ok().and_then(class_of);
            // SAFETY: what was noted is a block of this length, until it is forgotten; it has room for the word.
            if has_canary(len, class) && unsafe { state.canary.is_sampled(block.add(len)) } {
                // SAFETY: as above.
                unsafe { state.canary.put(block.add(len)) };
            }
            true
        })
    }
}
