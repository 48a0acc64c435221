//! Small blocks that were freed a moment ago, by size: last in, first out, through a word in each of them.

use core::{alloc::Layout, ptr::NonNull};

/// Classes are this far apart: a cache line.
const STEP: usize = 64;
/// Blocks up to 1 KiB: tasks, connections, requests, their buffers.
const CLASSES: usize = 16;
/// Every block of a class has this alignment, which costs the pool nothing.
pub(super) const ALIGN: usize = 16;
/// Bytes on all lists together; more goes back to the pool. The blocks of a burst of a thousand requests fit.
const KEPT_LEN_MAX: usize = 256 * 1024;

/// The lists.
pub(super) struct Recent {
    first: [Option<NonNull<Link>>; CLASSES],
    kept_len: usize,
}

struct Link {
    next: Option<NonNull<Link>>,
}

// SAFETY: the blocks belong to the lists, whoever holds those.
unsafe impl Send for Recent {}

/// The class of blocks that serve `layout`; `None` for what is large, empty or specially aligned.
#[inline]
pub(super) fn class(layout: Layout) -> Option<usize> {
    let class = layout.size().wrapping_sub(1) / STEP;
    (class < CLASSES && layout.align() <= ALIGN).then_some(class)
}

/// What to ask the pool for.
pub(super) fn layout(class: usize) -> Layout {
    Layout::from_size_align((class + 1) * STEP, ALIGN).expect("a small size and a power of two")
}

impl Recent {
    pub(super) const fn new() -> Recent {
        Recent { first: [None; CLASSES], kept_len: 0 }
    }

    /// A block of a class, if there is one.
    #[inline]
    pub(super) fn take(&mut self, class: usize) -> Option<NonNull<u8>> {
        let block = self.first[class]?;
        // SAFETY: `put` wrote the link, and nobody has touched the block since.
        self.first[class] = unsafe { block.read() }.next;
        self.kept_len -= (class + 1) * STEP;
        Some(block.cast())
    }

    /// A block of any class.
    pub(super) fn take_any(&mut self) -> Option<NonNull<u8>> {
        let class = self.first.iter().position(Option::is_some)?;
        self.take(class)
    }

    /// Keeps a free block. False when enough are kept.
    ///
    /// # Safety
    ///
    /// The block is of this class, and nobody uses it.
    #[inline]
    pub(super) unsafe fn put(&mut self, class: usize, block: NonNull<u8>) -> bool {
        let kept_len = self.kept_len + (class + 1) * STEP;
        if kept_len > KEPT_LEN_MAX {
            return false;
        }
        self.kept_len = kept_len;
        let link = block.cast::<Link>();
        // SAFETY: the block is ours by the caller's promise, and larger and no less aligned than a link.
        unsafe { link.write(Link { next: self.first[class] }) };
        self.first[class] = Some(link);
        true
    }
}
