//! The memory that all connections share for buffers beyond their first ones.

/// Bytes that may still be promised to peers and writers.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
    total: usize,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Budget {
        Budget { left: total, total }
    }

    /// Reserves `len` bytes, if one connection may have so much of what is left: an eighth. So the first ones get
    /// much, the last ones little, and none can starve the others (dynamic thresholds, Choudhury & Hahne 1998).
    pub(crate) fn take(&mut self, len: usize) -> bool {
        let granted = len <= self.left / 8;
        if granted {
            self.left -= len;
        }
        granted
    }

    /// Gives back what [`take`](Self::take) reserved.
    pub(crate) fn give(&mut self, len: usize) {
        self.left += len;
        debug_assert!(self.left <= self.total, "more was given back than taken");
    }

    /// Bytes reserved now.
    pub(crate) fn used(&self) -> usize {
        self.total - self.left
    }
}
