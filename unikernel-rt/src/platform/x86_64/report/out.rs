//! Where a report is written: the console, and what is kept over a reset.

use super::super::{crash, serial};
use core::fmt::{self, Write};

pub(super) struct Out;

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        bytes(text.as_bytes());
        Ok(())
    }
}

pub(super) fn bytes(bytes: &[u8]) {
    serial::write(bytes);
    crash::keep(bytes);
}

pub(super) fn line(text: fmt::Arguments<'_>) {
    let _ = Out.write_fmt(text);
    bytes(b"\r\n");
}

/// Text whose further lines are indented, so that none can pass for a line of the report.
pub(super) struct Indented;

impl Write for Indented {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (number, part) in text.split('\n').enumerate() {
            if number > 0 {
                bytes(b"\r\nunikernel:   ");
            }
            bytes(part.as_bytes());
        }
        Ok(())
    }
}
