//! What the client sends.

use crate::{
    common::{Wire, block_on},
    script::{Servers, Whisper, show},
};
use futures_util::stream;
use std::{cell::RefCell, convert::Infallible, rc::Rc};
use unikernel_http::{
    Body,
    client::{Client, Proxy, RequestBuilder},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// What arrives at the server when `build` makes the request, or the error.
#[track_caller]
fn check(build: impl Fn(&Client) -> RequestBuilder + 'static, expected: &str) {
    check_with(Client::new, build, expected);
}

#[track_caller]
fn check_with(
    client: impl Fn(Servers) -> Client + 'static,
    build: impl Fn(&Client) -> RequestBuilder + 'static,
    expected: &str,
) {
    let expected = expected.replace('\n', "\r\n");
    block_on(async move {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let theirs = seen.clone();
        let client = client(Servers::default().on(async move |wire| record(wire, theirs).await));
        let shown = show(build(&client).send().await).await;
        let seen = String::from_utf8(seen.take()).unwrap();
        let seen = if shown == "200 ok" { seen } else { shown };
        assert_eq!(seen.replace("User-Agent: unikernel-http/0.1.0\r\n", "UA\r\n"), expected);
    });
}

/// Answers when nothing more comes, and keeps what came.
async fn record(mut wire: Wire, seen: Rc<RefCell<Vec<u8>>>) {
    let head = wire.read_until("\r\n\r\n").await;
    seen.borrow_mut().extend(head.bytes());
    if head.contains("Expect") {
        wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    }
    unikernel_rt::time::sleep(unikernel_rt::time::Duration::from_millis(1)).await;
    seen.borrow_mut().extend(wire.take_available().bytes());
    wire.send(OK).await;
}

const DEFAULTS: &str = "UA\nAccept: */*\nAccept-Encoding: gzip, deflate\n";

#[test]
fn methods_and_targets() {
    check(|client| client.get("http://a"), &format!("GET / HTTP/1.1\nHost: a\n{DEFAULTS}\n"));
    check(|client| client.delete("http://A.b:81/x?y#z"), &format!("DELETE /x?y HTTP/1.1\nHost: a.b:81\n{DEFAULTS}\n"));
    check(
        |client| client.request("PROPFIND", "http://[::1]:80/"),
        &format!("PROPFIND / HTTP/1.1\nHost: [::1]\n{DEFAULTS}\n"),
    );
    check(|client| client.post("http://a/"), &format!("POST / HTTP/1.1\nHost: a\n{DEFAULTS}Content-Length: 0\n\n"));
    check(
        |client| client.get("http://a/").header("Host", "other").header("accept", "x/y").raw(),
        "GET / HTTP/1.1\nHost: other\naccept: x/y\n\n",
    );
}

#[test]
fn fields() {
    check(
        |client| client.get("http://a/").header("X", "1").header("X", "2").header("accept", "a/b").basic_auth("u", "p"),
        "GET / HTTP/1.1\nHost: a\nUA\nAccept-Encoding: gzip, deflate\nX: 1\nX: 2\naccept: a/b\nAuthorization: Basic dTpw\n\n",
    );
    check(
        |client| client.post("http://a/").bearer_auth("t").json(&[1, 2]),
        &format!(
            "POST / HTTP/1.1\nHost: a\n{DEFAULTS}Authorization: Bearer t\nContent-Type: application/json\nContent-Length: 5\n\n[1,2]"
        ),
    );
}

#[test]
fn bodies() {
    let pieces = || stream::iter(["ab", "", "cde"].map(Ok::<_, Infallible>));
    check(
        |client| client.put("http://a/").body("text"),
        &format!("PUT / HTTP/1.1\nHost: a\n{DEFAULTS}Content-Length: 4\n\ntext"),
    );
    check(
        move |client| client.post("http://a/").body(Body::from_stream(pieces())),
        &format!("POST / HTTP/1.1\nHost: a\n{DEFAULTS}Transfer-Encoding: chunked\n\n2\nab\n3\ncde\n0\n\n"),
    );
    check(
        move |client| client.post("http://a/").body(Body::from_sized_stream(5, pieces())),
        &format!("POST / HTTP/1.1\nHost: a\n{DEFAULTS}Content-Length: 5\n\nabcde"),
    );
    let large = "x".repeat(5000);
    check(
        |client| {
            client.post("http://a/").body(Body::from_stream(stream::iter([Ok::<_, Infallible>("x".repeat(5000))])))
        },
        &format!("POST / HTTP/1.1\nHost: a\n{DEFAULTS}Transfer-Encoding: chunked\n\n1388\n{large}\n0\n\n"),
    );
    check(
        |client| client.post("http://a/").body("text").expect_continue(),
        &format!("POST / HTTP/1.1\nHost: a\n{DEFAULTS}Content-Length: 4\nExpect: 100-continue\n\ntext"),
    );
    check(
        move |client| client.post("http://a/").body(Body::from_sized_stream(4, pieces())),
        "the body of the request: the body is longer than this server takes",
    );
    check(
        move |client| client.post("http://a/").body(Body::from_sized_stream(6, pieces())),
        "the body of the request: the client went away before the end of the body",
    );
    check(
        |client| client.post("http://a/").body(Body::from_stream(stream::iter([Ok("a"), Err(())]))),
        "the body of the request: the source of the body failed",
    );
}

#[test]
fn what_cannot_be_sent() {
    check(|client| client.get("ftp://a/"), "a URL starts with `http://` or `https://`");
    check(
        |client| client.request("CONNECT", "http://a/"),
        "a method is a word like `GET`; tunnels with CONNECT are the client's own",
    );
    check(
        |client| client.request("GET /x", "http://a/"),
        "a method is a word like `GET`; tunnels with CONNECT are the client's own",
    );
    let value = "a header value is one line without control characters; encode what it carries";
    check(|client| client.get("http://a/").header("X", "a\r\nY: b"), value);
    check(|client| client.get("http://a/").header("X", " a"), value);
    check(|client| client.get("http://a/").header("Host", "a b"), value);
    check(|client| client.get("http://a/").bearer_auth("a\r\nb"), value);
    check(|client| client.get("http://a/").header("X:", "a"), "a header name is made of letters, digits and `-`");
    for own in ["Content-Length", "transfer-encoding", "Connection", "Expect", "Proxy-Authorization", "Upgrade"] {
        check(
            move |client| client.get("http://a/").header(own, "1"),
            "this header is written from the body and the connection; leave it out",
        );
    }
    check(|client| client.get("https://a/"), "this client has no TLS; give it some with `Builder::tls`");
}

fn proxy() -> Proxy {
    Proxy::new("http://proxy:3128").unwrap().basic_auth("me", "secret")
}

#[test]
fn plain_requests_through_a_proxy() {
    check_with(
        |servers| Client::builder(servers).proxy(proxy()).build(),
        |client| client.get("http://a:81/x?y"),
        &format!("GET http://a:81/x?y HTTP/1.1\nHost: a:81\nProxy-Authorization: Basic bWU6c2VjcmV0\n{DEFAULTS}\n"),
    );
}

/// A proxy that answers CONNECT with `answer`, and a server behind it that whispers.
fn tunnel(answer: &'static str) -> String {
    let shown = Rc::new(RefCell::new(String::new()));
    let theirs = shown.clone();
    block_on(async move {
        let servers = Servers::default().on(async move |mut wire| {
            let asked = wire.read_until("\r\n\r\n").await;
            assert_eq!(
                asked,
                "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
            );
            wire.send(answer).await;
            if answer.contains(" 200 ") {
                assert_eq!(wire.read_until("\n").await, "psst a\n");
                wire.send("hush").await;
                let request = wire.read_until("\r\n\r\n").await;
                assert!(
                    request.starts_with("GET /x HTTP/1.1\r\nHost: a\r\n") && !request.contains("Proxy"),
                    "{request}"
                );
                wire.send(OK).await;
            }
        });
        let client = Client::builder(servers.clone()).tls(Whisper).proxy(proxy()).build();
        *theirs.borrow_mut() = show(client.get("https://a/x").send().await).await;
        assert_eq!(servers.targets(), "proxy:3128");
    });
    shown.take()
}

#[test]
fn tunnels_through_a_proxy() {
    for (answer, expected) in [
        ("HTTP/1.1 200 Connected\r\n\r\n", "200 ok"),
        ("HTTP/1.1 102 Wait\r\n\r\nHTTP/1.0 200 Connected\r\nVia: x\r\n\r\n", "200 ok"),
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            "the proxy wants to know who asks; set `Proxy::basic_auth`",
        ),
        ("HTTP/1.1 403 No\r\n\r\n", "the proxy refused to connect: 403 Forbidden"),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "the proxy refused to connect: 302 Found"),
        ("", "the server closed the connection before its response was complete"),
        (
            "garbage\r\n\r\n",
            "this is no HTTP/1.1 response: it does not start with `HTTP/1.1`, a space and a status code",
        ),
    ] {
        assert_eq!(tunnel(answer), expected, "{answer:?}");
    }
}

#[test]
fn a_proxy_that_speaks_for_the_server() {
    block_on(async {
        let servers = Servers::default().on(async |mut wire| {
            wire.read_until("\r\n\r\n").await;
            wire.send("HTTP/1.1 200 Connected\r\n\r\nhush").await;
            wire.read_to_end().await;
        });
        let client = Client::builder(servers).tls(Whisper).proxy(proxy()).build();
        let shown = show(client.get("https://a/").send().await).await;
        assert_eq!(shown, "this is no HTTP/1.1 response: the proxy says more than that the tunnel is there");
    });
}
