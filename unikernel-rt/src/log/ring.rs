//! The newest log lines, each of them whole, in a fixed piece of memory.
//!
//! Who logs appends a line and goes on; the console is sent what it has not had yet when it can take it. What was sent
//! stays until its room is needed. A line for which there is no room is dropped and counted: what the console has not
//! had is never overwritten.
//!
//! Positions count all bytes ever written; the byte at a position is `bytes[position % LEN]`. A line is four bytes (its
//! length, low byte first; its kind; its level) and then what the console gets.

#[cfg(test)]
mod tests;

use core::{fmt, str::FromStr};

/// `uk-log-1`, low byte first.
const MAGIC: u64 = u64::from_le_bytes(*b"uk-log-1");

const HEADER_LEN: u64 = 4;

/// What a line is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A defmt frame as it is on the console, between 0xC0 and 0xC1. Its level is in the ELF.
    Frame = 1,
    /// Text that ends with `\r\n`.
    Text = 2,
    /// A JSON object, and `\r\n`.
    Json = 3,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Level {
    Error = 1,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// Every level, the one that matters most first.
    pub const ALL: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

    /// Its name, as it stands in log lines: `error`, `warn`, `info`, `debug` or `trace`.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text is no name of a [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLevelError(());

impl fmt::Display for ParseLevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a level is `error`, `warn`, `info`, `debug` or `trace`")
    }
}

impl core::error::Error for ParseLevelError {}

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(name: &str) -> Result<Level, ParseLevelError> {
        Level::ALL.into_iter().find(|level| level.name() == name).ok_or(ParseLevelError(()))
    }
}

/// The fields before `bytes` are what a debugger reads: see `cargo-unikernel`'s book page on crashes.
#[repr(C)]
pub(crate) struct Ring<const LEN: usize> {
    /// [`MAGIC`] from the first line on.
    magic: u64,
    /// Where the oldest line begins, and its number; lines are counted from 0.
    start: u64,
    first_line: u64,
    /// Where the newest line ends, and the number of the next.
    end: u64,
    next_line: u64,
    /// The first line that the console has not had whole, and how many of its bytes it has had.
    unsent: u64,
    unsent_from: u64,
    /// Lines for which there was no room, and how many of these have been told of.
    dropped: u64,
    dropped_told: u64,
    /// The end of the line that is being written.
    open: u64,
    /// Lines that were dropped before they were here; the others only the console has not had.
    refused: u64,
    /// Lines that have begun and not ended: one that begins inside another is dropped.
    depth: u32,
    kind: u8,
    level: u8,
    /// There is no room for the line that is being written.
    too_long: bool,
    bytes: [u8; LEN],
}

/// A place between two lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    position: u64,
    line: u64,
    /// Lines that were gone before they were read, or never here.
    pub(crate) lost: u64,
    /// What of [`Ring::refused`] is in `lost`.
    refused: u64,
}

/// A line, in two parts where it lies across the end of the memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) kind: Kind,
    /// `None` where only the ELF has it.
    pub(crate) level: Option<Level>,
    pub(crate) parts: [&'a [u8]; 2],
}

impl Line<'_> {
    pub(crate) fn len(&self) -> usize {
        self.parts[0].len() + self.parts[1].len()
    }
}

// The workstation's console is written at once, and its panics are reported by others.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
impl<const LEN: usize> Ring<LEN> {
    /// All zero, so that it takes no room in the image.
    pub(crate) const fn new() -> Ring<LEN> {
        assert!(LEN.is_power_of_two() && LEN <= 1 << 16, "positions are masked, and lengths have 16 bits");
        Ring {
            magic: 0,
            start: 0,
            first_line: 0,
            end: 0,
            next_line: 0,
            unsent: 0,
            unsent_from: 0,
            dropped: 0,
            dropped_told: 0,
            open: 0,
            refused: 0,
            depth: 0,
            kind: 0,
            level: 0,
            too_long: false,
            bytes: [0; LEN],
        }
    }

    /// Begins a line.
    pub(crate) fn open(&mut self, kind: Kind, level: Option<Level>) {
        self.depth += 1;
        if self.depth > 1 {
            return self.refuse();
        }
        self.magic = MAGIC;
        (self.kind, self.level) = (kind as u8, level.map_or(0, |level| level as u8));
        self.too_long = false;
        self.open = self.end;
        self.append(&[0; HEADER_LEN as usize]);
    }

    /// Goes on with the line that was begun last.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.depth == 1 {
            self.append(bytes);
        }
    }

    /// Ends the line that was begun last.
    pub(crate) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 {
            return;
        }
        if self.too_long {
            return self.refuse();
        }
        let [low, high] = ((self.open - self.end - HEADER_LEN) as u16).to_le_bytes();
        for (position, byte) in (self.end..).zip([low, high, self.kind, self.level]) {
            self.bytes[position as usize % LEN] = byte;
        }
        self.end = self.open;
        self.next_line += 1;
    }

    /// Drops the line that is being written, if there is one: whoever wrote it will not go on.
    pub(crate) fn discard(&mut self) {
        if self.depth > 0 {
            self.depth = 0;
            self.refuse();
        }
    }

    /// Counts a line that does not come in.
    fn refuse(&mut self) {
        self.dropped += 1;
        self.refused += 1;
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.open + bytes.len() as u64;
        while end - self.start > LEN as u64 && !self.too_long {
            self.forget_oldest();
        }
        if self.too_long {
            return;
        }
        let from = self.open as usize % LEN;
        self.open = end;
        match self.bytes.get_mut(from..from + bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => self.append_in_parts(from, bytes),
        }
    }

    /// Across the end of the memory.
    #[cold]
    fn append_in_parts(&mut self, from: usize, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(LEN - from));
        self.bytes[from..from + first.len()].copy_from_slice(first);
        self.bytes[..rest.len()].copy_from_slice(rest);
    }

    #[cold]
    fn forget_oldest(&mut self) {
        if self.start == self.unsent {
            self.too_long = true;
            return;
        }
        self.start += HEADER_LEN + self.len_at(self.start);
        self.first_line += 1;
    }

    fn byte(&self, position: u64) -> u8 {
        self.bytes[position as usize % LEN]
    }

    fn len_at(&self, position: u64) -> u64 {
        u16::from_le_bytes([self.byte(position), self.byte(position + 1)]).into()
    }

    /// Whether a line was begun that has not ended.
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) fn is_open(&self) -> bool {
        self.depth > 0
    }

    /// Whether the console has had all.
    pub(crate) fn is_sent(&self) -> bool {
        self.unsent == self.end
    }

    /// What the console gets next: a piece of a line, empty when it has had all.
    pub(crate) fn unsent(&self) -> &[u8] {
        if self.is_sent() {
            return &[];
        }
        let from = (self.unsent + HEADER_LEN + self.unsent_from) as usize % LEN;
        let len = self.len_at(self.unsent).saturating_sub(self.unsent_from) as usize;
        &self.bytes[from..LEN.min(from + len)]
    }

    /// The console has had the first `len` bytes of [`unsent`](Self::unsent).
    pub(crate) fn mark_sent(&mut self, len: usize) {
        // Behind the last line is no length.
        if self.is_sent() {
            return;
        }
        self.unsent_from += len as u64;
        let line_len = self.len_at(self.unsent);
        if self.unsent_from >= line_len {
            self.unsent += HEADER_LEN + line_len;
            self.unsent_from = 0;
        }
    }

    /// The console takes nothing any more: what it has not had is dropped. True when that is the rest of a line.
    pub(crate) fn give_up(&mut self) -> bool {
        let inside = self.unsent_from > 0;
        while !self.is_sent() {
            self.unsent += HEADER_LEN + self.len_at(self.unsent);
            self.dropped += 1;
        }
        self.unsent_from = 0;
        inside
    }

    /// How many lines were dropped since this was last asked.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        let new = self.dropped - self.dropped_told;
        self.dropped_told = self.dropped;
        new
    }

    /// How many lines came in, and how many did not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.next_line, self.refused)
    }

    /// The place before the oldest line.
    pub(crate) fn oldest(&self) -> Cursor {
        Cursor { position: self.start, line: self.first_line, lost: 0, refused: 0 }
    }

    /// The place after the newest line.
    pub(crate) fn newest(&self) -> Cursor {
        Cursor { position: self.end, line: self.next_line, lost: 0, refused: self.refused }
    }

    /// The place before the last `count` lines, or before the oldest.
    pub(crate) fn last(&self, count: u64) -> Cursor {
        let mut cursor = self.oldest();
        while cursor.line + count < self.next_line && self.read(&mut cursor).is_some() {}
        cursor
    }

    /// Whether a line was logged after `cursor`.
    pub(crate) fn has_more(&self, cursor: &Cursor) -> bool {
        cursor.position < self.end
    }

    /// The line after `cursor`, which moves behind it. Believes nothing of the memory, as a crash report reads it too.
    pub(crate) fn read(&self, cursor: &mut Cursor) -> Option<Line<'_>> {
        if cursor.position < self.start {
            cursor.lost += self.first_line.saturating_sub(cursor.line);
            (cursor.position, cursor.line) = (self.start, self.first_line);
        }
        if cursor.position == self.end {
            // They would have come behind all that is here.
            cursor.lost += self.refused.saturating_sub(cursor.refused);
            cursor.refused = self.refused;
        }
        let left = self.end.checked_sub(cursor.position).filter(|left| *left <= LEN as u64)?;
        let len = self.len_at(cursor.position);
        if left < HEADER_LEN + len {
            return None;
        }
        let kind = match self.byte(cursor.position + 2) {
            1 => Kind::Frame,
            3 => Kind::Json,
            _ => Kind::Text,
        };
        let level = level(self.byte(cursor.position + 3));
        let from = (cursor.position + HEADER_LEN) as usize % LEN;
        let first = (len as usize).min(LEN - from);
        let parts = [&self.bytes[from..from + first], &self.bytes[..len as usize - first]];
        cursor.position += HEADER_LEN + len;
        cursor.line += 1;
        Some(Line { kind, level, parts })
    }
}

fn level(byte: u8) -> Option<Level> {
    Level::ALL.into_iter().find(|level| *level as u8 == byte)
}
