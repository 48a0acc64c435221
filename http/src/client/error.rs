//! Why a request failed.

use super::{ConnectError, UrlError};
use crate::{BodyError, InvalidHeader, Status};
use core::fmt;

/// Why there is no response, or not all of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The URL cannot be asked for.
    Url(UrlError),
    /// A header field of the request cannot be sent.
    Header(InvalidHeader),
    /// The method is no token, or is `CONNECT`.
    Method,
    /// The value for `json` cannot be written as JSON.
    Json(serde_json::Error),
    /// There is no connection to the server.
    Connect(ConnectError),
    /// The proxy refused to connect.
    Proxy(Status),
    /// The time for this ran out.
    TimedOut(Phase),
    /// The connection ended before the response did. Whether the server acted on the request is not known.
    Closed,
    /// What the server sent is no valid response; says why.
    Malformed(&'static str),
    /// The body does not fit the memory that was allowed for it.
    TooLarge,
    /// The compressed body is damaged; says how.
    Decode(&'static str),
    /// The response's body is not what was asked for: not UTF-8, or not that JSON.
    Content(alloc::string::String),
    /// The body of the request failed at its source.
    RequestBody(BodyError),
    /// The redirect cannot be followed; says why.
    Redirect(&'static str),
}

/// What a request was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A connection.
    Connect,
    /// The server to take the request.
    Send,
    /// The head of the response.
    Head,
    /// More of the response's body.
    Body,
    /// All of it.
    Total,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(error) => error.fmt(f),
            Error::Header(error) => error.fmt(f),
            Error::Method => f.write_str("a method is a word like `GET`; tunnels with CONNECT are the client's own"),
            Error::Json(error) => write!(f, "the value cannot be written as JSON: {error}"),
            Error::Connect(error) => error.fmt(f),
            Error::Proxy(status) if status.code() == 407 => {
                f.write_str("the proxy wants to know who asks; set `Proxy::basic_auth`")
            }
            Error::Proxy(status) => write!(f, "the proxy refused to connect: {status}"),
            Error::TimedOut(phase) => write!(f, "timed out {phase}"),
            Error::Closed => f.write_str("the server closed the connection before its response was complete"),
            Error::Malformed(reason) => write!(f, "this is no HTTP/1.1 response: {reason}"),
            Error::TooLarge => f.write_str("the body is larger than allowed; read it as a stream or raise the limit"),
            Error::Decode(reason) => write!(f, "the compressed body is damaged: {reason}"),
            Error::Content(reason) => write!(f, "the body is not what was expected: {reason}"),
            Error::RequestBody(error) => write!(f, "the body of the request: {error}"),
            Error::Redirect(reason) => write!(f, "the redirect is not followed: {reason}"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connect => "while connecting",
            Phase::Send => "while sending the request",
            Phase::Head => "while waiting for the response",
            Phase::Body => "while reading the response's body",
            Phase::Total => "with the whole request",
        })
    }
}

impl core::error::Error for Error {}

impl From<UrlError> for Error {
    fn from(error: UrlError) -> Error {
        Error::Url(error)
    }
}

impl From<InvalidHeader> for Error {
    fn from(error: InvalidHeader) -> Error {
        Error::Header(error)
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Error {
        Error::Connect(error)
    }
}
