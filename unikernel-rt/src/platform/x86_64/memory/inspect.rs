//! What the page tables say, walked page by page: what is promised is looked up, not repeated.

use super::{PAGE, layout, tables};
use crate::platform::x86_64::memory::Flags;

/// The pages that are mapped, in units of 4 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Pages {
    /// All of them.
    pub(in super::super) mapped: u64,
    /// That code may run from.
    pub(in super::super) executable: u64,
    /// That may be written and that code may run from.
    pub(in super::super) writable_executable: u64,
    /// Below 64 KiB.
    pub(in super::super) low: u64,
    /// Right below a stack.
    pub(in super::super) guards: u64,
}

/// Walks the page tables in use.
pub(in super::super) fn pages() -> Pages {
    let mut pages = Pages::default();
    tables().for_each(&mut |start, size, flags| {
        let count = size / PAGE;
        pages.mapped += count;
        if !flags.contains(Flags::NO_EXECUTE) {
            pages.executable += count;
            pages.writable_executable += if flags.contains(Flags::WRITABLE) { count } else { 0 };
        }
        pages.low += if start < super::LOW_END { count } else { 0 };
        pages.guards += u64::from(layout::stack_guarded_by(start).is_some());
    });
    pages
}
