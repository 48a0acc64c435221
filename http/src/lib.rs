//! An HTTP/1.1 server (RFC 9110, RFC 9112) for unikernels, over any `embedded_io_async` byte stream; and a [`client`].
//!
//! Handlers have axum's shape: [extractors](extract) in, [`IntoResponse`] out.
//!
//! ```
//! # unikernel_rt::sim::run("", async {
//! use unikernel_http::{Json, Path, Router, State, get, serve};
//! use unikernel_net::Stack;
//!
//! async fn greet(State(greeting): State<&'static str>, Path(name): Path<String>) -> Json<String> {
//!     Json(format!("{greeting}, {name}"))
//! }
//!
//! async fn main(stack: Stack) -> unikernel_rt::Result {
//!     let router = Router::new().route("/greet/{name}", get(greet)).with_state("hello");
//!     serve(stack.listen(8080)?, router).await
//! }
//! # let router = unikernel_http::Router::new();
#![doc = include_str!("served.md")]
//! # unikernel_rt::spawn(main(server));
//! # assert_eq!(client.get("http://10.0.0.2:8080/greet/Ada").send().await?.json::<String>().await?, "hello, Ada");
//! # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
//! ```
//!
//! | for | see |
//! |---|---|
//! | which handler answers what | [`Router`], [`MethodRouter`] |
//! | what handlers take | [`extract`]: [`Path`], [`Query`], [`Json`], [`Form`], [`State`] and more |
//! | what they return | [`IntoResponse`], [`Response`], [`Body`], [`Redirect`], [`Sse`] |
//! | code around handlers | [`Middleware`], [`from_fn`], [`Next`], [`Extension`] |
//! | files, of the image or of a disk | [`ServeDir`], [`include_dir!`] |
//! | bounds, and an end in good order | [`Limits`], [`Server`] |
//! | what load balancers and Prometheus ask | [`Health`], [`MetricsPort`] |
//! | asking other servers | [`client::Client`] |
//!
//! Inside, a request takes this way: `connection` (bytes in and out), `parse` (strict, without copying), `router`,
//! `handler`, `response::write`.
//!
//! # What is there
//!
//! Keep-alive and pipelining, HEAD and OPTIONS, `100-continue`, chunks both ways, streaming both ways, server-sent
//! events, limits and time limits, a graceful end, files with preconditions, ranges and compressed forms. Trailers
//! are checked and thrown away. Requests that two parsers could read differently are refused.
//!
//! # What is missing
//!
//! HTTP/2, WebSocket and `CONNECT`: not yet · TLS: with the feature `tls`, see `serve_tls` · compression while serving: no, put
//! `.gz` and `.br` files beside the others · request trailers for handlers: no.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod body;
mod buffer;
mod chunked;
pub mod client;
mod connection;
mod date;
pub mod extract;
mod handler;
mod head;
mod health;
mod incoming;
mod limits;
mod metadata;
mod method;
pub mod metrics;
mod out;
mod parse;
mod percent;
mod request;
mod response;
mod router;
mod serve_dir;
mod server;
mod sse;
mod status;
#[cfg(feature = "tls")]
mod tls;

pub use body::{Body, BodyError};
pub use extract::{Bytes, Extension, Form, Json, Path, Query, State};
pub use handler::{Handler, Reply};
pub use head::Headers;
pub use health::Health;
pub use limits::Limits;
pub use metadata::Metadata;
pub use method::Method;
pub use metrics::MetricsPort;
pub use request::Request;
pub use response::{Html, IntoResponse, InvalidHeader, Redirect, Response};
pub use router::{MethodRouter, Middleware, Next, Router, any, delete, from_fn, get, patch, post, put};
pub use serve_dir::{Dir, ServeDir};
pub use server::{Accept, Server, serve, serve_connection};
pub use sse::{Event, Sse};
pub use status::Status;
#[cfg(feature = "tls")]
pub use tls::serve_tls;
pub use unikernel_http_macros::include_dir;

/// What the macros expand to. Not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::serve_dir::{File, Variant};
}
