//! An HTTP/1.1 server (RFC 9110, RFC 9112) for unikernels, over any `embedded_io_async` byte stream.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod body;
mod buffer;
mod chunked;
mod connection;
mod date;
pub mod extract;
mod handler;
mod head;
mod incoming;
mod limits;
mod method;
mod parse;
mod percent;
mod request;
mod response;
mod router;
mod serve_dir;
mod server;
mod sse;
mod status;

pub use body::{Body, BodyError};
pub use extract::{Bytes, Extension, Form, Json, Path, Query, State};
pub use handler::{Handler, Reply};
pub use head::Headers;
pub use limits::Limits;
pub use method::Method;
pub use request::Request;
pub use response::{Html, IntoResponse, InvalidHeader, Redirect, Response};
pub use router::{MethodRouter, Next, Router, any, delete, from_fn, get, patch, post, put};
pub use serve_dir::{Dir, ServeDir};
pub use server::{Accept, Server, serve, serve_connection};
pub use sse::{Event, Sse};
pub use status::Status;
pub use unikernel_http_macros::include_dir;

/// What the macros expand to. Not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::serve_dir::{File, Variant};
}
