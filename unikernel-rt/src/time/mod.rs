//! Clocks, sleeping and time limits.

mod date;
mod instant;
mod queue;
#[cfg(any(target_os = "none", test))]
pub(crate) mod rtc;
mod sleep;
mod timeout;
mod wall;

pub use core::time::Duration;
pub use date::{Rfc3339, unix_time_at};
#[doc(hidden)]
pub use date::{civil, days_of};
pub use instant::Instant;
pub(crate) use queue::TimerQueue;
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, timeout};
pub(crate) use wall::WallClock;

use crate::platform::with_core;

/// The wall clock: time since 1970-01-01 00:00 UTC. Read from the machine's clock at boot and counted on from there
/// (from 1970 where the machine has none); it may step when somebody [sets](set_unix_time) it. [`Instant`] is what
/// measures.
pub fn unix_time() -> Duration {
    with_core(|core| core.wall.get()).at(Instant::now())
}

/// Steps the wall clock. [`Instant`], and so every timer, goes on undisturbed.
pub fn set_unix_time(time: Duration) {
    change_wall(|wall| wall.set(time, Instant::now()));
}

/// Lets the wall clock gain `by_micros` microseconds (lose, when negative) little by little, half a millisecond in a
/// second. A new call replaces what is left of the last one.
pub fn slew_unix_time(by_micros: i64) {
    change_wall(|wall| wall.slew(by_micros, Instant::now()));
}

fn change_wall(change: impl FnOnce(&mut WallClock)) {
    with_core(|core| {
        let mut wall = core.wall.get();
        change(&mut wall);
        core.wall.set(wall);
    });
}
