//! What handlers may return.

use super::{Response, TEXT};
use crate::{Body, BodyError, Status};
use alloc::{borrow::Cow, string::String, vec::Vec};
use bytes::Bytes;
use core::convert::Infallible;

/// A value that is a response, or can be made one.
///
/// Errors of your own become responses, too:
///
/// ```
/// use unikernel_http::{IntoResponse, Response, Status};
///
/// enum Failure { Missing, Broken(String) }
///
/// impl IntoResponse for Failure {
///     fn into_response(self) -> Response {
///         match self {
///             Failure::Missing => Status::NOT_FOUND.into_response(),
///             Failure::Broken(why) => (Status::BAD_GATEWAY, [("Retry-After", "5")], why).into_response(),
///         }
///     }
/// }
///
/// // So handlers may return `Result<impl IntoResponse, Failure>`.
/// let response = Err::<&str, _>(Failure::Broken("no answer".into())).into_response();
/// assert_eq!((response.status(), response.header("Retry-After")), (Status::BAD_GATEWAY, Some(&b"5"[..])));
/// assert_eq!(Err::<&str, _>(Failure::Missing).into_response().status(), Status::NOT_FOUND);
/// assert_eq!(Ok::<_, Failure>("fine").into_response().status(), Status::OK);
/// ```
pub trait IntoResponse {
    /// The response.
    fn into_response(self) -> Response;
}

const BINARY: &str = "Content-Type: application/octet-stream\r\n";
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for Infallible {
    fn into_response(self) -> Response {
        match self {}
    }
}

/// 200 with no content.
impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new(Status::OK, Body::empty())
    }
}

/// The status with no content.
impl IntoResponse for Status {
    fn into_response(self) -> Response {
        Response::new(self, Body::empty())
    }
}

/// A body of no declared type.
impl IntoResponse for Body {
    fn into_response(self) -> Response {
        Response::new(Status::OK, self)
    }
}

macro_rules! with_type {
    ($lines:ident: $($type:ty),*) => {$(
        impl IntoResponse for $type {
            fn into_response(self) -> Response {
                Response::with_lines(Status::OK, $lines, self)
            }
        }
    )*};
}

with_type!(TEXT: &'static str, String);
with_type!(BINARY: &'static [u8], Vec<u8>, Bytes);

impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Response {
        match self {
            Cow::Borrowed(text) => text.into_response(),
            Cow::Owned(text) => text.into_response(),
        }
    }
}

/// The response, with that status.
impl<T: IntoResponse> IntoResponse for (Status, T) {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        response.set_status(self.0);
        response
    }
}

/// The response, with those header fields set. Panics as [`Response::set_header`] does.
impl<T: IntoResponse, const N: usize> IntoResponse for ([(&str, &str); N], T) {
    fn into_response(self) -> Response {
        self.0.iter().fold(self.1.into_response(), |response, (name, value)| response.with_header(name, value))
    }
}

/// The response, with that status and those header fields set.
impl<T: IntoResponse, const N: usize> IntoResponse for (Status, [(&str, &str); N], T) {
    fn into_response(self) -> Response {
        (self.0, (self.1, self.2)).into_response()
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

/// `None` is 404.
impl<T: IntoResponse> IntoResponse for Option<T> {
    fn into_response(self) -> Response {
        self.map_or_else(|| not_found().into_response(), IntoResponse::into_response)
    }
}

pub(crate) fn not_found() -> Response {
    Response::text(Status::NOT_FOUND, "not found\n")
}

/// What went wrong with the request's body.
impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        match self {
            BodyError::TooLarge => {
                Response::text(Status::CONTENT_TOO_LARGE, "the body is longer than this server takes\n")
            }
            BodyError::TimedOut => Response::text(Status::REQUEST_TIMEOUT, "the body did not arrive in time\n"),
            BodyError::Malformed => Response::text(Status::BAD_REQUEST, "the body is not in valid chunks\n"),
            BodyError::Closed => Response::text(Status::BAD_REQUEST, "the body is not complete\n"),
            BodyError::Failed => Status::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Text that is HTML.
///
/// ```
/// use unikernel_http::{Html, IntoResponse};
///
/// let page = Html("<h1>hello</h1>").into_response();
/// assert_eq!(page.header("Content-Type"), Some(&b"text/html; charset=utf-8"[..]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Html<T>(
    /// The page.
    pub T,
);

impl<T: Into<Body>> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        Response::with_lines(Status::OK, HTML, self.0)
    }
}

/// Sends the client elsewhere (RFC 9110, 15.4). The target must be a URL with what is special escaped: a value with
/// a control character is answered with 500.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Redirect, Router, get};
///
/// let router: Router = Router::new()
///     .route("/old", get(async || Redirect::permanent("/new")))
///     .route("/new", get(async || "moved here"));
#[doc = include_str!("../served.md")]
/// let page = client.get("http://10.0.0.2/old").send().await?;
/// assert_eq!(page.url().to_string(), "http://10.0.0.2/new");
/// assert_eq!(page.text().await?, "moved here");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Redirect {
    status: Status,
    target: String,
}

impl Redirect {
    /// 303: read the target with GET. The answer to a form.
    pub fn to(target: impl Into<String>) -> Redirect {
        Redirect { status: Status::SEE_OTHER, target: target.into() }
    }

    /// 307: send the same request to the target, this time.
    pub fn temporary(target: impl Into<String>) -> Redirect {
        Redirect { status: Status::TEMPORARY_REDIRECT, target: target.into() }
    }

    /// 308: send the same request to the target, from now on.
    pub fn permanent(target: impl Into<String>) -> Redirect {
        Redirect { status: Status::PERMANENT_REDIRECT, target: target.into() }
    }
}

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        match response.try_set_header("Location", &self.target) {
            Ok(()) => response,
            Err(_) => Status::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
