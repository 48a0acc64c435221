//! Stacks of fibers: blocks of the heap, whose lowest page is not mapped.

use super::super::memory;
use alloc::alloc::{alloc, dealloc};
use core::{alloc::Layout, array, ops::Range};
use spin::mutex::SpinMutex;

const PAGE_LEN: usize = 4096;

/// The page below each stack, which ends it.
pub(super) const GUARD_LEN: u64 = PAGE_LEN as u64;

/// A smaller one would not be worth its guard page. The report of a panic takes about 1 KiB.
const STACK_LEN_MIN: usize = 16 * 1024;

/// Stacks that wait to be used again: a file system needs one for each operation that is going on, which are a few.
const WAITING_MAX: usize = 4;

static WAITING: SpinMutex<[Option<Stack>; WAITING_MAX]> = SpinMutex::new([const { None }; WAITING_MAX]);

/// A stack, which nothing runs on.
pub(super) struct Stack {
    /// Where its guard page lies.
    start: usize,
    /// With the guard page.
    len: usize,
}

impl Stack {
    /// A stack of at least `len` bytes. `None` when memory is short.
    pub(super) fn new(len: usize) -> Option<Stack> {
        let len = len.max(STACK_LEN_MIN).checked_next_multiple_of(PAGE_LEN)?.checked_add(PAGE_LEN)?;
        Stack::waiting(len).or_else(|| Stack::allocate(len))
    }

    fn waiting(len: usize) -> Option<Stack> {
        let mut waiting = WAITING.lock();
        waiting.iter_mut().find_map(|place| place.take_if(|stack| stack.len == len))
    }

    fn allocate(len: usize) -> Option<Stack> {
        let layout = layout(len)?;
        // SAFETY: the length is not zero.
        let block = unsafe { alloc(layout) };
        if block.is_null() {
            return None;
        }
        // SAFETY: the page is the first of a block that only this stack knows, and the heap keeps nothing in its blocks.
        if !unsafe { memory::unmap(block as u64) } {
            // SAFETY: just allocated with this layout.
            unsafe { dealloc(block, layout) };
            return None;
        }
        Some(Stack { start: block as usize, len })
    }

    /// What is mapped of it.
    pub(super) fn range(&self) -> Range<u64> {
        self.start as u64 + GUARD_LEN..(self.start + self.len) as u64
    }

    /// Keeps the stack for the next fiber, or returns it to the heap.
    pub(super) fn put_back(self) {
        let mut waiting = WAITING.lock();
        match waiting.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(self),
            None => self.free(),
        }
    }

    fn free(self) {
        memory::map_again(self.start as u64);
        let layout = layout(self.len).expect("it was allocated with this length");
        // SAFETY: the block came from `allocate` with this layout, is mapped as it was, and nothing runs on it.
        unsafe { dealloc(self.start as *mut u8, layout) };
    }
}

fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len, PAGE_LEN).ok()
}

/// Bytes in stacks that wait to be used again.
pub(in super::super) fn waiting_len() -> usize {
    WAITING.lock().iter().flatten().map(|stack| stack.len).sum()
}

/// Returns the stacks that wait to be used again to the heap, which has run out.
pub(in super::super) fn give_back_stacks() {
    let waiting: [_; WAITING_MAX] = {
        let mut waiting = WAITING.lock();
        array::from_fn(|index| waiting[index].take())
    };
    waiting.into_iter().flatten().for_each(Stack::free);
}
