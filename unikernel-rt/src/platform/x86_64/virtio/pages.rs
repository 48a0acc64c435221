//! Memory that a queue shares with its device.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;

pub(super) const PAGE: usize = 4096;

/// Pages that are cleared, and freed with the queue.
pub(super) struct Pages {
    start: NonNull<u8>,
    layout: Layout,
    is_leaked: bool,
}

impl Pages {
    /// At least `len` bytes. `None` where there is no memory for them.
    pub(super) fn zeroed(len: usize) -> Option<Pages> {
        let layout = Layout::from_size_align(len, PAGE).ok().filter(|_| len > 0)?;
        // SAFETY: the length is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Pages { start, layout, is_leaked: false })
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Leaves them to the device, for ever: it was not reset. Otherwise it must be before they are dropped.
    pub(super) fn leak(&mut self) {
        self.is_leaked = true;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if !self.is_leaked {
            // SAFETY: of `zeroed`, with this layout; the queue is gone, and the device was reset.
            unsafe { dealloc(self.start.as_ptr(), self.layout) };
        }
    }
}
