//! The log lines of this machine, for whoever passes them on.
//!
//! ```
//! # unikernel_rt::sim::run("", async {
//! use unikernel_rt::log::{info, tail::Tail};
//!
//! let mut tail = Tail::from_now();
//! info!("{} items", 3);
//! let record = tail.next().await;
//! assert_eq!(record.message, "3 items");
//! # });
//! ```

pub use super::{
    record::Record,
    ring::{Kind, Level, ParseLevelError},
};

use super::ring::Cursor;
use crate::platform::{with_core, with_log};
use alloc::vec::Vec;

/// Reads log lines, each once. It keeps no line alive: who reads too slowly is told how many it missed.
///
/// Lines that a reader logs by itself come to it, too; a sink that logs for each line it reads never ends.
pub struct Tail {
    cursor: Cursor,
    line: Vec<u8>,
}

impl Tail {
    /// Reads from the oldest line that is still there.
    pub fn from_oldest() -> Tail {
        Tail { cursor: with_log(|ring| ring.oldest()), line: Vec::new() }
    }

    /// Reads what is logged from now on.
    pub fn from_now() -> Tail {
        Tail { cursor: with_log(|ring| ring.newest()), line: Vec::new() }
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

    /// The next line as data, if there is one. Frames, which only the ELF explains, are counted as lost:
    /// [`require_text`](super::require_text) says at the start that a sink gets nothing else.
    pub fn read_record(&mut self) -> Option<Record> {
        loop {
            let mut line = core::mem::take(&mut self.line);
            let record = self.read(&mut line).map(|head| Record::parse(head.kind, head.level, &line));
            self.line = line;
            match record {
                Some(None) => self.cursor.lost += 1,
                record => return record.flatten(),
            }
        }
    }

    /// The next line as data, when there is one. Cancel safe: a dropped future took none.
    pub async fn next(&mut self) -> Record {
        loop {
            match self.read_record() {
                Some(record) => return record,
                None => self.changed().await,
            }
        }
    }

    /// Waits until there is a line to read. Cancel safe.
    pub async fn changed(&self) {
        let news = with_core(|core| core.log.news.clone());
        while !with_log(|ring| ring.has_more(&self.cursor)) {
            news.notified().await;
        }
    }

    /// How many lines were gone before they were read, had no room in the first place, or could not be read, since this was last
    /// asked.
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
