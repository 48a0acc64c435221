//! Passes a request on, and the response back. Neither is held in memory: a side that does not read holds the other back.

use crate::{
    backends::{Backend, Backends},
    headers,
};
use alloc::{format, rc::Rc, string::String};
use core::fmt::Display;
use futures_util::{StreamExt, stream};
use unikernel_http::{
    Body, Headers, IntoResponse, Method, Request, Response, State, Status,
    client::{self, Client, Error, Limits, Phase},
};
use unikernel_rt::time::Duration;

/// What a handler needs.
#[derive(Clone)]
pub struct App {
    pub backends: Rc<Backends>,
    pub client: Client,
    /// What the client speaks to the proxy: `http` or `https`.
    pub proto: &'static str,
}

/// Backends are near, and may think for a while.
pub fn limits() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(2),
        head_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        connections_per_host_max: 256,
        connections_max: 1024,
        ..Limits::default()
    }
}

/// The handler of every path.
pub async fn forward(State(app): State<App>, mut request: Request) -> Response {
    let body = request.take_body();
    let method = request.method();
    // A request that no server has seen, or that says the same twice, may go to another server: but not without the
    // body that the first one got.
    let is_idempotent = !matches!(method, Method::Post | Method::Patch);
    let may_retry = body.is_empty() && is_idempotent;
    if method == Method::Trace {
        return (Status::METHOD_NOT_ALLOWED, "TRACE would show what only the backend should see\n").into_response();
    }
    let Some(backend) = app.backends.choose(None) else { return none_left() };
    match app.send(&backend, &request, body).await {
        Ok(response) => response,
        Err(error) if may_retry && is_dead(&error) => match app.backends.choose(Some(&backend)) {
            Some(other) => app.send(&other, &request, Body::empty()).await.unwrap_or_else(failed),
            None => failed(error),
        },
        Err(error) => failed(error),
    }
}

fn none_left() -> Response {
    (Status::SERVICE_UNAVAILABLE, [("Retry-After", "2")], "no backend is up\n").into_response()
}

/// Whether the backend is gone, as far as one request can tell.
fn is_dead(error: &Error) -> bool {
    matches!(error, Error::Connect(_) | Error::Closed | Error::TimedOut(Phase::Connect))
}

/// 502, 504, or the client's own fault; with the reason.
fn failed(error: Error) -> Response {
    let status = match error {
        Error::RequestBody(error) => return error.into_response(),
        Error::TimedOut(_) => Status::GATEWAY_TIMEOUT,
        _ => Status::BAD_GATEWAY,
    };
    (status, format!("the backend: {error}\n")).into_response()
}

impl App {
    async fn send(&self, backend: &Rc<Backend>, request: &Request, body: Body) -> Result<Response, Error> {
        let busy = backend.begin();
        let sent = self.request(backend, request).body(body).send().await;
        if let Err(error) = &sent
            && is_dead(error)
        {
            backend.note::<&dyn Display>(&Err(error));
        }
        let response = sent?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match request.method() {
            Method::Head => announced(&headers),
            // The backend is busy until the body is through.
            _ => hold(response.into_body(), busy),
        };
        Ok(with_fields(Response::new(status, body), &headers))
    }

    fn request(&self, backend: &Backend, request: &Request) -> client::RequestBuilder {
        let url = url(backend, request);
        let headers = request.headers();
        let mut builder = self.client.request(request.method().as_str(), &url).raw();
        if !request.host().is_empty() {
            builder = builder.header("Host", request.host());
        }
        for (name, value) in headers::of_request(&headers) {
            builder = builder.header(name, value);
        }
        for (name, value) in headers::forwarding(request.peer(), request.host(), self.proto) {
            builder = builder.header(name, value);
        }
        builder
    }
}

fn url(backend: &Backend, request: &Request) -> String {
    let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("http://{}{}{query}", backend.address, request.path())
}

fn with_fields(mut response: Response, headers: &Headers) -> Response {
    for (name, value) in headers::of_response(headers) {
        // What the parser lets pass can be sent again, so nothing is lost here.
        let _ = response.try_add_header(name, value);
    }
    response
}

/// The body that a response to HEAD speaks of and does not have.
fn announced(headers: &Headers) -> Body {
    let nothing = stream::empty::<Result<&'static [u8], ()>>();
    match headers.get("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => Body::from_sized_stream(length, nothing),
        None => Body::from_stream(nothing),
    }
}

/// The body, which keeps `held` until it is dropped.
fn hold(body: client::ResponseBody, held: impl Sized + 'static) -> Body {
    let len = body.len();
    let pieces = body.map(move |piece| {
        let _ = &held;
        piece
    });
    match len {
        Some(0) => Body::empty(),
        Some(len) => Body::from_sized_stream(len, pieces),
        None => Body::from_stream(pieces),
    }
}
