//! Critical sections for third-party crates, through `critical-section`: there is nothing to do.

use critical_section::{Impl, RawRestoreState, set_impl};

struct OneCore;
set_impl!(OneCore);

// SAFETY: code of apps and crates runs on one core only, devices' interrupts are held back while it does, and the timer's
// runs no code of theirs, not even in a report after which the machine goes on. So whatever runs excludes everything else.
unsafe impl Impl for OneCore {
    unsafe fn acquire() -> RawRestoreState {}

    unsafe fn release(_: RawRestoreState) {}
}
