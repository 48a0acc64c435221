//! Critical sections for third-party crates, through `critical-section`: there is nothing to do.

use critical_section::{Impl, RawRestoreState, set_impl};

struct OneCore;
set_impl!(OneCore);

// SAFETY: code of apps and crates runs on one core only and with interrupts off (see `executor`'s loop in `mod.rs`), and
// an interrupt handler changes nothing but its mark (the watchdog's, which may report, ends the machine or only reads). So whatever runs excludes everything else already.
unsafe impl Impl for OneCore {
    unsafe fn acquire() -> RawRestoreState {}

    unsafe fn release(_: RawRestoreState) {}
}
