//! What is counted while the machine runs, as text for Prometheus.
//!
//! A metric is a static; it is on the page from its first use on, or from [`list`] on:
//!
//! ```
//! use unikernel_rt::metrics::{self, Counter, Histogram};
//!
//! static MAILS: Counter = Counter::new("shop_mails_total", "Mails sent.");
//! static SEARCH: Histogram = Histogram::seconds("shop_search_seconds", "Time of a search.");
//!
//! MAILS.increment();
//! SEARCH.observe_micros(1500);
//! assert!(metrics::text().contains("shop_mails_total 1\n"));
//! ```
//!
//! Names follow Prometheus' conventions: a prefix of the app, base units (`_seconds`, `_bytes`), `_total` for counters.
//! Those of the runtime and its crates begin with `unikernel_`. Counting is a few instructions without a lock: one core counts,
//! interrupt handlers do not.
//!
//! What is counted elsewhere is added to every [`Page`] by a [collector](collect_with).

mod builtin;
mod family;
mod histogram;
mod page;
mod scalar;

pub(crate) use builtin::main_begins;
pub use family::{CounterFamily, Series};
pub use histogram::{Buckets, Histogram, Stopwatch};
pub use page::{CONTENT_TYPE, Number, Page};
pub use scalar::{Counter, Gauge};

use crate::platform::with_core;
use alloc::{boxed::Box, rc::Rc, string::String, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use spin::mutex::SpinMutex;

/// A static that can be on the page.
pub trait Metric: Sync {
    /// Adds what it is and its values.
    fn write(&self, page: &mut Page);

    /// Whether it is listed already.
    #[doc(hidden)]
    fn listed(&self) -> &AtomicBool;
}

static LISTED: SpinMutex<Vec<&'static dyn Metric>> = SpinMutex::new(Vec::new());

/// Puts `metric` on the page before its first use, with its value of zero. Nothing happens when it is there.
pub fn list(metric: &'static dyn Metric) {
    if metric.listed().load(Ordering::Relaxed) {
        return;
    }
    let mut list = LISTED.lock();
    // Without memory for the entry it is tried again at the next use.
    if !metric.listed().load(Ordering::Relaxed) && list.try_reserve(1).is_ok() {
        metric.listed().store(true, Ordering::Relaxed);
        list.push(metric);
    }
}

/// A function that adds what somebody counts, while that one is there.
pub(crate) type Collector = Rc<dyn Fn(&mut Page)>;

/// Has `collect` add what `owner` counts to every page of this core from now on, for as long as `owner` lives.
pub fn collect_with<T: ?Sized + 'static>(owner: &Rc<T>, collect: impl Fn(&T, &mut Page) + 'static) {
    let weak = Rc::downgrade(owner);
    let collect = move |page: &mut Page| {
        if let Some(owner) = weak.upgrade() {
            collect(&owner, page);
        }
    };
    with_core(|core| core.collectors.borrow_mut().push_for(owner, Rc::new(collect)));
}

/// All metrics now, in Prometheus' text format ([`CONTENT_TYPE`]).
pub fn text() -> String {
    let mut page = Page::default();
    builtin::collect(&mut page);
    let listed: Box<[_]> = LISTED.lock().as_slice().into();
    for metric in listed {
        metric.write(&mut page);
    }
    // Not borrowed meanwhile: a collector may make others.
    let collectors: Vec<Collector> = with_core(|core| core.collectors.borrow().iter().cloned().collect());
    collectors.iter().for_each(|collect| collect(&mut page));
    page.into_text()
}
