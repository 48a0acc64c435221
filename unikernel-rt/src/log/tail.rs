//! The log lines of this machine, for whoever passes them on.

pub use super::ring::{Kind, Level};

use super::ring::Cursor;
use crate::platform::with_log;
use alloc::vec::Vec;

/// Reads log lines, each once. It keeps no line alive: who reads too slowly is told how many it missed.
///
/// Lines that a reader logs by itself come to it, too; a sink that logs for each line it reads never ends.
pub struct Tail {
    cursor: Cursor,
}

impl Tail {
    /// Reads from the oldest line that is still there.
    pub fn from_oldest() -> Tail {
        Tail { cursor: with_log(|ring| ring.oldest()) }
    }

    /// Reads what is logged from now on.
    pub fn from_now() -> Tail {
        Tail { cursor: with_log(|ring| ring.newest()) }
    }

    /// Puts the next line into `line`, as it is on the console. `None`, and an empty `line`, when there is no other yet.
    pub fn read(&mut self, line: &mut Vec<u8>) -> Option<Head> {
        line.clear();
        // The copy must find its room made: memory that runs out is logged.
        line.reserve(with_log(|ring| ring.read(&mut self.cursor.clone()).map_or(0, |line| line.len())));
        with_log(|ring| {
            let read = ring.read(&mut self.cursor)?;
            read.parts.iter().for_each(|part| line.extend_from_slice(part));
            Some(Head { kind: read.kind, level: read.level })
        })
    }

    /// How many lines were gone before they were read, since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.cursor.lost)
    }
}

/// What is known of a line besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What its bytes are.
    pub kind: Kind,
    /// `None` for frames, whose level is in the ELF.
    pub level: Option<Level>,
}
