//! What a server answered.

use super::{Error, ResponseBody, Url, body::text};
use crate::{Headers, Status};
use alloc::{format, string::String};
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// A response: status, header fields, and the body, which is still to be read. Dropping it closes its connection,
/// unless the body was read to its end or there is none.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// # use unikernel_http::{Json, Router, Status, get};
/// # let router: Router = Router::new()
/// #     .route("/temperatures", get(async || Json([19.5, 21.0])))
/// #     .route("/gone", get(async || (Status::GONE, "it is gone")));
#[doc = include_str!("../served.md")]
/// let response = client.get("http://10.0.0.2/temperatures").send().await?;
/// assert_eq!(response.header("Content-Type"), Some("application/json"));
/// let temperatures: Vec<f64> = response.json().await?;
/// assert_eq!(temperatures, [19.5, 21.0]);
///
/// // Every status is a response, unless you ask for an error.
/// let gone = client.get("http://10.0.0.2/gone").send().await?;
/// assert_eq!(gone.status().code(), 410);
/// assert!(gone.error_for_status().is_err());
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Response {
    pub(super) status: Status,
    pub(super) headers: Headers,
    pub(super) url: Url,
    pub(super) body: ResponseBody,
    pub(super) buffered_body_len_max: usize,
}

impl Response {
    /// The status. Every status is a response, not an error: see [`error_for_status`](Self::error_for_status).
    pub fn status(&self) -> Status {
        self.status
    }

    /// The header fields as they were sent; those of a compressed body are those of its compressed form.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The value of the first header field of that name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Where the response came from, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The body, to read piece by piece.
    pub fn body_mut(&mut self) -> &mut ResponseBody {
        &mut self.body
    }

    /// The body, alone.
    pub fn into_body(self) -> ResponseBody {
        self.body
    }

    /// The response, if its status says success.
    ///
    /// # Errors
    ///
    /// The status is 400 or above.
    pub fn error_for_status(self) -> Result<Response, Error> {
        match self.status.code() {
            400.. => Err(Error::Content(format!("the server answered {}", self.status))),
            _ => Ok(self),
        }
    }

    /// The whole body, within [`Limits::buffered_body_len_max`](super::Limits::buffered_body_len_max).
    ///
    /// # Errors
    ///
    /// It is too large, or ends early.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        self.body.collect(self.buffered_body_len_max).await
    }

    /// The whole body as text, which has to be UTF-8.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), or it is not UTF-8.
    pub async fn text(self) -> Result<String, Error> {
        text(self.bytes().await?)
    }

    /// The whole body as JSON, whatever its declared type.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), or it is not the JSON of a `T`.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Content(format!("{error}")))
    }
}
