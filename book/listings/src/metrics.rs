//! Listings of the page "Metrics and health".

use alloc::rc::Rc;
use core::cell::Cell;
use unikernel_http::{Health, MetricsPort, Router, get, serve};
use unikernel_net::Stack;
use unikernel_rt::metrics::{Counter, CounterFamily, Histogram};

/// An app whose metrics Prometheus reads.
// ANCHOR: port
pub async fn main(stack: Stack, metrics: MetricsPort) -> unikernel_rt::Result {
    metrics.open(&stack)?;
    serve(stack.listen(8080)?, Router::new().route("/", get(async || "hello"))).await
}
// ANCHOR_END: port

// ANCHOR: own
static MAILS: Counter = Counter::new("shop_mails_total", "Mails sent.");
static SEARCH: Histogram = Histogram::seconds("shop_search_seconds", "Time of a search.");
static ORDERS: CounterFamily<1> = CounterFamily::new("shop_orders_total", "Orders by country.", ["country"], 50);
// ANCHOR_END: own

/// What happens with an order.
// ANCHOR: use
pub fn ordered(country: &str, search_micros: u64) {
    MAILS.increment();
    SEARCH.observe_micros(search_micros);
    ORDERS.with([country]).increment();
}
// ANCHOR_END: use

/// A router that says whether the app is well.
// ANCHOR: health
pub fn with_health(router: Router, is_connected: Rc<Cell<bool>>) -> Router {
    let health = Health::new().check("database", move || is_connected.get());
    router.merge(health.router())
}
// ANCHOR_END: health
