//! Handshakes that are not over when the machine stops.
#![allow(missing_docs)]

mod common;
#[path = "../../tls/tests/common/pki.rs"]
#[allow(dead_code, missing_docs)]
mod pki;

use common::port;
use pki::Authority;
use unikernel_http::{Router, Server, get};
use unikernel_rt::{
    lifecycle, spawn,
    time::{Duration, Instant, sleep},
};
use unikernel_tls::TlsAcceptor;

fn millis() -> u64 {
    Instant::now().as_micros() / 1000
}

#[unikernel_rt::test]
async fn a_half_open_handshake_does_not_hold_up_a_stop() {
    let acceptor = TlsAcceptor::new(Authority::new("Stop").leaf(&["a"]).identity()).unwrap();
    let server = Server::new(Router::new().route("/", get(async || "hi")));
    let (clients, port) = port();
    let done = spawn(async move {
        server.serve_tls(port, acceptor).await;
        millis()
    });
    let mut silent = clients.connect().await;
    sleep(Duration::from_secs(1)).await;
    lifecycle::request_stop();
    sleep(Duration::from_millis(400)).await;
    let mut new = clients.connect().await;
    assert!(silent.read_to_end().await.is_empty() && new.read_to_end().await.is_empty());
    assert_eq!((millis(), done.await), (1500, Some(1500)));
}
