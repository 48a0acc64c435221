//! What the benchmark asks for, on port 80 and over TLS on port 443: the ordinary router and the ordinary files, and a
//! place to send to.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod received;

use alloc::{collections::BTreeMap, format, string::String};
use futures_util::StreamExt;
use received::Received;
use unikernel_http::{Body, BodyError, Dir, Json, Router, ServeDir, Server, State, get, include_dir, post};
use unikernel_net::Stack;
use unikernel_tls::{Identity, TlsAcceptor};

/// `index.html`, `100k.bin` and `10m.bin`: see `build.rs`.
static SITE: Dir = include_dir!("$OUT_DIR/site");

/// Certificate and key, the same as the other side of the benchmark has.
static CERTIFICATE: &[u8] = include_bytes!("../tls/cert.pem");
static KEY: &[u8] = include_bytes!("../tls/key.pem");

async fn hello() -> &'static str {
    "Hello, World!"
}

/// Takes a body of any length and tells what came.
async fn upload(mut body: Body) -> Result<String, BodyError> {
    let mut received = Received::default();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        received.take(&piece);
    }
    Ok(format!("{} {:016x}\n", received.len, received.sum()))
}

/// For the mixed load, after which nothing may be left.
async fn stats(State(stack): State<Stack>) -> Json<BTreeMap<&'static str, usize>> {
    let heap_in_use = unikernel_rt::heap::stats().in_use;
    Json(BTreeMap::from([("heap_in_use", heap_in_use), ("connections", stack.stats().flows)]))
}

#[unikernel_rt::main]
async fn main(stack: Stack) -> unikernel_rt::Result {
    let router = Router::new().route("/hello", get(hello)).route("/stats", get(stats)).route("/upload", post(upload));
    let router = router.fallback(ServeDir::embedded(&SITE)).with_state(stack.clone());
    let server = Server::new(router);
    let identity = Identity::from_pem_parts(CERTIFICATE, KEY)?;
    let acceptor = TlsAcceptor::builder(identity).alpn(&["http/1.1"]).build()?;
    let tls_listener = stack.listen(443)?;
    let tls_server = server.clone();
    unikernel_rt::spawn(async move { tls_server.serve_tls(tls_listener, acceptor).await });
    server.serve(stack.listen(80)?).await;
    Ok(())
}

#[cfg(test)]
mod tests;
