//! What becomes of a body: text, JSON, compressed, trailers, too large.

use crate::{
    common::block_on,
    script::{Servers, get},
};
use futures_util::StreamExt;
use unikernel_http::client::{Client, Limits, Response};

/// `printf 'hello, hello, hello' | gzip -n`, gzip 1.12.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\xd7\x51\xc8\x40\xa2\x00\x9f\xa1\xca\x09\x13\x00\x00\x00";

fn server(head: &str, body: &[u8]) -> Servers {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{head}\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    Servers::default().on(async move |mut wire| {
        wire.read_until("\r\n\r\n").await;
        wire.send(answer).await;
        wire.read_to_end().await;
    })
}

#[track_caller]
fn check(head: &'static str, body: &'static [u8], expected: &'static str) {
    block_on(async move {
        let client = Client::new(server(head, body));
        assert_eq!(get(&client, "http://a/").await, expected);
    });
}

#[test]
fn text_and_compressed_text() {
    check("", "grüezi".as_bytes(), "200 grüezi");
    check("", b"\xff", "200, then: the body is not what was expected: it is not UTF-8");
    check("Content-Encoding: gzip\r\n", GZIP, "200 hello, hello, hello");
    check("Content-Encoding: identity\r\n", b"plain", "200 plain");
    check("Content-Encoding: br\r\n", b"not decoded", "200 not decoded");
    check("Content-Encoding: gzip\r\n", b"", "200 ");
    let damaged = "200, then: the compressed body is damaged: it does not start as gzip does";
    check("Content-Encoding: gzip\r\n", b"no gzip", damaged);
    check("Content-Encoding: gzip\r\n", &GZIP[..20], "200, then: the compressed body is damaged: its end is missing");
}

#[unikernel_rt::test]
async fn a_compressed_body_leaves_its_connection_usable() {
    let client = Client::new(server("Content-Encoding: gzip\r\n", GZIP));
    let response = client.get("http://a/").send().await.unwrap();
    assert_eq!((response.header("content-encoding"), response.header("Content-Length")), (Some("gzip"), Some("29")));
    assert_eq!(response.bytes().await.unwrap(), "hello, hello, hello");
    assert_eq!(client.connections(), (1, 1));
}

#[unikernel_rt::test]
async fn who_asks_for_an_encoding_gets_it_as_it_is() {
    for raw in [true, false] {
        let client = Client::new(server("Content-Encoding: gzip\r\n", GZIP));
        let request = client.get("http://a/");
        let request = if raw { request.raw() } else { request.header("Accept-Encoding", "gzip") };
        let response = request.send().await.unwrap();
        assert_eq!((response.bytes().await.unwrap(), client.connections()), (GZIP.into(), (1, 1)));
    }
}

#[unikernel_rt::test]
async fn json_and_what_is_none() {
    for (body, expected) in
        [(&b"[1,2,3]"[..], "Ok([1, 2, 3])"), (b"[1", "Err(Content(\"EOF while parsing a list at line 1 column 2\"))")]
    {
        let client = Client::new(server("", body));
        let parsed = client.get("http://a/").send().await.unwrap().json::<Vec<u8>>().await;
        assert_eq!(format!("{parsed:?}"), expected);
    }
}

#[unikernel_rt::test]
async fn bodies_beyond_the_bound() {
    let limits = Limits { buffered_body_len_max: 10, ..Limits::default() };
    for (answer, expected) in [
        ("Content-Length: 10\r\n\r\n0123456789", "200 0123456789"),
        (
            "Content-Length: 11\r\n\r\n",
            "200, then: the body is larger than allowed; read it as a stream or raise the limit",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n01234\r\n",
            "200, then: the body is larger than allowed; read it as a stream or raise the limit",
        ),
    ] {
        let servers = Servers::default().answering(&[&format!("HTTP/1.1 200 OK\r\n{answer}")]);
        let client = Client::builder(servers).limits(limits.clone()).build();
        assert_eq!(get(&client, "http://a/").await, expected);
    }
}

#[unikernel_rt::test]
async fn trailers_come_after_the_body() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nDigest:  abc \r\nX:\r\n\r\n";
    let client = Client::new(Servers::default().answering(&[answer]));
    let mut response = client.get("http://a/").send().await.unwrap();
    let body = response.body_mut();
    assert_eq!(body.trailers().count(), 0);
    assert_eq!(body.next().await.unwrap().unwrap(), "a");
    assert!(body.next().await.is_none() && body.next().await.is_none());
    assert_eq!(body.trailers().collect::<Vec<_>>(), [("Digest", &b"abc"[..]), ("X", b"")]);
    assert_eq!(client.connections(), (1, 1));
}

#[unikernel_rt::test]
async fn statuses_are_responses_until_they_are_asked() {
    for (code, expected) in [
        (200, "Ok(200)"),
        (304, "Ok(304)"),
        (404, "Err(\"the body is not what was expected: the server answered 404 Not Found\")"),
    ] {
        let answer = format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n");
        let client = Client::new(Servers::default().answering(&[&answer]));
        let response = client.get("http://a/").send().await.unwrap();
        let checked = response.error_for_status().map(|response: Response| response.status().code());
        assert_eq!(format!("{:?}", checked.map_err(|error| error.to_string())), expected);
    }
}
