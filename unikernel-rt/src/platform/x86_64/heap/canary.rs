//! The word behind a block.

/// What makes the words of this boot.
pub(super) struct Canary {
    key: u64,
}

impl Canary {
    pub(super) const fn new(key: u64) -> Canary {
        Canary { key }
    }

    /// Writes the word.
    ///
    /// # Safety
    ///
    /// Eight bytes from `end` on are the heap's.
    #[inline(always)]
    pub(super) unsafe fn put(&self, end: *mut u8) {
        // SAFETY: the caller's promise; the word may have any alignment.
        unsafe { end.cast::<u64>().write_unaligned(self.word(end)) };
    }

    /// Whether the word is as it was written.
    ///
    /// # Safety
    ///
    /// As for `put`, which was called for `end`.
    #[inline(always)]
    pub(super) unsafe fn is_intact(&self, end: *mut u8) -> bool {
        // SAFETY: the caller's promise; the word may have any alignment.
        unsafe { end.cast::<u64>().read_unaligned() == self.word(end) }
    }

    /// Writes the word of a block that is sampled, which is not intact: so only whoever looks for it pays for it.
    ///
    /// # Safety
    ///
    /// As for `put`.
    pub(super) unsafe fn put_sampled(&self, end: *mut u8) {
        // SAFETY: the caller's promise; the word may have any alignment.
        unsafe { end.cast::<u64>().write_unaligned(!self.word(end)) };
    }

    /// Whether the word is that of a sampled block, as it was written.
    ///
    /// # Safety
    ///
    /// As for `put`.
    pub(super) unsafe fn is_sampled(&self, end: *mut u8) -> bool {
        // SAFETY: the caller's promise; the word may have any alignment.
        unsafe { end.cast::<u64>().read_unaligned() == !self.word(end) }
    }

    /// Another one at every place: a word that was copied from somewhere does not fit elsewhere.
    #[inline(always)]
    fn word(&self, end: *mut u8) -> u64 {
        self.key ^ end.addr() as u64
    }
}
