//! A counter with labels: [`CounterFamily`].

use super::{
    Metric, Page, list,
    page::{ends_with, is_name},
};
use alloc::{boxed::Box, string::String, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use spin::mutex::SpinMutex;

/// A label's value beyond this goes to the series of the others: it is hardly a name.
const VALUE_LEN_MAX: usize = 64;
/// All labels of the series for what has no series of its own.
const OTHER: &str = "other";

/// A counter for each combination of values that its labels `LABELS` have, up to a number: what comes later is counted
/// together, under `other`. So a peer who invents values cannot fill the memory.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::metrics::CounterFamily;
///
/// static ORDERS: CounterFamily<1> = CounterFamily::new("shop_orders_by_payment_total", "Orders.", ["payment"], 10);
///
/// ORDERS.with(["card"]).increment();
/// // Where counting has to be cheap it is looked for once.
/// let cash = ORDERS.with(["cash"]);
/// cash.add(2);
/// assert_eq!((ORDERS.with(["card"]).get(), cash.get()), (1, 2));
/// # });
/// ```
pub struct CounterFamily<const LABELS: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; LABELS],
    series_max: usize,
    series: SpinMutex<Vec<([String; LABELS], Series)>>,
    is_listed: AtomicBool,
}

/// One counter of a [`CounterFamily`]; keep it where counting has to be cheap.
#[derive(Clone, Copy)]
pub struct Series(&'static AtomicU64);

impl<const LABELS: usize> CounterFamily<LABELS> {
    /// A family of at most `series_max` counters, and one for the others.
    ///
    /// # Panics
    ///
    /// The name does not end with `_total`, or a name is none; for a static, at compile time.
    pub const fn new(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; LABELS],
        series_max: usize,
    ) -> CounterFamily<LABELS> {
        assert!(
            is_name(name) && ends_with(name, "_total"),
            "a counter's name is of letters and digits and ends with `_total`"
        );
        let mut index = 0;
        while index < LABELS {
            assert!(is_name(labels[index]), "a label's name is of letters, digits and `_`");
            index += 1;
        }
        CounterFamily {
            name,
            help,
            labels,
            series_max,
            series: SpinMutex::new(Vec::new()),
            is_listed: AtomicBool::new(false),
        }
    }

    /// The counter for these values of the labels. It is looked for among all.
    pub fn with(&'static self, values: [&str; LABELS]) -> Series {
        list(self);
        let mut series = self.series.lock();
        let is_name = values.iter().all(|value| value.len() <= VALUE_LEN_MAX);
        let values = if is_name { values } else { [OTHER; LABELS] };
        if let Some(known) = find(&series, values) {
            return known;
        }
        let is_full = series.len() >= self.series_max && values != [OTHER; LABELS];
        let values = if is_full { [OTHER; LABELS] } else { values };
        find(&series, values).unwrap_or_else(|| {
            let new = Series(Box::leak(Box::new(AtomicU64::new(0))));
            series.push((values.map(String::from), new));
            new
        })
    }
}

fn find<const LABELS: usize>(series: &[([String; LABELS], Series)], values: [&str; LABELS]) -> Option<Series> {
    series.iter().find(|(known, _)| known.iter().eq(values.iter())).map(|(_, series)| *series)
}

impl Series {
    /// Adds one.
    #[inline]
    pub fn increment(self) {
        self.add(1);
    }

    /// Adds `count`.
    #[inline]
    pub fn add(self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<const LABELS: usize> Metric for CounterFamily<LABELS> {
    fn write(&self, page: &mut Page) {
        for (values, series) in &*self.series.lock() {
            let labels: [(&str, &str); LABELS] = core::array::from_fn(|index| (self.labels[index], &*values[index]));
            page.counter(self.name, self.help, &labels, series.get());
        }
    }

    fn listed(&self) -> &AtomicBool {
        &self.is_listed
    }
}
