//! Whether memory is short. Then new connections wait outside, so that those inside can go on.

use super::{Net, News};

/// What is known of the heap.
pub(crate) struct Memory {
    limit: usize,
    is_low: bool,
}

impl Memory {
    /// Memory is low when fewer than `limit` bytes are free, until twice as many are. 0: never.
    pub(crate) fn new(limit: usize) -> Memory {
        Memory { limit, is_low: false }
    }

    /// Whether new connections must wait.
    #[inline]
    pub(crate) fn is_low(&self) -> bool {
        self.is_low
    }
}

impl Net {
    /// How much of the heap is free now.
    #[inline]
    pub(crate) fn set_free_memory(&mut self, free: usize) {
        let memory = &mut self.memory;
        let is_low = if memory.is_low { free / 2 < memory.limit } else { free < memory.limit };
        if is_low != memory.is_low {
            memory.is_low = is_low;
            self.news.push_back(News::Memory { is_low, free });
            if is_low {
                self.trim();
            }
        }
    }

    /// Gives back what connections keep for later.
    #[cold]
    fn trim(&mut self) {
        self.budget.trim();
        for (_, flow) in &mut self.flows {
            flow.tcb.trim(&mut self.budget);
        }
    }
}
