//! Whether the app is well, for whoever starts and watches it: [`Health`].

use crate::{IntoResponse, Response, Router, Status, get};
use alloc::{boxed::Box, format, rc::Rc, string::String, vec::Vec};
use unikernel_rt::lifecycle;

/// `/healthz` and `/readyz`, for load balancers and orchestrators.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Health, Router, get};
/// use std::{cell::Cell, rc::Rc};
///
/// let is_connected = Rc::new(Cell::new(false));
/// let database = is_connected.clone();
/// let health = Health::new().check("database", move || database.get());
/// let router: Router = Router::new().route("/", get(async || "hello")).merge(health.router());
#[doc = include_str!("served.md")]
/// let answer = client.get("http://10.0.0.2/readyz").send().await?;
/// assert_eq!((answer.status().code(), answer.text().await?.as_str()), (503, "not ready: database\n"));
/// is_connected.set(true);
/// assert_eq!(client.get("http://10.0.0.2/readyz").send().await?.text().await?, "ready\n");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Default)]
pub struct Health {
    checks: Vec<(String, Box<dyn Fn() -> bool>)>,
}

impl Health {
    /// Ready until the machine is asked to stop ([`lifecycle`]).
    pub fn new() -> Health {
        Health::default()
    }

    /// Not ready while `is_well` returns false. It is called for every question: it looks at what is known, and does not wait.
    pub fn check(mut self, name: &str, is_well: impl Fn() -> bool + 'static) -> Health {
        self.checks.push((name.into(), Box::new(is_well)));
        self
    }

    /// `/healthz`: 200, as whoever answers is alive. `/readyz`: 200, or 503 with the checks that fail, one a line.
    pub fn router(self) -> Router {
        let health = Rc::new(self);
        let ready = move || {
            let health = health.clone();
            async move { health.answer() }
        };
        Router::new().route("/healthz", get(async || "alive\n")).route("/readyz", get(ready))
    }

    fn answer(&self) -> Response {
        let failing = self.checks.iter().filter(|(_, is_well)| !is_well());
        let mut failing: String = failing.map(|(name, _)| format!("not ready: {name}\n")).collect();
        if lifecycle::is_stopping() {
            failing.push_str("not ready: stopping\n");
        }
        if failing.is_empty() {
            return "ready\n".into_response();
        }
        let mut response = failing.into_response();
        response.set_status(Status::SERVICE_UNAVAILABLE);
        response
    }
}
