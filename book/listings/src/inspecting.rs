//! Listings of the page "Looking inside".

use unikernel_http::{Router, get, serve};
use unikernel_inspect::Inspect;
use unikernel_net::Stack;
use unikernel_tls::TlsAcceptor;

/// A server that one may look into.
// ANCHOR: open
pub async fn app(stack: Stack, inspect: Inspect) -> unikernel_rt::Result {
    inspect.open(&stack)?;
    serve(stack.listen(8080)?, Router::new().route("/", get(async || "hello"))).await
}
// ANCHOR_END: open

/// The same over TLS.
// ANCHOR: tls
pub fn with_certificates(stack: &Stack, inspect: Inspect, acceptor: TlsAcceptor) -> unikernel_rt::Result {
    // With `ClientCertificates::Required` in the acceptor no key is needed.
    inspect.open_tls(stack, acceptor)
}
// ANCHOR_END: tls
