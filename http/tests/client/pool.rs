//! Connections that are used again, and those that must not be.

use crate::{
    common::block_on,
    script::{Servers, get, has_request, show},
};
use futures_util::{StreamExt, future::join_all};
use unikernel_http::{
    Body,
    client::{Client, Limits},
};
use unikernel_rt::time::{Duration, Instant, sleep};

const A: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
const OLD: &str = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na";

#[track_caller]
fn check(answer: &'static str, expected: &'static str) {
    block_on(async move {
        let servers = Servers::default().answering(&[answer, answer]).answering(&[answer]);
        let client = Client::new(servers.clone());
        get(&client, "http://a/").await;
        get(&client, "http://a/").await;
        assert_eq!(servers.targets(), expected, "{answer:?}");
    });
}

#[test]
fn which_connections_are_used_again() {
    for answer in [A, CHUNKED, OLD, "HTTP/1.1 204 X\r\n\r\n"] {
        check(answer, "a:80");
    }
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na",
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
    ] {
        check(answer, "a:80 a:80");
    }
}

#[unikernel_rt::test]
async fn another_origin_gets_another_connection() {
    let servers = Servers::default().answering(&[A]).answering(&[A]).answering(&[A]);
    let client = Client::new(servers.clone());
    for url in ["http://a/", "http://b/", "http://a:81/"] {
        assert_eq!(get(&client, url).await, "200 a");
    }
    assert_eq!((servers.targets(), client.connections()), ("a:80 b:80 a:81".into(), (3, 3)));
}

#[unikernel_rt::test]
async fn a_body_that_is_dropped_takes_its_connection_along() {
    let servers = Servers::default()
        .answering(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
        .answering(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"])
        .answering(&[A]);
    let client = Client::new(servers.clone());
    drop(client.get("http://a/").send().await.unwrap());
    let mut response = client.get("http://a/").send().await.unwrap();
    assert_eq!(response.body_mut().next().await.unwrap().unwrap(), "a");
    assert_eq!(client.connections(), (1, 0));
    drop(response);
    assert_eq!(client.connections(), (0, 0));
    assert_eq!(get(&client, "http://a/").await, "200 a");
    assert_eq!(servers.targets(), "a:80 a:80 a:80");
}

#[unikernel_rt::test]
async fn a_request_that_is_dropped_takes_its_connection_along() {
    let servers = Servers::default().on(async |mut wire| drop(wire.read_to_end().await));
    let client = Client::new(servers);
    let request = client.get("http://a/").send();
    assert!(unikernel_rt::time::timeout(Duration::from_secs(1), request).await.is_err());
    assert_eq!(client.connections(), (0, 0));
}

#[unikernel_rt::test]
async fn idle_connections_are_closed_after_a_time() {
    let servers = Servers::default().answering(&[A, A]).answering(&[A]);
    let client = Client::new(servers.clone());
    get(&client, "http://a/").await;
    sleep(Duration::from_secs(44)).await;
    get(&client, "http://a/").await;
    assert_eq!(client.connections(), (1, 1));
    sleep(Duration::from_secs(46)).await;
    assert_eq!(client.connections(), (0, 0));
    assert_eq!(get(&client, "http://a/").await, "200 a");
}

#[unikernel_rt::test]
async fn idle_connections_that_the_server_closes_are_forgotten_at_once() {
    let servers = Servers::default().on(async |mut wire| {
        wire.read_until("\r\n\r\n").await;
        wire.send(A).await;
        sleep(Duration::from_secs(5)).await;
    });
    let client = Client::new(servers);
    get(&client, "http://a/").await;
    sleep(Duration::from_millis(4_999)).await;
    assert_eq!(client.connections(), (1, 1));
    sleep(Duration::from_millis(2)).await;
    assert_eq!(client.connections(), (0, 0));
}

/// The server closes when the second request is on its way, before or after the first byte of the answer.
#[track_caller]
fn check_retry(method: &'static str, is_stream: bool, answer_start: &'static str, expected: &'static str) {
    block_on(async move {
        let servers = Servers::default()
            .on(async move |mut wire| {
                wire.read_until("\r\n\r\n").await;
                wire.send(A).await;
                wire.read_until("\r\n\r\n").await;
                wire.send(answer_start).await;
            })
            .answering(&[A]);
        let client = Client::new(servers);
        get(&client, "http://a/").await;
        let body = match is_stream {
            true => Body::from_stream(futures_util::stream::iter([Ok::<_, ()>("body")])),
            false => Body::from("body"),
        };
        let shown = show(client.request(method, "http://a/").body(body).send().await).await;
        assert_eq!(shown, expected, "{method}, stream: {is_stream}, {answer_start:?}");
    });
}

#[test]
fn which_requests_are_sent_again() {
    const CLOSED: &str = "the server closed the connection before its response was complete";
    check_retry("GET", false, "", "200 a");
    check_retry("PUT", false, "", "200 a");
    check_retry("POST", false, "", CLOSED);
    check_retry("PATCH", false, "", CLOSED);
    check_retry("PUT", true, "", CLOSED);
    check_retry("GET", false, "H", CLOSED);
    check_retry("GET", false, "HTTP/1.1 100 Continue\r\n\r\n", CLOSED);
}

#[unikernel_rt::test]
async fn a_request_is_sent_again_once_only() {
    let dies = async |mut wire: crate::common::Wire| drop(wire.read_until("\r\n\r\n").await);
    let servers = Servers::default().answering(&[A]).on(dies).answering(&[A]);
    let client = Client::new(servers.clone());
    // The first answers once, and then says nothing and is closed by its idle time.
    get(&client, "http://a/").await;
    sleep(Duration::from_secs(60)).await;
    assert!(get(&client, "http://a/").await.starts_with("the server closed"));
    assert_eq!(servers.targets(), "a:80 a:80", "a new connection that dies is an answer");
}

/// Eight requests to a server that takes a second for each; two connections to each server, three in all.
#[unikernel_rt::test]
async fn no_more_connections_than_allowed() {
    let slow = async |mut wire: crate::common::Wire| {
        while has_request(&mut wire).await {
            sleep(Duration::from_secs(1)).await;
            wire.send(A).await;
        }
    };
    let servers = Servers::default().on(slow).on(slow).on(slow).on(slow);
    let limits = Limits { connections_per_host_max: 2, connections_max: 3, ..Limits::default() };
    let client = Client::builder(servers.clone()).limits(limits).build();
    let one_host = join_all((0..6).map(|_| get(&client, "http://a/")));
    assert_eq!(one_host.await, ["200 a"; 6]);
    assert_eq!((servers.targets(), Instant::now()), ("a:80 a:80".into(), Instant::from_millis(3_000)));
    // Idle connections make room for others.
    let hosts = ["http://b/", "http://c/"].map(|url| get(&client, url));
    assert_eq!(join_all(hosts).await, ["200 a"; 2]);
    assert_eq!(client.connections(), (3, 3));
    assert_eq!(servers.targets(), "a:80 a:80 b:80 c:80");
}
