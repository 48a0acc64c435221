//! What the self-test image does to the heap: each of these must end the machine.

use alloc::alloc::{alloc, dealloc, realloc};
use core::{alloc::Layout, hint::black_box};

/// Leaves room in its class.
const BLOCK: Layout = Layout::new::<[u8; 100]>();

fn block(layout: Layout) -> *mut u8 {
    // SAFETY: no layout here is empty.
    let block = unsafe { alloc(layout) };
    assert!(!block.is_null(), "the self-test needs a little memory");
    // The compiler may leave out blocks that nobody uses.
    black_box(block)
}

/// Frees a block twice.
pub(in super::super) fn double_free() {
    let block = block(BLOCK);
    // SAFETY: none for the second call. That is what is tested.
    unsafe {
        dealloc(block, BLOCK);
        dealloc(black_box(block), BLOCK);
    }
}

/// Frees a block of whole chunks twice.
pub(in super::super) fn double_free_large() {
    let layout = Layout::new::<[u8; 100_000]>();
    let block = block(layout);
    // SAFETY: none for the second call. That is what is tested.
    unsafe {
        dealloc(block, layout);
        dealloc(black_box(block), layout);
    }
}

/// Frees what is no block: a variable on the stack.
pub(in super::super) fn foreign_free() {
    let mut variable = [0_u64; 16];
    // SAFETY: none. That is what is tested.
    unsafe { dealloc(black_box(&raw mut variable).cast(), BLOCK) };
}

/// Frees a part of a block.
pub(in super::super) fn interior_free() {
    let block = block(BLOCK);
    // SAFETY: the pointer stays in the block. For freeing it, none.
    unsafe { dealloc(block.add(16), BLOCK) };
}

/// Frees a block as a longer one.
pub(in super::super) fn wrong_size() {
    // SAFETY: none. That is what is tested.
    unsafe { dealloc(block(BLOCK), Layout::new::<[u8; 500]>()) };
}

/// Writes one byte past the end of a block and frees it.
pub(in super::super) fn overflow() {
    let block = block(BLOCK);
    // SAFETY: the byte is of the same slot, so nobody's. That the heap notices is what is tested.
    unsafe {
        block.add(BLOCK.size()).write_volatile(0x41);
        dealloc(block, BLOCK);
    }
}

/// Writes one byte past the end of a block of whole chunks and makes it longer.
pub(in super::super) fn overflow_large() {
    let layout = Layout::new::<[u8; 100_001]>();
    let block = block(layout);
    // SAFETY: the byte is of the same chunk, so nobody's. That the heap notices is what is tested.
    unsafe {
        block.add(layout.size()).write_volatile(0x41);
        black_box(realloc(block, layout, 300_000));
    }
}
