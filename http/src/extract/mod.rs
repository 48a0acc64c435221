//! Extractors: the arguments of handlers.
//!
//! | argument | is | otherwise |
//! |---|---|---|
//! | [`Path<T>`] | the parameters of the route's path | 400 |
//! | [`Query<T>`] | the query | 400 |
//! | [`State<T>`] | the state of the router, or a part of it ([`FromRef`]) | |
//! | [`Headers`], [`Method`] | the header fields, the method | |
//! | [`Extension<T>`] | what a middleware attached | 500 |
//! | [`Json<T>`], [`Form<T>`] | the body, parsed | 415, 400, 422, 413 |
//! | [`Bytes`], `String`, `Vec<u8>` | the body, in memory | 413, 400 |
//! | [`Body`](crate::Body) | the body, as a stream | |
//! | [`Request`] | all of it | |
//!
//! Those that take the body can only be the last argument. [`Option<T>`] and [`Result<T, _>`] of the others do not
//! refuse the request.

mod body;
mod json;
mod params;
mod value;

use crate::{Headers, IntoResponse, Method, Request, Response, Status};
pub use body::Form;
pub use bytes::Bytes;
use core::{convert::Infallible, future::Future};
pub use json::Json;
pub use params::{Path, Query};

/// What can be made from the head of a request.
///
/// An extractor of your own:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Request, Response, Router, IntoResponse, Status, extract::FromRequestParts, get};
///
/// /// The language that the client wants.
/// struct Language(String);
///
/// impl<S> FromRequestParts<S> for Language {
///     type Rejection = Response;
///
///     fn from_request_parts(request: &Request, _: &S) -> Result<Language, Response> {
///         let wanted = request.header("Accept-Language").map(|value| Language(value.into()));
///         wanted.ok_or_else(|| (Status::BAD_REQUEST, "which language?\n").into_response())
///     }
/// }
///
/// let router: Router = Router::new().route("/", get(async |Language(name)| name));
#[doc = include_str!("../served.md")]
/// let page = client.get("http://10.0.0.2/").header("Accept-Language", "eo").send().await?;
/// assert_eq!(page.text().await?, "eo");
/// assert_eq!(client.get("http://10.0.0.2/").send().await?.status(), Status::BAD_REQUEST);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub trait FromRequestParts<S>: Sized {
    /// The response when it cannot be made.
    type Rejection: IntoResponse;

    /// Makes it.
    ///
    /// # Errors
    ///
    /// The request does not have what it takes.
    fn from_request_parts(request: &Request, state: &S) -> Result<Self, Self::Rejection>;
}

/// What can be made from a whole request. `Via` tells the two kinds of extractors apart; leave it out.
///
/// An extractor of your own that takes the body:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{IntoResponse, Request, Response, Router, Status, extract::FromRequest, post};
///
/// /// Numbers, one in a line.
/// struct Numbers(Vec<f64>);
///
/// impl<S> FromRequest<S> for Numbers {
///     type Rejection = Response;
///
///     async fn from_request(request: Request, state: &S) -> Result<Numbers, Response> {
///         let text = String::from_request(request, state).await?;
///         let numbers: Result<_, _> = text.lines().map(str::parse).collect();
///         numbers.map(Numbers).map_err(|_| (Status::UNPROCESSABLE_CONTENT, "not all are numbers\n").into_response())
///     }
/// }
///
/// let router: Router = Router::new().route("/sum", post(async |Numbers(all)| format!("{}", all.iter().sum::<f64>())));
#[doc = include_str!("../served.md")]
/// assert_eq!(client.post("http://10.0.0.2/sum").body("1\n2.5\n").send().await?.text().await?, "3.5");
/// let refused = client.post("http://10.0.0.2/sum").body("1\ntwo").send().await?;
/// assert_eq!(refused.status(), Status::UNPROCESSABLE_CONTENT);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub trait FromRequest<S, Via = ViaRequest>: Sized {
    /// The response when it cannot be made.
    type Rejection: IntoResponse;

    /// Makes it.
    ///
    /// # Errors
    ///
    /// The request does not have what it takes.
    fn from_request(request: Request, state: &S) -> impl Future<Output = Result<Self, Self::Rejection>>;
}

/// The kind of extractors that take the whole request.
#[derive(Debug)]
pub enum ViaRequest {}
/// The kind of extractors that look at the head.
#[derive(Debug)]
pub enum ViaParts {}

impl<S, T: FromRequestParts<S>> FromRequest<S, ViaParts> for T {
    type Rejection = T::Rejection;

    async fn from_request(request: Request, state: &S) -> Result<T, T::Rejection> {
        T::from_request_parts(&request, state)
    }
}

/// A part of a state. Every state that can be cloned is a part of itself.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Router, State, extract::FromRef, get};
///
/// #[derive(Clone)]
/// struct App { name: &'static str, limit: u32 }
///
/// impl FromRef<App> for u32 {
///     fn from_ref(app: &App) -> u32 { app.limit }
/// }
///
/// async fn limit(State(limit): State<u32>) -> String { format!("{limit}") }
/// async fn name(State(app): State<App>) -> &'static str { app.name }
///
/// let router = Router::new().route("/limit", get(limit)).route("/name", get(name));
/// let router: Router = router.with_state(App { name: "shop", limit: 7 });
#[doc = include_str!("../served.md")]
/// assert_eq!(client.get("http://10.0.0.2/limit").send().await?.text().await?, "7");
/// assert_eq!(client.get("http://10.0.0.2/name").send().await?.text().await?, "shop");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub trait FromRef<S> {
    /// The part.
    fn from_ref(state: &S) -> Self;
}

impl<S: Clone> FromRef<S> for S {
    fn from_ref(state: &S) -> S {
        state.clone()
    }
}

/// The state of the router, cloned: usually an `Rc<RefCell<…>>`.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use std::{cell::Cell, rc::Rc};
/// use unikernel_http::{Router, State, get};
///
/// async fn count(State(visits): State<Rc<Cell<u32>>>) -> String {
///     visits.set(visits.get() + 1);
///     format!("visit {}", visits.get())
/// }
///
/// let router: Router = Router::new().route("/", get(count)).with_state(Rc::default());
#[doc = include_str!("../served.md")]
/// assert_eq!(client.get("http://10.0.0.2/").send().await?.text().await?, "visit 1");
/// assert_eq!(client.get("http://10.0.0.2/").send().await?.text().await?, "visit 2");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct State<T>(
    /// The state.
    pub T,
);

impl<S, T: FromRef<S>> FromRequestParts<S> for State<T> {
    type Rejection = Infallible;

    fn from_request_parts(_: &Request, state: &S) -> Result<State<T>, Infallible> {
        Ok(State(T::from_ref(state)))
    }
}

/// A value that a middleware attached with [`Request::set_extension`], cloned.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Extension, Next, Request, Response, Router, from_fn, get};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// async fn who_is_it(mut request: Request, next: Next) -> Response {
///     let name = request.header("X-User").unwrap_or("nobody").to_owned();
///     request.set_extension(User(name));
///     next.run(request).await
/// }
///
/// async fn greet(Extension(User(name)): Extension<User>) -> String { format!("hello, {name}") }
///
/// let router: Router = Router::new().route("/", get(greet)).layer(from_fn(who_is_it));
#[doc = include_str!("../served.md")]
/// assert_eq!(client.get("http://10.0.0.2/").header("X-User", "Ada").send().await?.text().await?, "hello, Ada");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Extension<T>(
    /// The value.
    pub T,
);

impl<S, T: Clone + 'static> FromRequestParts<S> for Extension<T> {
    type Rejection = Response;

    fn from_request_parts(request: &Request, _: &S) -> Result<Extension<T>, Response> {
        let missing =
            || Response::text(Status::INTERNAL_SERVER_ERROR, "the server lacks a middleware for this route\n");
        request.extension().cloned().map(Extension).ok_or_else(missing)
    }
}

impl<S> FromRequestParts<S> for Headers {
    type Rejection = Infallible;

    fn from_request_parts(request: &Request, _: &S) -> Result<Headers, Infallible> {
        Ok(request.headers())
    }
}

impl<S> FromRequestParts<S> for Method {
    type Rejection = Infallible;

    fn from_request_parts(request: &Request, _: &S) -> Result<Method, Infallible> {
        Ok(request.method())
    }
}

impl<S, T: FromRequestParts<S>> FromRequestParts<S> for Option<T> {
    type Rejection = Infallible;

    fn from_request_parts(request: &Request, state: &S) -> Result<Option<T>, Infallible> {
        Ok(T::from_request_parts(request, state).ok())
    }
}

impl<S, T: FromRequestParts<S>> FromRequestParts<S> for Result<T, T::Rejection> {
    type Rejection = Infallible;

    fn from_request_parts(request: &Request, state: &S) -> Result<Result<T, T::Rejection>, Infallible> {
        Ok(T::from_request_parts(request, state))
    }
}
