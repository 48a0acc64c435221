//! Connections over time: keep-alive, slow clients, limits, streams, and the end. All in virtual time.
#![allow(missing_docs)]

mod common;

use common::{Wire, answers, exchange, start, start_with, wires};
use futures_util::{StreamExt, stream};
use std::{cell::Cell, convert::Infallible, rc::Rc};
use unikernel_http::{Body, Bytes, Event, Limits, Response, Router, Server, Sse, get, post};
use unikernel_rt::{
    spawn,
    time::{Duration, Instant, sleep},
};

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

fn router() -> Router {
    Router::new()
        .route("/hello", get(async || "Hello, World!"))
        .route("/echo", post(async |body: Body| body))
        .route("/length", post(async |body: Bytes| format!("{}", body.len())))
        .route("/ignore", post(async || "ignored"))
        .route("/slow", get(async || sleep(Duration::from_secs(100)).await))
        .route("/ticks", get(async || Body::from_stream(ticks())))
        .route("/sized", get(async || Body::from_sized_stream(10, ticks())))
        .route("/short", get(async || Body::from_sized_stream(99, ticks())))
        .route("/fails", get(async || Body::from_stream(stream::iter([Ok("a"), Err(()), Ok("b")]))))
        .route("/events", get(async || Sse::new(ticks().take(2).map(|_| Event::data("tick")))))
        .route("/big", get(async || Bytes::from(vec![b'x'; 1 << 20])))
}

/// Six pieces, one a second.
fn ticks() -> impl futures_util::Stream<Item = Result<&'static str, Infallible>> {
    stream::iter(["one", "two", "", "three", "four", "five"]).then(async |text| {
        sleep(Duration::from_secs(1)).await;
        Ok(text)
    })
}

fn server() -> Server {
    Server::new(router())
}

async fn next(client: &mut Wire) -> String {
    let head = client.read_until("\r\n\r\n").await;
    let length =
        head.split("Content-Length: ").nth(1).map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
    let mut body = String::new();
    for _ in 0..length {
        let mut byte = [0];
        embedded_io_async::Read::read(client, &mut byte).await.unwrap();
        body.push(byte[0] as char);
    }
    format!("{} {body}", &head[9..12])
}

#[unikernel_rt::test]
async fn a_connection_is_used_again_until_it_is_idle_too_long() {
    let (mut client, _) = start(&server());
    for _ in 0..3 {
        client.send(HELLO).await;
        assert_eq!(next(&mut client).await, "200 Hello, World!");
        sleep(Duration::from_secs(74)).await;
    }
    assert_eq!(client.read_to_end().await, b"", "no 408 for a client that asks for nothing");
    assert_eq!(Instant::now(), Instant::from_millis(3 * 74_000 + 1_000));
}

#[unikernel_rt::test]
async fn a_request_in_pieces_of_every_size() {
    let input = format!(
        "{HELLO}POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{HELLO}"
    );
    let whole = exchange(router(), &input).await;
    for step in 1..=input.len() {
        let (mut client, _) = start(&server());
        for piece in input.as_bytes().chunks(step) {
            client.send(piece).await;
            sleep(Duration::from_micros(1)).await;
        }
        client.finish();
        let pieces = client.read_to_end().await;
        assert_eq!(answers(&pieces, &[]).len(), 3);
        assert_eq!(bodies(&pieces), bodies(&whole), "in steps of {step}");
    }
}

fn bodies(bytes: &[u8]) -> Vec<String> {
    answers(bytes, &[]).iter().map(|answer| answer.text()).collect()
}

#[unikernel_rt::test]
async fn a_head_that_trickles_in_is_given_up() {
    let (mut client, _) = start(&server());
    client.send("GET /hello HT").await;
    let reading = spawn(async move {
        // The time runs from the first byte, whatever follows.
        sleep(Duration::from_secs(9)).await;
        client.send("T").await;
        let answer = answers(&client.read_to_end().await, &[]).remove(0);
        (answer.status, answer.header("connection").map(String::from))
    });
    assert_eq!(reading.await, Some((408, Some("close".into()))));
    assert_eq!(Instant::now(), Instant::from_millis(10_000));
}

#[unikernel_rt::test]
async fn a_client_of_one_byte_a_second_is_served_within_the_limits() {
    let limits = Limits { head_timeout: Duration::from_secs(60), ..Limits::default() };
    let (mut client, _) = start(&Server::with_limits(router(), limits));
    for byte in HELLO.as_bytes() {
        client.send([*byte]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(next(&mut client).await, "200 Hello, World!");
}

#[unikernel_rt::test]
async fn a_body_that_stops_is_answered_with_408() {
    let (mut client, _) = start(&server());
    client.send("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc").await;
    let answer = answers(&client.read_to_end().await, &[]).remove(0);
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert_eq!(Instant::now(), Instant::from_millis(30_000));
}

#[unikernel_rt::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let (mut client, served) = start_with(&server(), 100);
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.await;
    assert_eq!(Instant::now(), Instant::from_millis(30_000));
    drop(client);
}

#[unikernel_rt::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let (mut client, _) = start_with(&server(), 64 * 1024);
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut all = Vec::new();
    let mut piece = [0; 32 * 1024];
    while all.len() < 1 << 20 {
        sleep(Duration::from_secs(20)).await;
        let len = embedded_io_async::Read::read(&mut client, &mut piece).await.unwrap();
        all.extend_from_slice(&piece[..len]);
    }
    client.finish();
    all.extend(client.read_to_end().await);
    assert_eq!(answers(&all, &[])[0].body.len(), 1 << 20);
}

#[unikernel_rt::test]
async fn the_client_is_asked_to_go_on_when_the_body_is_wanted() {
    let (mut client, _) = start(&server());
    client.send("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n").await;
    assert_eq!(client.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert_eq!(next(&mut client).await, "200 3");
    client.send(HELLO).await;
    assert_eq!(next(&mut client).await, "200 Hello, World!");
}

#[unikernel_rt::test]
async fn the_client_is_asked_to_go_on_when_the_response_is_made_of_its_body() {
    let (mut client, _) = start(&server());
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert_eq!(next(&mut client).await, "200 abc");
    client.send(HELLO).await;
    assert_eq!(next(&mut client).await, "200 Hello, World!");
}

#[unikernel_rt::test]
async fn the_client_is_not_asked_when_nobody_wants_the_body() {
    let (mut client, _) = start(&server());
    client.send("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").await;
    let answer = answers(&client.read_to_end().await, &[]).remove(0);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
}

#[unikernel_rt::test]
async fn a_body_that_nobody_reads_is_read_over() {
    let (mut client, _) = start(&server());
    client
        .send(format!("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(1000)))
        .await;
    assert_eq!(next(&mut client).await, "200 ignored");
    client.send("x".repeat(99_000)).await;
    client.send(HELLO).await;
    assert_eq!(next(&mut client).await, "200 Hello, World!");
    client.send("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n").await;
    let answer = answers(&client.read_to_end().await, &[]).remove(0);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "too much to read over");
}

#[unikernel_rt::test]
async fn an_upload_is_echoed_while_it_comes() {
    let (mut client, _) = start_with(&server(), 4096);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    assert!(client.read_until("first").await.contains("Transfer-Encoding: chunked"));
    client.send("6\r\nsecond\r\n").await;
    client.read_until("second").await;
    client.send("0\r\n\r\n").await;
    client.read_until("0\r\n\r\n").await;
    client.send(HELLO).await;
    assert_eq!(next(&mut client).await, "200 Hello, World!");
}

#[unikernel_rt::test]
async fn a_large_upload_comes_back_unchanged() {
    let (mut client, theirs) = wires(10_000);
    spawn(async move { server().serve_connection(theirs).await });
    let body: Vec<u8> = (0..3_000_000u32).map(|number| (number * 7 / 3) as u8).collect();
    let (mut received, expected) = (Vec::new(), body.clone());
    let mut sent = 0;
    client
        .send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()))
        .await;
    while sent < body.len() {
        let end = body.len().min(sent + 5_000);
        client.send(&body[sent..end]).await;
        sent = end;
        let mut piece = [0; 10_000];
        let len = embedded_io_async::Read::read(&mut client, &mut piece).await.unwrap();
        received.extend_from_slice(&piece[..len]);
    }
    received.extend(client.read_to_end().await);
    assert!(answers(&received, &[])[0].body == expected);
}

#[unikernel_rt::test]
async fn streams_are_sent_as_they_come() {
    let (mut client, _) = start(&server());
    client.send("GET /ticks HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until("3\r\none\r\n").await;
    assert_eq!(Instant::now(), Instant::from_millis(1_000));
    assert_eq!(client.read_until("0\r\n\r\n").await, "3\r\ntwo\r\n5\r\nthree\r\n4\r\nfour\r\n4\r\nfive\r\n0\r\n\r\n");
    for (path, status, body, ends) in [
        ("sized", 200, "onetwothre", false),
        ("events", 200, "data: tick\n\ndata: tick\n\n", false),
        ("ticks", 200, "onetwothreefourfive", false),
    ] {
        client.send(format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        sleep(Duration::from_secs(10)).await;
        let answer = answers(client.take_available().as_bytes(), &[]).remove(0);
        assert_eq!((answer.status, &*answer.text()), (status, body), "{path}");
        assert_eq!(answer.header("connection").is_some(), ends);
    }
}

#[unikernel_rt::test]
async fn http_10_has_no_chunks() {
    let bytes = exchange(router(), "GET /ticks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    let answer = answers(&bytes, &[]).remove(0);
    assert_eq!((answer.header("connection"), &*answer.text()), (Some("close"), "onetwothreefourfive"));
}

#[unikernel_rt::test]
async fn a_response_that_breaks_off_is_seen_as_incomplete() {
    let bytes = exchange(router(), format!("GET /fails HTTP/1.1\r\nHost: a\r\n\r\n{HELLO}")).await;
    assert!(bytes.ends_with(b"1\r\na\r\n"), "no end of the chunks, and nothing after it");
    let bytes = exchange(router(), format!("GET /short HTTP/1.1\r\nHost: a\r\n\r\n{HELLO}")).await;
    assert!(bytes.ends_with(b"onetwothreefourfive"));
}

#[unikernel_rt::test]
async fn silence_in_a_stream_of_events_is_filled_with_comments() {
    let router = Router::new().route("/", get(async || Sse::new(stream::pending())));
    let (mut client, served) = start(&Server::new(router));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until("\r\n\r\n3\r\n:\n\n\r\n3\r\n:\n\n\r\n").await;
    assert_eq!(Instant::now(), Instant::from_millis(30_000));
    assert!(!served.is_finished());
}

#[unikernel_rt::test]
async fn head_is_get_without_the_body() {
    let mut input = String::new();
    for path in ["hello", "ticks", "sized", "nope"] {
        input += &format!("HEAD /{path} HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let all = answers(&exchange(router(), input + HELLO).await, &[0, 1, 2, 3]);
    let framing: Vec<_> = all.iter().map(|answer| (answer.status, answer.header("content-length"))).collect();
    assert_eq!(framing, [(200, Some("13")), (200, None), (200, Some("10")), (404, Some("10")), (200, Some("13"))]);
}

#[unikernel_rt::test]
async fn earlier_responses_do_not_wait_for_a_slow_one() {
    let (mut client, _) = start(&server());
    client.send(format!("{HELLO}GET /slow HTTP/1.1\r\nHost: a\r\n\r\n{HELLO}")).await;
    assert_eq!(next(&mut client).await, "200 Hello, World!");
    assert_eq!(Instant::now(), Instant::from_micros(0));
    assert_eq!(next(&mut client).await, "200 ");
    assert_eq!(Instant::now(), Instant::from_millis(100_000), "a handler may take its time");
    assert_eq!(next(&mut client).await, "200 Hello, World!");
}

#[unikernel_rt::test]
async fn a_stop_lets_requests_finish_and_closes_idle_connections() {
    let server = server();
    let (mut idle, _) = start(&server);
    idle.send(HELLO).await;
    next(&mut idle).await;
    let (mut busy, _) = start(&server);
    busy.send("GET /ticks HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut asking, _) = start(&server);
    asking.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(server.connections(), 3);
    let stopping = {
        let server = server.clone();
        spawn(async move { server.shutdown(Duration::from_secs(1000)).await })
    };
    assert_eq!(idle.read_to_end().await, b"");
    assert_eq!(Instant::now().as_micros(), 1_000);
    assert_eq!(answers(&busy.read_to_end().await, &[])[0].text(), "onetwothreefourfive");
    let last = answers(&asking.read_to_end().await, &[]).remove(0);
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    stopping.await;
    assert_eq!((Instant::now(), server.connections()), (Instant::from_millis(100_000), 0));
}

#[unikernel_rt::test]
async fn a_stop_cuts_off_what_takes_too_long() {
    let server = server();
    let (mut client, theirs) = wires(1000);
    let serving = {
        let server = server.clone();
        spawn(async move { server.serve(OneConnection(Some(theirs))).await })
    };
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    server.shutdown(Duration::from_secs(5)).await;
    assert_eq!(client.read_to_end().await, b"");
    assert_eq!(serving.await, Some(()));
    assert_eq!((Instant::now(), server.connections()), (Instant::from_millis(6_000), 0));
}

/// A listener for one client.
struct OneConnection(Option<Wire>);

impl unikernel_http::Accept for OneConnection {
    type Stream = Wire;

    async fn accept(&mut self) -> Wire {
        match self.0.take() {
            Some(wire) => wire,
            None => std::future::pending().await,
        }
    }
}

#[unikernel_rt::test]
async fn a_client_that_dies_leaves_nothing() {
    let server = server();
    for request in [
        "",
        "GET /he",
        HELLO,
        "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
        "GET /events HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let (mut client, served) = start(&server);
        client.send(request).await;
        sleep(Duration::from_millis(1)).await;
        drop(client);
        served.await;
    }
    assert_eq!(server.connections(), 0);
}

#[unikernel_rt::test]
async fn a_handler_may_keep_its_request() {
    let kept = Rc::new(Cell::new(None));
    let router = Router::new().route(
        "/{name}",
        get({
            let kept = kept.clone();
            move |request: unikernel_http::Request| {
                let before: Option<unikernel_http::Request> = kept.replace(Some(request));
                async move { before.map(|request| format!("{:?}", request.param("name").unwrap())).unwrap_or_default() }
            }
        }),
    );
    let input: String = ["a", "b", "c"].iter().map(|name| format!("GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    assert_eq!(bodies(&exchange(router, input).await), ["", "\"a\"", "\"b\""]);
}

#[unikernel_rt::test]
async fn the_date_follows_the_clock() {
    let (mut client, _) = start(&server());
    for (wait, expected) in [(0, "00:00:00"), (400, "00:00:00"), (599, "00:00:00"), (1, "00:00:01"), (1500, "00:00:02")]
    {
        sleep(Duration::from_millis(wait)).await;
        client.send(HELLO).await;
        let head = client.read_until("\r\n\r\n").await;
        assert!(head.contains(&format!("Date: Thu, 01 Jan 2026 {expected} GMT\r\n")), "{head}");
        client.read_until("World!").await;
    }
}

/// 10,000 idle connections have to fit a small machine: this is what each costs beside its TCP state.
#[unikernel_rt::test]
async fn an_idle_connection_is_small() {
    let server = server();
    let (_client, theirs) = wires(10);
    let size = std::mem::size_of_val(&server.serve_connection(theirs));
    assert!(size <= 1024, "the future of a connection has {size} bytes");
}

#[unikernel_rt::test]
async fn the_text_of_a_response() {
    async fn teapot() -> Response {
        Response::new(unikernel_http::Status::new(418).unwrap(), "short and stout").with_header("X-Handle", "yes")
    }
    let bytes = exchange(Router::new().route("/", get(teapot)), "GET / HTTP/1.0\r\n\r\n").await;
    let expected = "HTTP/1.1 418 \r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nX-Handle: yes\r\nConnection: close\r\nContent-Length: 15\r\n\r\nshort and stout";
    assert_eq!(common::lossy(&bytes), expected);
}
