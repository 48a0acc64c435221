//! Servers at a stop of the machine: who is answered, who is cut off, and when they are done.
#![allow(missing_docs)]

mod common;

use common::{Clients, Wire, answers, lossy, port};
use std::future::pending;
use unikernel_http::{Limits, Router, Server, get};
use unikernel_rt::{
    lifecycle,
    metrics::text,
    spawn,
    task::JoinHandle,
    time::{Duration, Instant, sleep},
};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server whose answers take a second, or for ever.
fn server() -> Server {
    let slow = async || {
        sleep(Duration::from_secs(1)).await;
        "slow"
    };
    let never = async || pending::<&str>().await;
    Server::new(Router::new().route("/", get(async || "hi")).route("/slow", get(slow)).route("/never", get(never)))
}

/// Serves on a port; the task's result is the moment it was done.
fn serve(server: &Server) -> (Clients, JoinHandle<u64>) {
    let (clients, port) = port();
    let server = server.clone();
    (
        clients,
        spawn(async move {
            server.serve(port).await;
            millis()
        }),
    )
}

fn millis() -> u64 {
    Instant::now().as_micros() / 1000
}

async fn ask(wire: &mut Wire, path: &str) {
    wire.send(ASK.replacen('/', path, 1)).await;
}

/// What comes until the connection ends, and when that is.
async fn rest(mut wire: Wire) -> (String, u64) {
    (lossy(&wire.read_to_end().await), millis())
}

/// Asks the machine to stop at 1 s.
async fn stop_at_one() {
    sleep(Duration::from_secs(1) - Duration::from_micros(Instant::now().as_micros())).await;
    lifecycle::request_stop();
}

#[unikernel_rt::test]
async fn who_comes_in_time_is_answered_and_who_is_idle_goes() {
    let (clients, done) = serve(&server());
    let (idle, mut late) = (clients.connect().await, clients.connect().await);
    ask(&mut late, "/").await;
    late.read_until("hi").await;
    stop_at_one().await;
    sleep(Duration::from_millis(400)).await;
    ask(&mut late, "/").await;
    let mut new = clients.connect().await;
    ask(&mut new, "/").await;
    for wire in [late, new] {
        let (answer, ended) = rest(wire).await;
        assert_eq!(answers(answer.as_bytes(), &[])[0].header("connection"), Some("close"));
        assert_eq!(ended, 1400);
    }
    assert_eq!(rest(idle).await, (String::new(), 1500));
    assert_eq!(done.await, Some(1500));
}

#[unikernel_rt::test]
async fn a_request_in_flight_is_answered() {
    let (clients, done) = serve(&server());
    let mut wire = clients.connect().await;
    sleep(Duration::from_millis(900)).await;
    ask(&mut wire, "/slow").await;
    stop_at_one().await;
    let (answer, ended) = rest(wire).await;
    assert!(answer.ends_with("slow"), "{answer}");
    assert_eq!((ended, done.await), (1900, Some(1900)));
}

/// Of ten seconds five are for work. Half a second is for those who are on their way, and three quarters of the rest for this.
#[unikernel_rt::test]
async fn a_request_that_is_never_answered_is_cut_off_and_counted() {
    let server = server();
    let (clients, done) = serve(&server);
    let mut wire = clients.connect().await;
    ask(&mut wire, "/never").await;
    stop_at_one().await;
    assert_eq!(rest(wire).await, (String::new(), 1500 + 3375));
    assert_eq!(done.await, Some(1500 + 3375));
    let line = "unikernel_http_requests_total{route=\"/never\",status=\"aborted\"} 1";
    assert!(text().contains(line), "{}", text());
    assert!(text().contains("unikernel_http_requests_in_flight 0"));
    drop(server);
}

#[unikernel_rt::test(args = "stop-timeout=1")]
async fn a_short_time_is_shared() {
    let (clients, done) = serve(&server());
    let mut wire = clients.connect().await;
    ask(&mut wire, "/never").await;
    stop_at_one().await;
    let idle = clients.connect().await;
    // A quarter of the half second, then three quarters of the rest.
    assert_eq!(rest(idle).await, (String::new(), 1125));
    assert_eq!((rest(wire).await.1, done.await), (1406, Some(1406)));
}

#[unikernel_rt::test]
async fn all_ports_of_a_server_linger() {
    let server = server();
    let (first, second) = (serve(&server), serve(&server));
    sleep(Duration::from_millis(1)).await;
    stop_at_one().await;
    sleep(Duration::from_millis(400)).await;
    for clients in [&first.0, &second.0] {
        let mut wire = clients.connect().await;
        ask(&mut wire, "/").await;
        assert!(rest(wire).await.0.ends_with("hi"));
    }
    assert_eq!((first.1.await, second.1.await), (Some(1500), Some(1500)));
}

#[unikernel_rt::test]
async fn a_shutdown_lingers_for_nobody() {
    let server = server();
    let (clients, done) = serve(&server);
    let idle = clients.connect().await;
    sleep(Duration::from_secs(1)).await;
    server.shutdown(Limits::STOP_LINGER).await;
    assert_eq!((rest(idle).await.1, done.await), (1000, Some(1000)));
}
