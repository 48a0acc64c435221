//! How often values of each magnitude occurred: [`Histogram`].

use super::{
    Metric, Page, list,
    page::{ends_with, is_name},
};
use crate::{
    platform::{self, with_core},
    time::Instant,
};
use core::{
    array,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// The smallest bucket holds values up to two to this power: 64 µs or 64 bytes.
const EXPONENT_MIN: u32 = 6;
/// The bounds double up to 2^24, 16.8 s or 16 MiB; the last bucket has none.
const BUCKET_COUNT: usize = 20;

/// The counts behind a histogram, for those who keep them in a place of their own. All the same: powers of two.
pub struct Buckets {
    counts: [AtomicU64; BUCKET_COUNT],
    sum: AtomicU64,
}

impl Default for Buckets {
    fn default() -> Self {
        Buckets::new()
    }
}

impl Buckets {
    /// Nothing has occurred.
    pub const fn new() -> Buckets {
        Buckets { counts: [const { AtomicU64::new(0) }; BUCKET_COUNT], sum: AtomicU64::new(0) }
    }

    /// Counts a value: microseconds, or bytes.
    #[inline]
    pub fn observe(&self, value: u64) {
        let count = &self.counts[bucket_of(value)];
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.sum.store(self.sum.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
    }

    /// How often a value occurred up to each bound, and the sum of all.
    pub(super) fn read(&self) -> ([u64; BUCKET_COUNT], u64) {
        let mut total = 0;
        let counts = array::from_fn(|index| {
            total += self.counts[index].load(Ordering::Relaxed);
            total
        });
        (counts, self.sum.load(Ordering::Relaxed))
    }
}

/// The first bucket whose bound is not below `value`.
#[inline]
fn bucket_of(value: u64) -> usize {
    // Rounded up to the next power of two; `| 1` as the logarithm of zero is none.
    let exponent = (value.saturating_sub(1) | 1).ilog2() + 1;
    (exponent.saturating_sub(EXPONENT_MIN) as usize).min(BUCKET_COUNT - 1)
}

/// The bound of a bucket; the last has none.
pub(super) fn bound_of(index: usize) -> Option<u64> {
    (index + 1 < BUCKET_COUNT).then(|| 1 << (EXPONENT_MIN as usize + index))
}

/// The unit of a histogram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Micros,
    Bytes,
}

/// How often values of each magnitude occurred.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{metrics::{Histogram, Stopwatch}, time::{Duration, sleep}};
///
/// static PACKING: Histogram = Histogram::seconds("shop_packing_seconds", "How long an order was packed.");
///
/// let stopwatch = Stopwatch::start();
/// sleep(Duration::from_millis(20)).await;
/// PACKING.observe_micros(stopwatch.micros());
/// # });
/// ```
pub struct Histogram {
    name: &'static str,
    help: &'static str,
    unit: Unit,
    buckets: Buckets,
    is_listed: AtomicBool,
}

impl Histogram {
    /// A histogram of times, in buckets from 64 µs to 16.8 s.
    ///
    /// # Panics
    ///
    /// The name does not end with `_seconds`, or is none; for a static, at compile time.
    pub const fn seconds(name: &'static str, help: &'static str) -> Histogram {
        assert!(is_name(name) && ends_with(name, "_seconds"), "the name of a histogram of times ends with `_seconds`");
        Histogram::new(name, help, Unit::Micros)
    }

    /// A histogram of lengths, in buckets from 64 bytes to 16 MiB.
    ///
    /// # Panics
    ///
    /// The name does not end with `_bytes`, or is none; for a static, at compile time.
    pub const fn bytes(name: &'static str, help: &'static str) -> Histogram {
        assert!(is_name(name) && ends_with(name, "_bytes"), "the name of a histogram of lengths ends with `_bytes`");
        Histogram::new(name, help, Unit::Bytes)
    }

    const fn new(name: &'static str, help: &'static str, unit: Unit) -> Histogram {
        Histogram { name, help, unit, buckets: Buckets::new(), is_listed: AtomicBool::new(false) }
    }

    /// Counts a time of so many microseconds.
    #[inline]
    pub fn observe_micros(&'static self, micros: u64) {
        self.observe(micros);
    }

    /// Counts a time.
    pub fn observe_time(&'static self, time: Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a length.
    #[inline]
    pub fn observe_len(&'static self, len: usize) {
        self.observe(len as u64);
    }

    #[inline]
    fn observe(&'static self, value: u64) {
        self.buckets.observe(value);
        if !self.is_listed.load(Ordering::Relaxed) {
            list(self);
        }
    }
}

impl Metric for Histogram {
    fn write(&self, page: &mut Page) {
        match self.unit {
            Unit::Micros => page.histogram_seconds(self.name, self.help, &[], &self.buckets),
            Unit::Bytes => page.histogram_bytes(self.name, self.help, &[], &self.buckets),
        }
    }

    fn listed(&self) -> &AtomicBool {
        &self.is_listed
    }
}

/// Measures a time, with the fewest instructions.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(u64);

impl Stopwatch {
    /// Begins.
    #[inline(always)]
    pub fn start() -> Stopwatch {
        Stopwatch(platform::ticks())
    }

    /// Began with the poll of the running task that is under way: no clock is read.
    #[inline(always)]
    pub fn since_poll() -> Stopwatch {
        Stopwatch(with_core(|core| core.executor.since()))
    }

    /// Microseconds since then.
    #[inline(always)]
    pub fn micros(self) -> u64 {
        self.read().0
    }

    /// Microseconds since then, and this moment, by one look at the clock.
    #[inline(always)]
    pub fn read(self) -> (u64, Instant) {
        let now = platform::ticks();
        (platform::micros_of(now.wrapping_sub(self.0)), Instant::from_micros(platform::micros_at(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_holds_it() {
        for (value, index) in [
            (0, 0),
            (1, 0),
            (63, 0),
            (64, 0),
            (65, 1),
            (128, 1),
            (129, 2),
            (1 << 24, 18),
            ((1 << 24) + 1, 19),
            (u64::MAX, 19),
        ] {
            assert_eq!(bucket_of(value), index, "{value}");
            assert!(bound_of(index).is_none_or(|bound| value <= bound));
            assert!(index == 0 || bound_of(index - 1).is_some_and(|bound| value > bound));
        }
    }

    #[test]
    fn counts_add_up() {
        let buckets = Buckets::new();
        [1, 64, 65, 1 << 40].into_iter().for_each(|value| buckets.observe(value));
        let (counts, sum) = buckets.read();
        assert_eq!((counts[0], counts[1], counts[18], counts[19]), (2, 3, 3, 4));
        assert_eq!(sum, 130 + (1 << 40));
    }
}
