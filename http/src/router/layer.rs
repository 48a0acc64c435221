//! Middleware: code around handlers.

use super::Router;
use crate::{
    IntoResponse, Request, Response,
    handler::{Endpoint, Reply, SharedEndpoint},
    response::not_found,
};
use alloc::{boxed::Box, rc::Rc};
use core::future::Future;

/// What a middleware puts around: call [`run`](Next::run) once, or answer instead.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{IntoResponse, Next, Request, Response, Router, Status, from_fn, get};
///
/// async fn members_only(request: Request, next: Next) -> Response {
///     match request.header("Authorization") {
///         Some("Bearer open-sesame") => next.run(request).await,
///         _ => (Status::UNAUTHORIZED, "say the word\n").into_response(),
///     }
/// }
///
/// let router: Router = Router::new().route("/", get(async || "the treasure")).layer(from_fn(members_only));
#[doc = include_str!("../served.md")]
/// let url = "http://10.0.0.2/";
/// assert_eq!(client.get(url).send().await?.status(), Status::UNAUTHORIZED);
/// assert_eq!(client.get(url).bearer_auth("open-sesame").send().await?.text().await?, "the treasure");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct Next(Box<dyn FnOnce(Request) -> Reply>);

impl Next {
    /// Has the request answered by the layers and the handler inside.
    pub async fn run(self, request: Request) -> Response {
        (self.0)(request).response().await
    }
}

/// Code around handlers. [`from_fn`] makes one of a function.
pub(crate) trait Layer<S> {
    fn call(&self, request: Request, next: Next, state: &S) -> Reply;
}

/// A middleware: what [`Router::layer`] takes. [`from_fn`] makes one.
pub struct Middleware<S>(Rc<dyn Layer<S>>);

/// Makes an async function a middleware.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Next, Request, Response, Router, from_fn, get};
///
/// async fn no_store(request: Request, next: Next) -> Response {
///     next.run(request).await.with_header("Cache-Control", "no-store")
/// }
///
/// let router: Router = Router::new().route("/", get(async || "fresh")).layer(from_fn(no_store));
#[doc = include_str!("../served.md")]
/// let page = client.get("http://10.0.0.2/").send().await?;
/// assert_eq!(page.header("Cache-Control"), Some("no-store"));
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub fn from_fn<F, Fut, S: 'static>(function: F) -> Middleware<S>
where
    F: Fn(Request, Next) -> Fut + 'static,
    Fut: Future<Output: IntoResponse> + 'static,
{
    Middleware(Rc::new(FromFn(function)))
}

struct FromFn<F>(F);

impl<F, Fut, S> Layer<S> for FromFn<F>
where
    F: Fn(Request, Next) -> Fut,
    Fut: Future<Output: IntoResponse> + 'static,
{
    fn call(&self, request: Request, next: Next, _: &S) -> Reply {
        let answer = self.0(request, next);
        Reply::Later(Box::pin(async move { answer.await.into_response() }))
    }
}

struct Layered<S> {
    inner: SharedEndpoint<S>,
    layer: Rc<dyn Layer<S>>,
}

pub(super) fn wrap<S: Clone + 'static>(inner: SharedEndpoint<S>, layer: Rc<dyn Layer<S>>) -> SharedEndpoint<S> {
    Rc::new(Layered { inner, layer })
}

impl<S: Clone + 'static> Endpoint<S> for Layered<S> {
    fn call(&self, request: Request, state: &S) -> Reply {
        let (inner, own) = (self.inner.clone(), state.clone());
        self.layer.call(request, Next(Box::new(move |request| inner.call(request, &own))), state)
    }
}

impl<S: Clone + 'static> Router<S> {
    /// Puts a middleware around every route and fallback added so far, their 404 and 405 included. The last layer
    /// added is the first to see a request.
    pub fn layer(self, middleware: Middleware<S>) -> Router<S> {
        let layer = middleware.0;
        let mut router = self;
        for route in &mut router.routes {
            let methods = core::mem::take(&mut route.methods);
            route.methods = methods.layered(&layer);
        }
        let fallback = router.fallback.take().unwrap_or_else(|| Rc::new(NotFound));
        router.fallback = Some(wrap(fallback, layer));
        router
    }
}

struct NotFound;

impl<S> Endpoint<S> for NotFound {
    fn call(&self, _: Request, _: &S) -> Reply {
        Reply::Now(not_found())
    }
}
