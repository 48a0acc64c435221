//! The wall clock: the monotonic clock and what lies between the two. It may step; [`Instant`] never does.

use super::Instant;
use core::time::Duration;

/// How much faster or slower the clock goes while it is slewed: one part in 2000, as `adjtime(2)` and NTP have it
/// (RFC 5905, appendix A.5.5: at most 500 ppm). So it never stands still, and never goes back.
const SLEW_PART: u64 = 2000;

/// What the wall clock shows, as a function of the moment.
#[derive(Clone, Copy)]
pub(crate) struct WallClock {
    /// What it would have shown at boot, in microseconds since 1970.
    at_boot: u64,
    /// What it gains (or loses) little by little, in microseconds, and since when.
    slew: i64,
    slew_start: Instant,
}

impl WallClock {
    /// A clock that showed `at_boot` at boot.
    pub(crate) fn new(at_boot: Duration) -> WallClock {
        WallClock { at_boot: micros(at_boot), slew: 0, slew_start: Instant::from_micros(0) }
    }

    pub(crate) fn at(&self, now: Instant) -> Duration {
        let unslewed = self.at_boot.saturating_add(now.as_micros());
        Duration::from_micros(unslewed.saturating_add_signed(self.slewed(now)))
    }

    /// Steps to `time`.
    pub(crate) fn set(&mut self, time: Duration, now: Instant) {
        *self = WallClock { at_boot: micros(time).saturating_sub(now.as_micros()), slew: 0, slew_start: now };
    }

    /// Begins to gain `by_micros`. What an earlier slew had not yet gained is forgotten.
    pub(crate) fn slew(&mut self, by_micros: i64, now: Instant) {
        let at_boot = self.at_boot.saturating_add_signed(self.slewed(now));
        *self = WallClock { at_boot, slew: by_micros, slew_start: now };
    }

    /// What the slew has gained so far, in microseconds.
    fn slewed(&self, now: Instant) -> i64 {
        let possible = now.as_micros().saturating_sub(self.slew_start.as_micros()) / SLEW_PART;
        // Below 2^53 after the division.
        let possible = possible as i64;
        self.slew.clamp(-possible, possible)
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: u64 = 1_767_225_600;

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    fn check(clock: &WallClock, secs: u64, expected_millis: u64) {
        assert_eq!(clock.at(at(secs)), Duration::from_millis(BOOT * 1000 + expected_millis));
    }

    #[test]
    fn it_goes_with_the_monotonic_clock_and_steps() {
        let mut clock = WallClock::new(Duration::from_secs(BOOT));
        check(&clock, 10, 10_000);
        clock.set(Duration::from_secs(BOOT + 500), at(10));
        check(&clock, 10, 500_000);
        check(&clock, 11, 501_000);
        clock.set(Duration::from_secs(5), at(10));
        assert_eq!(clock.at(at(10)), Duration::from_secs(10), "nothing is before boot at 1970");
    }

    #[test]
    fn it_slews_without_going_back() {
        for (slew, at_100, at_300) in [(100_000, 100_050, 300_100), (-100_000, 99_950, 299_900), (0, 100_000, 300_000)]
        {
            let mut clock = WallClock::new(Duration::from_secs(BOOT));
            clock.slew(slew, at(0));
            check(&clock, 100, at_100);
            check(&clock, 300, at_300);
            let mut last = Duration::ZERO;
            for micros in (0..1_000_000).step_by(7) {
                let shown = clock.at(Instant::from_micros(micros));
                assert!(shown > last);
                last = shown;
            }
        }
    }

    #[test]
    fn a_new_slew_or_step_ends_the_old() {
        let mut clock = WallClock::new(Duration::from_secs(BOOT));
        clock.slew(100_000, at(0));
        clock.slew(-20_000, at(20));
        check(&clock, 20, 20_010);
        check(&clock, 1000, 999_990);
        clock.slew(1_000_000, at(1000));
        clock.set(Duration::from_secs(BOOT), at(1001));
        check(&clock, 1003, 2_000);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut clock = WallClock::new(Duration::MAX);
        for slew in [i64::MIN, i64::MAX] {
            clock.slew(slew, Instant::FOREVER);
            clock.slew(slew, at(0));
            clock.at(Instant::FOREVER);
        }
    }
}
