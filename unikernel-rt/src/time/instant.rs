//! The monotonic clock.

use crate::platform;
use core::{
    fmt,
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A moment, in microseconds since boot. Never steps back, and never stops while the machine runs.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::time::{Duration, Instant, sleep};
///
/// let start = Instant::now();
/// sleep(Duration::from_secs(90)).await;
/// // In a test time is virtual, so this is exact, and took no time.
/// assert_eq!(start.elapsed(), Duration::from_secs(90));
/// assert_eq!(Instant::now(), start + Duration::from_secs(90));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// A moment that does not come.
    pub const FOREVER: Instant = Instant(u64::MAX);

    /// This moment.
    pub fn now() -> Instant {
        Instant(platform::now_micros())
    }

    /// `micros` microseconds after boot.
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(micros)
    }

    /// `millis` milliseconds after boot.
    pub const fn from_millis(millis: u64) -> Instant {
        Instant(millis * 1_000)
    }

    /// Microseconds since boot.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago this moment is; zero when it is still to come.
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }
}

/// Saturates at [`Instant::FOREVER`].
impl Add<Duration> for Instant {
    type Output = Instant;

    #[inline]
    fn add(self, duration: Duration) -> Instant {
        // Seconds first: `as_micros` of a Duration works on 128 bits, and this runs for every request.
        let micros = duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros() as u64);
        Instant(self.0.saturating_add(micros))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Zero when `earlier` is later.
impl Sub for Instant {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
