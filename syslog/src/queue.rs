//! Lines that wait for the collector, in bounded memory.

use alloc::collections::VecDeque;
use unikernel_rt::log::tail::Record;

/// What a line takes besides its text.
const RECORD_LEN: usize = size_of::<Entry>() + 32;

/// A line, and the number it has among all lines.
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) record: Record,
}

pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// What they take, and may take.
    len: usize,
    len_max: usize,
    last_number: u32,
}

impl Queue {
    pub(crate) fn new(len_max: usize) -> Queue {
        Queue { entries: VecDeque::new(), len: 0, len_max, last_number: 0 }
    }

    /// Appends a line. Returns how many were dropped for it: the oldest, or the line itself when it is larger than all room.
    pub(crate) fn push(&mut self, record: Record) -> u64 {
        let len = len(&record);
        self.skip(1);
        if len > self.len_max {
            return 1;
        }
        let mut dropped = 0;
        while self.len + len > self.len_max && self.pop().is_some() {
            dropped += 1;
        }
        self.len += len;
        self.entries.push_back(Entry { number: self.last_number, record });
        dropped
    }

    /// Lines that were lost before they came here have numbers, too, so that the collector sees the gap. RFC 5424, 7.3.1:
    /// from 1 to 2^31 - 1, and from 1 again.
    pub(crate) fn skip(&mut self, lines: u64) {
        const NUMBERS: u64 = (1 << 31) - 1;
        if lines == 0 {
            return;
        }
        let next = (u64::from(self.last_number) + lines % NUMBERS).saturating_sub(1) % NUMBERS + 1;
        // Below 2^31.
        self.last_number = next as u32;
    }

    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.len -= len(&entry.record);
        Some(entry)
    }

    /// Takes a line back that was taken last.
    pub(crate) fn unpop(&mut self, entry: Entry) {
        self.len += len(&entry.record);
        self.entries.push_front(entry);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn len(record: &Record) -> usize {
    RECORD_LEN + record.target.len() + record.message.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String, vec::Vec};
    use unikernel_rt::{log::tail::Level, time::Instant};

    fn record(message: &str) -> Record {
        Record { at: Instant::from_micros(0), level: Level::Info, target: String::new(), message: message.into() }
    }

    fn check(lines: &[&str], kept: &str, dropped: u64) {
        let mut queue = Queue::new(3 * RECORD_LEN + 30);
        let lost: u64 = lines.iter().map(|line| queue.push(record(line))).sum();
        let left: Vec<_> = core::iter::from_fn(|| queue.pop())
            .map(|entry| format!("{}{}", entry.number, entry.record.message))
            .collect();
        assert_eq!((left.join(" "), lost, queue.len), (kept.into(), dropped, 0), "{lines:?}");
    }

    #[test]
    fn the_oldest_lines_make_room() {
        check(&["a", "b", "c"], "1a 2b 3c", 0);
        check(&["a", "b", "c", "d", "e"], "3c 4d 5e", 2);
        let long = "x".repeat(RECORD_LEN + 15);
        check(&["a", "b", "c", &long], &format!("3c 4{long}"), 2);
        let too_long = "x".repeat(3 * RECORD_LEN);
        check(&["a", &too_long, "b"], "1a 3b", 1);
    }

    #[test]
    fn numbers_begin_again_after_the_last() {
        for (last, lines, expected) in [
            (0, 1, 1),
            (1, 5, 6),
            (i32::MAX as u32 - 1, 1, i32::MAX as u32),
            (i32::MAX as u32, 1, 1),
            (5, 0, 5),
            (1, u64::from(u32::MAX / 2), 1),
        ] {
            let mut queue = Queue::new(0);
            queue.last_number = last;
            queue.skip(lines);
            assert_eq!(queue.last_number, expected, "{last} and {lines}");
        }
    }

    #[test]
    fn a_line_that_was_taken_back_is_the_next() {
        let mut queue = Queue::new(1000);
        queue.push(record("a"));
        queue.push(record("b"));
        let first = queue.pop().unwrap();
        queue.unpop(first);
        assert_eq!(queue.pop().map(|entry| entry.record.message), Some("a".into()));
    }
}
