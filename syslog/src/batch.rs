//! Messages on their way over a connection: each after its length (RFC 6587, 3.4.1; RFC 5425, 4.3).

use crate::limits::{BATCH_LEN_MAX, MESSAGE_LEN_MAX};
use alloc::string::String;
use core::fmt::Write;

/// What is written at once. It is kept until the connection has taken all of it: the next one gets what this one has not.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: String,
    count: u64,
    /// A message before its length is known.
    message: String,
}

impl Batch {
    /// Appends a message, which `write` writes.
    pub(crate) fn push(&mut self, write: impl FnOnce(usize, &mut String)) {
        self.message.clear();
        write(MESSAGE_LEN_MAX, &mut self.message);
        // A string takes all.
        let _ = write!(self.bytes, "{} {}", self.message.len(), self.message);
        self.count += 1;
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len() + MESSAGE_LEN_MAX <= BATCH_LEN_MAX
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets the messages, which are sent. Returns how many they were.
    pub(crate) fn clear(&mut self) -> u64 {
        self.bytes.clear();
        core::mem::take(&mut self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_bytes() {
        let mut batch = Batch::default();
        batch.push(|_, out| out.push_str("<1>1 a"));
        batch.push(|_, out| out.push_str("ü\u{feff}"));
        assert_eq!(batch.bytes(), "6 <1>1 a5 ü\u{feff}".as_bytes());
        assert_eq!((batch.clear(), batch.is_empty(), batch.clear()), (2, true, 0));
    }

    #[test]
    fn the_longest_message_always_fits() {
        let mut batch = Batch::default();
        while batch.has_room() {
            batch.push(|len_max, out| out.extend(core::iter::repeat_n('x', len_max.min(5000))));
        }
        assert!(batch.bytes().len() <= BATCH_LEN_MAX + 8, "{}", batch.bytes().len());
        assert_eq!(batch.clear(), 2);
    }
}
