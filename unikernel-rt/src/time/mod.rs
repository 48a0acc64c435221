//! Clocks, sleeping and time limits.

mod instant;
mod queue;
mod sleep;
mod timeout;

pub use core::time::Duration;
pub use instant::Instant;
pub(crate) use queue::TimerQueue;
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, timeout};

/// The wall clock: time since 1970-01-01 00:00 UTC. Read from the machine's clock at boot and counted on from
/// there; [`Instant`] is what measures.
pub fn unix_time() -> Duration {
    crate::platform::boot_unix_time() + Duration::from_micros(Instant::now().as_micros())
}
