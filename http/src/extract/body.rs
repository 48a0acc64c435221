//! Extractors that take the body.

use super::{FromRequest, value::from_pairs};
use crate::{Body, BodyError, Request, Response, Status};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::convert::Infallible;
use serde::de::DeserializeOwned;

impl<S> FromRequest<S> for Request {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Request, Infallible> {
        Ok(request)
    }
}

impl<S> FromRequest<S> for Body {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Body, Infallible> {
        Ok(request.into_body())
    }
}

impl<S> FromRequest<S> for Bytes {
    type Rejection = BodyError;

    async fn from_request(request: Request, _: &S) -> Result<Bytes, BodyError> {
        collect(request).await
    }
}

impl<S> FromRequest<S> for Vec<u8> {
    type Rejection = BodyError;

    async fn from_request(request: Request, _: &S) -> Result<Vec<u8>, BodyError> {
        collect(request).await.map(Vec::from)
    }
}

/// Refuses what is no UTF-8 with 400.
impl<S> FromRequest<S> for String {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<String, Response> {
        let bytes = collect(request).await.map_err(crate::IntoResponse::into_response)?;
        String::from_utf8(bytes.into()).map_err(|_| Response::text(Status::BAD_REQUEST, "the body is not UTF-8\n"))
    }
}

/// The body in memory, within the limit of the server.
pub(super) async fn collect(request: Request) -> Result<Bytes, BodyError> {
    let len_max = request.head.buffered_body_len_max;
    request.into_body().collect(len_max).await
}

/// Whether the Content-Type is one of the `accepted`, whatever its parameters are.
pub(super) fn has_type(request: &Request, accepted: impl Fn(&str) -> bool) -> bool {
    let essence = request.header("content-type").and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| accepted(&essence.trim().to_ascii_lowercase()))
}

/// A form: the body as `application/x-www-form-urlencoded`, or the query of GET and HEAD, parsed into `T`.
///
/// Refuses another Content-Type with 415, and fields that are missing or do not parse with 422.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use serde::Deserialize;
/// use unikernel_http::{Form, Router, post};
///
/// #[derive(Deserialize)]
/// struct Entry { name: String, text: String }
///
/// async fn sign(Form(entry): Form<Entry>) -> String { format!("{} writes: {}", entry.name, entry.text) }
///
/// let router: Router = Router::new().route("/guests", post(sign));
#[doc = include_str!("../served.md")]
/// let request = client.post("http://10.0.0.2/guests").header("Content-Type", "application/x-www-form-urlencoded");
/// let answer = request.body("name=Ada&text=hello+there%21").send().await?;
/// assert_eq!(answer.text().await?, "Ada writes: hello there!");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Form<T>(
    /// The fields.
    pub T,
);

impl<S, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Form<T>, Response> {
        use crate::{IntoResponse, Method};
        if matches!(request.method(), Method::Get | Method::Head) {
            let query = request.query().unwrap_or("");
            return from_pairs(query.as_bytes()).map(Form).map_err(|error| error.refusal(Status::BAD_REQUEST));
        }
        if !has_type(&request, |kind| kind == "application/x-www-form-urlencoded") {
            let text = "send the form with `Content-Type: application/x-www-form-urlencoded`\n";
            return Err(Response::text(Status::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let bytes = collect(request).await.map_err(IntoResponse::into_response)?;
        from_pairs(&bytes).map(Form).map_err(|error| error.refusal(Status::UNPROCESSABLE_CONTENT))
    }
}
