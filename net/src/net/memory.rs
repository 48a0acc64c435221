//! Whether memory is short. Then new connections wait outside, so that those inside can go on.

use super::{Net, News};

/// What is known of the heap.
pub(crate) struct Memory {
    limit: usize,
    is_low: bool,
}

impl Memory {
    /// Memory is low when fewer than `limit` bytes are free, until twice as many are.
    pub(crate) fn new(limit: usize) -> Memory {
        Memory { limit, is_low: false }
    }

    /// Takes note of `free` bytes. Whether memory is low, if that has changed.
    #[inline]
    fn update(&mut self, free: usize) -> Option<bool> {
        let is_low = if self.is_low { free / 2 < self.limit } else { free < self.limit };
        let changed = is_low != self.is_low;
        self.is_low = is_low;
        changed.then_some(is_low)
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
        if let Some(is_low) = self.memory.update(free) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_low_until_there_is_twice_as_much() {
        let mut memory = Memory::new(100);
        let said: [_; 6] = [500, 99, 150, 199, 200, 150].map(|free| memory.update(free));
        assert_eq!(said, [None, Some(true), None, None, Some(false), None]);
    }
}
