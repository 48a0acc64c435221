//! Crashes: what a report says besides what the runtime knows, and what is left of the crash before this start.
//!
//! A crash is a panic outside of supervised tasks, a fault of the CPU, memory that ran out, or a task that never waits. Its report is on the console; what
//! comes then says the boot argument `on-crash`: `exit` (the default; the exit code tells the kind), `halt`, or `reboot`. Over
//! a reboot the report is kept.

use crate::platform;
use alloc::{boxed::Box, string::String};
use core::fmt;

/// What a crash was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The program found a mistake of its own.
    Panic = 1,
    /// The CPU refused an instruction.
    Fault,
    /// A stack ended.
    StackOverflow,
    /// An allocation failed.
    OutOfMemory,
    /// A task ran for too long without waiting.
    Hang,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::Panic, Kind::Fault, Kind::StackOverflow, Kind::OutOfMemory, Kind::Hang];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Panic => "panic",
            Kind::Fault => "fault",
            Kind::StackOverflow => "stack overflow",
            Kind::OutOfMemory => "out of memory",
            Kind::Hang => "hang",
        })
    }
}

/// The report of a crash.
#[derive(Debug)]
pub struct Report {
    /// What it was.
    pub kind: Kind,
    /// What was on the console, cut off after 16 KiB. Log lines that only the ELF can decode are left out.
    pub text: String,
}

/// The crash that this start follows, with `on-crash=reboot`; `None` when the machine was started by somebody else.
pub fn previous() -> Option<&'static Report> {
    platform::previous_crash()
}

/// The image's GNU build id, which reports name: it tells whose addresses those in a backtrace are. Empty on the hosted
/// platform, and when the linker was not asked for one (`--build-id`).
pub fn build_id() -> &'static [u8] {
    platform::build_id()
}

/// How often the machine has crashed and started again by itself since its power was turned on.
pub fn count() -> u64 {
    platform::crash_count()
}

/// What a section of a report says: it writes one line, or more.
pub(crate) type Section = (&'static str, Box<dyn Fn(&mut dyn fmt::Write) -> fmt::Result>);

/// Adds a section to every report from now on.
///
/// `write` is called when the machine is broken: it should not allocate, finds any `RefCell` borrowed (so `try_borrow`), and prints
/// numbers and states only, never what clients have sent. If it panics the report goes on with the next section.
pub fn add_section(name: &'static str, write: impl Fn(&mut dyn fmt::Write) -> fmt::Result + 'static) {
    platform::with_core(|core| core.sections.borrow_mut().push((name, Box::new(write))));
}

/// Writes the sections that were added, as a report would now.
pub fn write_sections(out: &mut dyn fmt::Write) -> fmt::Result {
    platform::with_core(|core| {
        let Ok(sections) = core.sections.try_borrow() else { return Ok(()) };
        for (name, write) in &*sections {
            write!(out, "{name}: ")?;
            write(out)?;
            out.write_str("\n")?;
        }
        Ok(())
    })
}
