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
