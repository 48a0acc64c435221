//! The clocks: the time stamp counter measures, the local APIC's timer wakes, the CMOS clock tells the date.
//!
//! KVM tells how fast the counter runs; elsewhere it is measured against the 8254 timer, once, at boot.

mod kvm;
mod pit;

use super::{apic, port};
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

pub(super) fn ticks() -> u64 {
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
    BOOT_UNIX_SECONDS.store(cmos_seconds().unwrap_or(0), Ordering::Relaxed);
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
    let ticks = ticks().wrapping_sub(BOOT.load(Ordering::Relaxed));
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
    let micros = deadline.as_micros().saturating_sub(now_micros());
    let per_milli = u64::from(TIMER_TICKS_PER_MILLI.load(Ordering::Relaxed));
    // One tick more than needed: an interrupt just before the deadline would have to be asked for again.
    let ticks = micros.saturating_mul(per_milli) / 1000 + 1;
    apic::start_timer(ticks.min(u32::MAX.into()) as u32);
}

/// The timer's interrupt came; it is not set any more.
pub(super) fn timer_fired() {
    ARMED.store(NOT_ARMED, Ordering::Relaxed);
}

/// Seconds since 1970 by the battery-backed clock, which hypervisors keep in UTC. `None` where there is none.
fn cmos_seconds() -> Option<u64> {
    // The clock may be ticking over while it is read: two equal readings are a right one.
    let mut last = cmos_fields();
    for _ in 0..8 {
        let fields = cmos_fields();
        if fields == last {
            return unix_seconds(fields);
        }
        last = fields;
    }
    None
}

/// Second, minute, hour, day, month, year, status B, in the clock's own coding.
fn cmos_fields() -> [u8; 7] {
    [0, 2, 4, 7, 8, 9, 11].map(|register: u8| {
        // SAFETY: the index and data ports of the CMOS memory; 0x80 keeps non-maskable interrupts off.
        unsafe {
            port::write(0x70, register | 0x80);
            port::read(0x71)
        }
    })
}

fn unix_seconds(fields: [u8; 7]) -> Option<u64> {
    const BINARY: u8 = 1 << 2;
    const HOURS_24: u8 = 1 << 1;
    let status = fields[6];
    let plain = |value: u8| if status & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 15) };
    let [second, minute, mut hour, day, month, year, _] = fields;
    let afternoon = status & HOURS_24 == 0 && hour & 0x80 != 0;
    hour = plain(hour & 0x7f);
    if status & HOURS_24 == 0 {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    let (second, minute, day, month) = (plain(second), plain(minute), plain(day), plain(month));
    // A bus that answers 0xff everywhere is a clock that is not there.
    let sane = second < 61 && minute < 60 && hour < 24 && (1..=31).contains(&day) && (1..=12).contains(&month);
    sane.then(|| {
        let days = days_since_1970(2000 + u64::from(plain(year)), month.into(), day.into());
        ((days * 24 + u64::from(hour)) * 60 + u64::from(minute)) * 60 + u64::from(second)
    })
}

/// Howard Hinnant's algorithm (<https://howardhinnant.github.io/date_algorithms.html>), for years from 2000 on.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
