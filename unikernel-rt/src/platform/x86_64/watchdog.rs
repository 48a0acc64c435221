//! Notices a task that runs for long without waiting: while it does, nobody else is served. The timer's interrupt looks.
//!
//! The timer is set for it only when a task runs and no interrupt of the timer is due soon, so an idle machine has no tick,
//! and a busy one two of them in each period.

use super::{
    clock,
    interrupts::FaultFrame,
    report,
    unprotected::{Protection, is_off},
};
use crate::{Error, Result, args};
use alloc::{format, string::String};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A task may run for so long before it is reported, unless the boot argument `watchdog` says otherwise: on a slow machine
/// the longest polls, of a handshake, take some ten milliseconds.
const REPORT_AFTER_MILLIS: u64 = 1000;
/// Shorter ones would report what is in order.
const REPORT_AFTER_MILLIS_MIN: u64 = 10;
/// Longer ones are no watch any more, and the timer counts no further than some minutes.
const REPORT_AFTER_MILLIS_MAX: u64 = 60_000;
/// Looks in the time after which a task is reported.
const LOOKS: u64 = 2;
/// How often a task runs for that time before the machine ends.
const CRASH_AFTER: u64 = 10;

/// Between two looks; 0 turns the watchdog off.
static PERIOD_MICROS: AtomicU64 = AtomicU64::new(0);
static CRASHES: AtomicBool = AtomicBool::new(true);
/// Whether the timer is set.
static IS_SET: AtomicBool = AtomicBool::new(false);

/// The poll that the last look found, by the moment it began.
static POLL: AtomicU64 = AtomicU64::new(0);
/// How many looks in a row have found it.
static SEEN: AtomicU32 = AtomicU32::new(0);

/// Reads the boot arguments `watchdog=MILLISECONDS` or `off`, and `on-hang=crash` or `report`.
pub(super) fn init() -> Result {
    let after: Option<String> = args::take("watchdog")?;
    let millis = match after.as_deref() {
        None => REPORT_AFTER_MILLIS,
        Some("off") => 0,
        Some(text) => {
            let millis =
                text.parse().ok().filter(|millis| (REPORT_AFTER_MILLIS_MIN..=REPORT_AFTER_MILLIS_MAX).contains(millis));
            millis.ok_or_else(|| {
                Error::msg(format!(
                    "boot argument `watchdog={text}`: write the milliseconds that a task may run for without waiting, from \
                     {REPORT_AFTER_MILLIS_MIN} to {REPORT_AFTER_MILLIS_MAX}, or `off`"
                ))
            })?
        }
    };
    let policy: Option<String> = args::take("on-hang")?;
    match policy.as_deref() {
        None | Some("crash") => {}
        Some("report") => CRASHES.store(false, Ordering::Relaxed),
        Some(other) => return Err(Error::msg(format!("boot argument `on-hang={other}`: write `crash` or `report`"))),
    }
    let is_on = !is_off(Protection::Watchdog);
    PERIOD_MICROS.store(if is_on { millis * 1000 / LOOKS } else { 0 }, Ordering::Relaxed);
    Ok(())
}

/// Tasks are about to run.
#[inline(always)]
pub(crate) fn watch() {
    if !IS_SET.load(Ordering::Relaxed) {
        set();
    }
}

#[cold]
fn set() {
    let period_micros = PERIOD_MICROS.load(Ordering::Relaxed);
    if period_micros > 0 {
        clock::wake_within(period_micros);
        IS_SET.store(true, Ordering::Relaxed);
    }
}

/// The timer's interrupt has been noticed; it is not set any more.
pub(super) fn timer_fired() {
    IS_SET.store(false, Ordering::Relaxed);
}

/// The timer's interrupt, at any moment.
pub(super) extern "C" fn tick(frame: &FaultFrame) {
    let period_micros = PERIOD_MICROS.load(Ordering::Relaxed);
    let Some(began) = super::poll_began().filter(|_| period_micros > 0) else { return };
    let seen = if POLL.swap(began, Ordering::Relaxed) == began { SEEN.load(Ordering::Relaxed) + 1 } else { 0 };
    SEEN.store(seen, Ordering::Relaxed);
    // Nobody else sets the timer before this poll is over.
    clock::set_timer(period_micros);
    let millis = u64::from(seen) * period_micros / 1000;
    if u64::from(seen) == LOOKS {
        report::hang(frame, millis);
    }
    if u64::from(seen) >= LOOKS * CRASH_AFTER && CRASHES.load(Ordering::Relaxed) {
        report::hang_for_ever(frame, millis);
    }
}
