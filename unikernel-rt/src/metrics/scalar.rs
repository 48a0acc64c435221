//! One number: [`Counter`] and [`Gauge`].

use super::{
    Metric, Page, list,
    page::{ends_with, is_name},
};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// A number that only grows.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::metrics::Counter;
///
/// static ORDERS: Counter = Counter::new("shop_orders_total", "Orders that were taken.");
///
/// ORDERS.increment();
/// ORDERS.add(2);
/// assert_eq!(ORDERS.get(), 3);
/// # });
/// ```
pub struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicU64,
    is_listed: AtomicBool,
}

impl Counter {
    /// A counter of zero.
    ///
    /// # Panics
    ///
    /// The name does not end with `_total`, or is none; for a static, at compile time.
    pub const fn new(name: &'static str, help: &'static str) -> Counter {
        assert!(
            is_name(name) && ends_with(name, "_total"),
            "a counter's name is of letters and digits and ends with `_total`"
        );
        Counter { name, help, value: AtomicU64::new(0), is_listed: AtomicBool::new(false) }
    }

    /// Adds one.
    #[inline]
    pub fn increment(&'static self) {
        self.add(1);
    }

    /// Adds `count`.
    #[inline]
    pub fn add(&'static self, count: u64) {
        let before = self.value.load(Ordering::Relaxed);
        // No locked instruction: one core counts.
        self.value.store(before.wrapping_add(count), Ordering::Relaxed);
        if before == 0 {
            list(self);
        }
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

impl Metric for Counter {
    fn write(&self, page: &mut Page) {
        page.counter(self.name, self.help, &[], self.get());
    }

    fn listed(&self) -> &AtomicBool {
        &self.is_listed
    }
}

/// A number that goes up and down.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::metrics::Gauge;
///
/// static WAITING: Gauge = Gauge::new("shop_orders_waiting", "Orders that nobody has packed yet.");
///
/// WAITING.add(5);
/// WAITING.add(-2);
/// assert_eq!(WAITING.get(), 3);
/// # });
/// ```
pub struct Gauge {
    name: &'static str,
    help: &'static str,
    value: AtomicI64,
    is_listed: AtomicBool,
}

impl Gauge {
    /// A gauge of zero.
    ///
    /// # Panics
    ///
    /// The name is none; for a static, at compile time.
    pub const fn new(name: &'static str, help: &'static str) -> Gauge {
        assert!(is_name(name), "a metric's name is of letters, digits and `_`");
        Gauge { name, help, value: AtomicI64::new(0), is_listed: AtomicBool::new(false) }
    }

    /// Replaces its value.
    #[inline]
    pub fn set(&'static self, value: i64) {
        self.value.store(value, Ordering::Relaxed);
        if !self.is_listed.load(Ordering::Relaxed) {
            list(self);
        }
    }

    /// Adds `change`, which may be negative.
    #[inline]
    pub fn add(&'static self, change: i64) {
        self.set(self.get().wrapping_add(change));
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }
}

impl Metric for Gauge {
    fn write(&self, page: &mut Page) {
        page.gauge(self.name, self.help, &[], self.get());
    }

    fn listed(&self) -> &AtomicBool {
        &self.is_listed
    }
}
