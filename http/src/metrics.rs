//! The metrics of the machine over HTTP: [`MetricsPort`], [`router`]. And what this server counts itself.
//!
//! One argument of `main` and one line, and the boot argument `metrics=9090` opens a port for Prometheus:
//!
//! ```
//! # unikernel_rt::sim::run("", async {
//! use unikernel_http::{MetricsPort, Router, get, serve};
//! use unikernel_net::Stack;
//!
//! async fn main(stack: Stack, metrics: MetricsPort) -> unikernel_rt::Result {
//!     metrics.open(&stack)?;
//!     serve(stack.listen(8080)?, Router::new().route("/", get(async || "hello"))).await
//! }
//! # let router = unikernel_http::Router::new();
#![doc = include_str!("served.md")]
//! # unikernel_rt::spawn(main(server, MetricsPort(Some(9090))));
//! # assert_eq!(client.get("http://10.0.0.2:8080/").send().await?.text().await?, "hello");
//! # assert_eq!(client.get("http://10.0.0.2:9090/metrics").send().await?.status().code(), 200);
//! # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
//! ```

use crate::{IntoResponse, Response, Router, Status, get, serve, server::Shared};
use alloc::{boxed::Box, rc::Rc, string::String, vec::Vec};
use core::{cell::Cell, str::FromStr};
use unikernel_net::Stack;
use unikernel_rt::{
    Acquire, Machine, Result, args,
    metrics::{self, Buckets, Page, Stopwatch, collect_with},
    spawn_named,
};

/// A router that answers `GET /metrics` with the metrics of the machine, and nothing else. Whoever reaches it reads them:
/// serve it on a port that only the scraper reaches.
pub fn router() -> Router {
    Router::new().route("/metrics", get(async || page()))
}

fn page() -> Response {
    metrics::text().into_response().with_header("Content-Type", metrics::CONTENT_TYPE)
}

/// The port for metrics that the boot argument `metrics=PORT` names; without it there is none.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::MetricsPort;
/// # let router = unikernel_http::Router::new();
#[doc = include_str!("served.md")]
/// MetricsPort(Some(9090)).open(&server)?;
/// let page = client.get("http://10.0.0.2:9090/metrics").send().await?.text().await?;
/// assert!(page.lines().any(|line| line.starts_with("# TYPE ")), "{page}");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsPort(pub Option<u16>);

impl Acquire for MetricsPort {
    async fn acquire(_: &mut Machine) -> Result<MetricsPort> {
        let port = args::take::<Port>("metrics")?;
        Ok(MetricsPort(port.map(|port| port.0)))
    }
}

/// The value of `metrics=`.
struct Port(u16);

impl FromStr for Port {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Port, &'static str> {
        let port = text.parse().ok().filter(|port| *port > 0).map(Port);
        port.ok_or("expected a port from 1 to 65535; without the argument there is none")
    }
}

impl MetricsPort {
    /// Serves [`router`] on the port, in a task of its own.
    ///
    /// # Errors
    ///
    /// Somebody listens on that port.
    pub fn open(self, stack: &Stack) -> Result {
        if let Some(port) = self.0 {
            let listener = stack.listen(port)?;
            spawn_named("metrics", async { serve(listener, router()).await });
        }
        Ok(())
    }
}

/// What a server counts.
pub(crate) struct Stats {
    /// One for each route of the router, then [two more](Stats::new).
    routes: Box<[Route]>,
    in_flight: Cell<u64>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    connections: Cell<u64>,
}

struct Route {
    pattern: String,
    /// Requests by the first digit of their answer's status.
    classes: [Cell<u64>; CLASSES.len()],
    times: Buckets,
}

/// The last is that of requests without an answer: the client went away before, or the server lost its patience.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "aborted"];
const ABORTED: usize = CLASSES.len() - 1;

/// A request that is being answered.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) route: usize,
    pub(crate) begun: Stopwatch,
}

impl Stats {
    /// `patterns` are the router's. Requests that fit none are counted as `fallback`, those that are no valid request as
    /// `invalid`: so how many series there are is up to the app, not to its peers.
    pub(crate) fn new(patterns: impl Iterator<Item = String>) -> Stats {
        let own = ["fallback", "invalid"].map(String::from);
        let routes: Vec<_> = patterns.chain(own).map(Route::new).collect();
        let zero = || Cell::new(0);
        Stats { routes: routes.into(), in_flight: zero(), bytes_in: zero(), bytes_out: zero(), connections: zero() }
    }

    /// A request is answered.
    #[inline(always)]
    pub(crate) fn answered(&self, call: Call, status: Status, micros: u64) {
        if let Some(route) = self.routes.get(call.route) {
            route.count(status);
            route.times.observe(micros);
        }
    }

    /// What came is no valid request.
    #[cold]
    pub(crate) fn refused(&self, status: Status) {
        if let Some(route) = self.routes.last() {
            route.count(status);
        }
    }

    #[inline(always)]
    pub(crate) fn received(&self, len: usize) {
        self.bytes_in.set(self.bytes_in.get().wrapping_add(len as u64));
    }

    #[inline(always)]
    pub(crate) fn sent(&self, len: usize) {
        self.bytes_out.set(self.bytes_out.get().wrapping_add(len as u64));
    }

    pub(crate) fn connected(&self) {
        self.connections.set(self.connections.get().wrapping_add(1));
    }

    fn write(&self, page: &mut Page) {
        // A route is on the page from its first request on.
        for route in self.routes.iter().filter(|route| route.classes.iter().any(|count| count.get() > 0)) {
            let name = &*route.pattern;
            for (class, count) in CLASSES.iter().zip(&route.classes).filter(|(_, count)| count.get() > 0) {
                let labels = [("route", name), ("status", *class)];
                page.counter(
                    "unikernel_http_requests_total",
                    "Requests, by route and status of the answer; `aborted` when there was none.",
                    &labels,
                    count.get(),
                );
            }
            let help = "From a request's head until that of its response.";
            page.histogram_seconds("unikernel_http_request_duration_seconds", help, &[("route", name)], &route.times);
        }
        let help = "Requests whose answer is not there, or not sent yet.";
        page.gauge("unikernel_http_requests_in_flight", help, &[], self.in_flight.get());
        page.counter("unikernel_http_received_bytes_total", "Bytes of requests.", &[], self.bytes_in.get());
        page.counter("unikernel_http_sent_bytes_total", "Bytes of responses.", &[], self.bytes_out.get());
        page.counter("unikernel_http_connections_total", "Connections that were served.", &[], self.connections.get());
    }
}

impl Route {
    fn new(pattern: String) -> Route {
        Route { pattern, classes: Default::default(), times: Buckets::new() }
    }

    #[inline(always)]
    fn count(&self, status: Status) {
        self.count_class(usize::from(status.code() / 100).wrapping_sub(2));
    }

    #[inline(always)]
    fn count_class(&self, class: usize) {
        if let Some(count) = self.classes.get(class) {
            count.set(count.get().wrapping_add(1));
        }
    }
}

/// Puts the numbers of a server on the page, as long as it lives.
pub(crate) fn start(server: &Rc<Shared>) {
    collect_with(server, |server, page| server.stats.write(page));
}

/// Counts as a request in flight while it lives.
pub(crate) struct InFlight {
    server: Rc<Shared>,
    /// The route whose answer is not there.
    waits: Option<usize>,
}

impl InFlight {
    /// Waits for its answer. Without one it counts as aborted.
    pub(crate) fn unanswered(server: Rc<Shared>, call: Call) -> InFlight {
        let mut new = InFlight::answered(server);
        new.waits = Some(call.route);
        new
    }

    /// Is being sent.
    pub(crate) fn answered(server: Rc<Shared>) -> InFlight {
        let count = &server.stats.in_flight;
        count.set(count.get() + 1);
        InFlight { server, waits: None }
    }

    /// The answer is there.
    pub(crate) fn answer(&mut self) {
        self.waits = None;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let stats = &self.server.stats;
        stats.in_flight.set(stats.in_flight.get() - 1);
        if let Some(route) = self.waits.and_then(|route| stats.routes.get(route)) {
            route.count_class(ABORTED);
        }
    }
}
