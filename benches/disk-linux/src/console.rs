//! What the tool on the host reads: marks around the work, and what was done.

use std::io::{Write, stdout};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::work::{BEGIN, DONE, Done, END, GO, PAUSE_MILLIS};

/// Does what is measured, between marks and pauses, and tells what was done.
pub fn measured(work: impl FnOnce() -> Result<Done>) -> Result<Done> {
    line(BEGIN);
    // Not for an event: the tool reads the counter of instructions while there are none.
    thread::sleep(Duration::from_millis(PAUSE_MILLIS));
    line(GO);
    let start = Instant::now();
    let done = work()?;
    let micros = start.elapsed().as_micros();
    line(END);
    thread::sleep(Duration::from_millis(PAUSE_MILLIS));
    line(&format!("{DONE} {done} micros={micros}"));
    Ok(done)
}

/// Writes a line and waits until the port has sent it.
pub fn line(text: &str) {
    // Without a console there is nobody to tell.
    let _ = writeln!(stdout(), "{text}").and_then(|()| stdout().flush());
    let _ = rustix::termios::tcdrain(rustix::stdio::stdout());
}
