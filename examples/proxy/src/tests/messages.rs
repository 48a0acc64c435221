//! What is passed on, and how.

use super::{Balance, PROXY, backend, client, start};
use futures_util::{StreamExt, stream};
use std::{cell::Cell, rc::Rc};
use unikernel_http::{Body, Request, Response, Router, Status, any, get, post};
use unikernel_net::{Read, Stack, Write};
use unikernel_rt::time::{Duration, Instant, sleep};

/// What the backend sees, line by line.
async fn mirror(request: Request) -> Response {
    let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut text = format!("{} {}{query}\n", request.method(), request.path());
    for (name, value) in request.headers().iter() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value));
    }
    let body = request.into_body().collect(1000).await.unwrap();
    text += &format!("\n{}", String::from_utf8_lossy(&body));
    Response::new(Status::OK, text)
}

fn both(stack: &Stack, router: impl Fn() -> Router) {
    for port in [8001, 8002] {
        drop(backend(stack, port, router()));
    }
}

/// Sends `request` as it is; what comes back until the proxy closes.
async fn raw(stack: &Stack, request: &str) -> String {
    let mut stream = stack.connect("10.0.0.2:8080".parse().unwrap()).await.unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while let len @ 1.. = stream.read(&mut piece).await.unwrap() {
        all.extend_from_slice(&piece[..len]);
    }
    String::from_utf8(all).unwrap().replace("\r\n", "\n")
}

#[unikernel_rt::test]
async fn requests_as_the_backend_sees_them() {
    let stack = start(Balance::RoundRobin);
    both(&stack, || Router::new().fallback(mirror));
    let way = |host: &str| {
        format!(
            "X-Forwarded-Proto: http\nVia: 1.1 unikernel-proxy\nX-Forwarded-Host: {host}\nX-Forwarded-For: 10.0.0.1\n\
             Forwarded: for=10.0.0.1;host=\"{host}\";proto=http\n"
        )
    };
    for (request, expected) in [
        (
            "GET /a%20b?c HTTP/1.1\nHost: x.example:81\nAccept: a\nAccept: b\nX-Bytes: \u{e9}\nConnection: close\n\n",
            format!(
                "GET /a%20b?c\nHost: x.example:81\nAccept: a\nAccept: b\nX-Bytes: \u{e9}\n{}\n",
                way("x.example:81")
            ),
        ),
        (
            "GET http://y/z HTTP/1.1\nHost: x\nConnection: close, X-Hop\nX-Hop: 1\nTE: trailers\nKeep-Alive: 5\n\
             Upgrade: h2c\nProxy-Authorization: Basic x\nX-Forwarded-For: 1.2.3.4\nForwarded: for=1.2.3.4\n\n",
            format!("GET /z\nHost: y\n{}\n", way("y")),
        ),
        (
            "POST / HTTP/1.1\nHost: x\nContent-Length: 5\nConnection: close\n\nhello",
            format!("POST /\nHost: x\n{}Content-Length: 5\n\nhello", way("x")),
        ),
        (
            "PUT / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nConnection: close\n\n5\nhello\n0\n\n",
            format!("PUT /\nHost: x\n{}Transfer-Encoding: chunked\n\nhello", way("x")),
        ),
        (
            "OPTIONS /x HTTP/1.0\n\n",
            "OPTIONS /x\nHost: 10.0.0.1:8001\nX-Forwarded-Proto: http\nVia: 1.1 unikernel-proxy\n\
             X-Forwarded-For: 10.0.0.1\nForwarded: for=10.0.0.1;proto=http\n\n"
                .into(),
        ),
    ] {
        let answer = raw(&stack, request).await;
        assert_eq!(answer.split_once("\n\n").unwrap().1, expected, "{request}");
    }
    assert!(raw(&stack, "TRACE / HTTP/1.1\nHost: x\nConnection: close\n\n").await.starts_with("HTTP/1.1 405 "));
}

#[unikernel_rt::test]
async fn responses_as_the_client_sees_them() {
    let stack = start(Balance::RoundRobin);
    let answer = async || {
        let mut response = Response::new(Status::new(418).unwrap(), "short");
        for (name, value) in [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Keep-Alive", "x"), ("ETag", "\"e\"")] {
            response.try_add_header(name, value).unwrap();
        }
        response
    };
    let pieces = async || Body::from_stream(stream::iter(["a", "b"].map(Ok::<_, ()>)));
    both(&stack, || Router::new().route("/", any(answer)).route("/pieces", any(pieces)));
    let date = "Date: Thu, 01 Jan 2026 00:00:00 GMT\n";
    let fields = "Set-Cookie: a=1\nSet-Cookie: b=2\nETag: \"e\"\nConnection: close\nContent-Length: 5\n\n";
    for (method, path, expected) in [
        ("GET", "/", format!("HTTP/1.1 418 \n{date}{fields}short")),
        ("HEAD", "/", format!("HTTP/1.1 418 \n{date}{fields}")),
        (
            "GET",
            "/pieces",
            format!("HTTP/1.1 200 OK\n{date}Connection: close\nTransfer-Encoding: chunked\n\n1\na\n1\nb\n0\n\n"),
        ),
        ("HEAD", "/pieces", format!("HTTP/1.1 200 OK\n{date}Connection: close\nTransfer-Encoding: chunked\n\n")),
    ] {
        let answer = raw(&stack, &format!("{method} {path} HTTP/1.1\nHost: x\nConnection: close\n\n")).await;
        assert_eq!(answer, expected, "{method} {path}");
    }
}

/// The backend answers while it reads: the first byte comes back before the last one is sent.
#[unikernel_rt::test]
async fn bodies_stream_both_ways() {
    let stack = start(Balance::RoundRobin);
    both(&stack, || Router::new().route("/echo", post(async |body: Body| body)));
    let sent = Rc::new(Cell::new(0));
    let count = sent.clone();
    let pieces = stream::iter(0..100).then(move |number: u8| {
        let count = count.clone();
        async move {
            sleep(Duration::from_millis(100)).await;
            count.set(count.get() + 1);
            Ok::<_, ()>(vec![number; 10_000])
        }
    });
    let client = client(&stack);
    let mut response = client.post(&format!("{PROXY}/echo")).body(Body::from_stream(pieces)).send().await.unwrap();
    let mut all = Vec::new();
    all.extend_from_slice(&response.body_mut().next().await.unwrap().unwrap());
    assert!(sent.get() < 10, "{} pieces were sent before the first one came back", sent.get());
    while let Some(piece) = response.body_mut().next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    let expected: Vec<u8> = (0..100).flat_map(|number| vec![number; 10_000]).collect();
    assert!(all == expected);
}

/// A client that reads nothing holds the backend back: the proxy's memory takes what is on its way, not the body.
#[unikernel_rt::test]
async fn a_slow_reader_holds_the_backend_back() {
    let stack = start(Balance::RoundRobin);
    let made = Rc::new(Cell::new(0));
    let count = made.clone();
    let endless = move || {
        let count = count.clone();
        let pieces = stream::repeat_with(move || {
            count.set(count.get() + 1);
            Ok::<_, ()>(vec![b'x'; 10_000])
        });
        async move { Body::from_stream(pieces) }
    };
    drop(backend(&stack, 8001, Router::new().route("/", get(endless.clone()))));
    drop(backend(&stack, 8002, Router::new().route("/", get(endless))));
    let response = client(&stack).get(PROXY).send().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let before = made.get();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(made.get(), before, "nothing moves while nobody reads");
    assert!(before * 10_000 < 8 << 20, "{before} pieces are on their way");
    drop(response);
    assert!(Instant::now() < Instant::from_millis(60_000));
}
