//! The clocks: the time stamp counter measures, the local APIC's timer wakes, the CMOS clock tells the date.
//!
//! KVM tells how fast the counter runs; elsewhere it is measured against the 8254 timer, once, at boot.

mod cmos;
mod kvm;
mod pit;

use super::apic;
use crate::time::Instant;
use core::{
    arch::x86_64::_rdtsc,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// The counter at boot.
static BOOT: AtomicU64 = AtomicU64::new(0);
/// Microseconds per tick of the counter, times 2^32: one multiplication turns ticks into time.
static MICROS_PER_TICK: AtomicU64 = AtomicU64::new(0);
/// Ticks of the local APIC's timer per millisecond.
static TIMER_TICKS_PER_MILLI: AtomicU32 = AtomicU32::new(0);
static BOOT_UNIX_SECONDS: AtomicU64 = AtomicU64::new(0);

/// How long the counters are watched. Both ends are read to better than a microsecond, so this is good to 0.05 %.
const MEASURE_MICROS: u64 = 2_000;

/// The time stamp counter.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: every 64-bit CPU has the counter, and nothing forbids reading it.
    unsafe { _rdtsc() }
}

/// Finds out how fast the counters run and reads the date.
///
/// # Errors
///
/// There is no 8254 timer to measure against, and no hypervisor that tells.
pub(super) fn init() -> Result<(), &'static str> {
    BOOT.store(ticks(), Ordering::Relaxed);
    apic::start_timer(u32::MAX);
    let start = sample(apic::timer_left);
    let micros_per_tick = match kvm::micros_per_tick() {
        Some(told) => {
            let wait = (MEASURE_MICROS << 32) / told.max(1);
            while ticks() - start.0 < wait {}
            told
        }
        None => pit::micros_per_tick(MEASURE_MICROS)?,
    };
    let end = sample(apic::timer_left);
    apic::start_timer(0);
    MICROS_PER_TICK.store(micros_per_tick, Ordering::Relaxed);
    let micros = ((u128::from(end.0 - start.0) * u128::from(micros_per_tick)) >> 32) as u64;
    let timer_ticks = u64::from(start.1 - end.1);
    TIMER_TICKS_PER_MILLI.store((timer_ticks * 1000 / micros.max(1)).max(1) as u32, Ordering::Relaxed);
    BOOT_UNIX_SECONDS.store(cmos::unix_seconds().unwrap_or(0), Ordering::Relaxed);
    Ok(())
}

/// The time stamp counter and another one at the same moment: the closest of a few readings, since a reading may be
/// disturbed by whatever else the host does.
fn sample<T: Ord>(other: impl Fn() -> T) -> (u64, T) {
    let read = || {
        let before = ticks();
        let value = other();
        let after = ticks();
        (after - before, before + (after - before) / 2, value)
    };
    let (_, counter, value) = core::array::from_fn::<_, 5, _>(|_| read()).into_iter().min().expect("five readings");
    (counter, value)
}

pub(crate) fn now_micros() -> u64 {
    micros_at(ticks())
}

/// When the counter stood there, in microseconds since boot.
#[inline]
pub(crate) fn micros_at(ticks: u64) -> u64 {
    micros_of(ticks.wrapping_sub(BOOT.load(Ordering::Relaxed)))
}

/// So many ticks, in microseconds.
#[inline]
pub(crate) fn micros_of(ticks: u64) -> u64 {
    ((u128::from(ticks) * u128::from(MICROS_PER_TICK.load(Ordering::Relaxed))) >> 32) as u64
}

pub(crate) fn boot_unix_time() -> Duration {
    Duration::from_secs(BOOT_UNIX_SECONDS.load(Ordering::Relaxed))
}

/// The moment the timer is set to, in microseconds since boot, until it fires.
static ARMED: AtomicU64 = AtomicU64::new(NOT_ARMED);
const NOT_ARMED: u64 = u64::MAX;

/// Arranges an interrupt at `deadline` or before it; whoever waits looks at the clock. A timer that is set to an earlier
/// moment stays: deadlines that move away with every request then cost nothing.
pub(super) fn wake_at(deadline: Option<Instant>) {
    let Some(deadline) = deadline.filter(|deadline| deadline.as_micros() < ARMED.load(Ordering::Relaxed)) else {
        return;
    };
    ARMED.store(deadline.as_micros(), Ordering::Relaxed);
    set_timer(deadline.as_micros().saturating_sub(now_micros()));
}

/// Arranges an interrupt in at most so many microseconds.
pub(super) fn wake_within(micros: u64) {
    wake_at(Some(Instant::from_micros(now_micros() + micros)));
}

/// Sets the timer to go off once, whatever it was set to.
pub(super) fn set_timer(micros: u64) {
    let per_milli = u64::from(TIMER_TICKS_PER_MILLI.load(Ordering::Relaxed));
    // One tick more than needed: an interrupt just before the deadline would have to be asked for again.
    let ticks = micros.saturating_mul(per_milli) / 1000 + 1;
    apic::start_timer(ticks.min(u32::MAX.into()) as u32);
}

/// The timer's interrupt came; it is not set any more.
pub(super) fn timer_fired() {
    ARMED.store(NOT_ARMED, Ordering::Relaxed);
}
