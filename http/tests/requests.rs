//! Requests and their answers: every status the server gives by itself.
#![allow(missing_docs)]

mod common;

use common::{answers, block_on, exchange_with, lossy};
use std::fmt::Write as _;
use unikernel_http::{Body, Limits, Router, Server, get, post};

fn router() -> Router {
    Router::new()
        .route("/hello", get(async || "Hello, World!"))
        .route("/echo", post(async |body: Body| body))
        .route("/length", post(async |body: String| format!("{}", body.len())))
}

fn limits() -> Limits {
    Limits {
        head_len_max: 1024,
        uri_len_max: 512,
        fields_max: 8,
        buffered_body_len_max: 100,
        body_len_max: 1000,
        ..Limits::default()
    }
}

/// "STATUS BODY|STATUS BODY…", with the reasons of refusals left out.
async fn summary(input: Vec<u8>) -> String {
    let bytes = exchange_with(&Server::with_limits(router(), limits()), input).await;
    let mut text = String::new();
    for answer in answers(&bytes, &[]) {
        let body = if answer.status == 200 { format!(" {}", answer.text()) } else { String::new() };
        let allow = answer.header("allow").map(|allow| format!(" ({allow})")).unwrap_or_default();
        let separator = if text.is_empty() { "" } else { "|" };
        write!(text, "{separator}{}{allow}{body}", answer.status).unwrap();
    }
    text
}

#[track_caller]
fn check(input: impl Into<Vec<u8>>, expected: &str) {
    let (input, expected) = (input.into(), expected.to_owned());
    block_on(async move { assert_eq!(summary(input.clone()).await, expected, "{:?}", lossy(&input)) });
}

/// A request with these header lines; the next request must be answered, or must not when the first is refused.
#[track_caller]
fn check_head(line: &str, fields: &[&str], expected: &str) {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    check(format!("{line}\r\n{fields}\r\n"), expected);
}

const HELLO: &str = "200 Hello, World!";

#[test]
fn good_requests() {
    check("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", HELLO);
    check("\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n", HELLO);
    check("GET /hello HTTP/1.0\r\n\r\n", HELLO);
    check_head("GET /hello HTTP/1.9", &["hOST:a:80\t "], HELLO);
    check_head("GET /hello?a=b?c HTTP/1.1", &["Host:"], HELLO);
    check_head("GET /%68ello HTTP/1.1", &["Host: [::1]:80"], HELLO);
    check_head("GET http://a/hello HTTP/1.1", &["Host: b"], HELLO);
    check_head("GET HTTPS://a:80/hello?x HTTP/1.1", &["Host: b"], HELLO);
    check_head("GET http://a HTTP/1.1", &["Host: a"], "404");
    check_head("GET /hello HTTP/1.1", &["Host: a", "X: \t a\tb\u{e9} ", "Y:", "z.!#$%&'*+-^_`|~0: 1"], HELLO);
    check_head("GET /hello HTTP/1.1", &["Host: a", "Content-Length: 0"], HELLO);
    check_head("OPTIONS /hello HTTP/1.1", &["Host: a"], "204 (GET, HEAD, OPTIONS)");
    check_head("OPTIONS * HTTP/1.1", &["Host: a"], "204 (GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS)");
    check("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", "200 abcde");
    check("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", "200 5");
    check(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: x\r\n\r\n",
        "200 abc",
    );
}

#[test]
fn pipelined_requests() {
    let hello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n";
    check(hello.repeat(3), &[HELLO; 3].join("|"));
    check(
        format!("{post}{hello}{chunked}{hello}\r\n{post}"),
        "200 ab|200 Hello, World!|200 z|200 Hello, World!|200 ab",
    );
    check(format!("POST /nope{}{hello}", &chunked[10..]), "404|200 Hello, World!");
    check(format!("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n{hello}"), HELLO);
    check(format!("GET /hello HTTP/1.0\r\n\r\n{hello}"), HELLO);
    check(
        format!("GET /hello HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n{hello}"),
        "200 Hello, World!|200 Hello, World!",
    );
    check(format!("GET /hello HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n{hello}"), HELLO);
}

#[test]
fn wrong_paths_and_methods() {
    check_head("GET /nope HTTP/1.1", &["Host: a"], "404");
    check_head("GET /%zz HTTP/1.1", &["Host: a"], "400");
    check_head("POST /hello HTTP/1.1", &["Host: a"], "405 (GET, HEAD, OPTIONS)");
    check_head("TRACE /hello HTTP/1.1", &["Host: a"], "405 (GET, HEAD, OPTIONS)");
    check_head("GET /echo HTTP/1.1", &["Host: a"], "405 (POST, OPTIONS)");
    for method in ["BREW", "get", "CONNECT", "PRI", "PROPFIND"] {
        check_head(&format!("{method} /hello HTTP/1.1"), &["Host: a"], "501");
    }
    check(format!("{} /hello", "X".repeat(33)), "501");
}

#[test]
fn wrong_request_lines() {
    for line in [
        "GET /hello",
        "GET  /hello HTTP/1.1",
        "GET /hello  HTTP/1.1",
        "GET /hello HTTP/1.1 ",
        " GET /hello HTTP/1.1",
        "GET /hello HTTP/11",
        "GET /hello http/1.1",
        "GET /hello HTTP/1.1.1",
        "GET /hello HTTP/01.1",
        "GET /hello HTTP/x.1",
        "GET\t/hello HTTP/1.1",
        "GET hello HTTP/1.1",
        "GET * HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
        "GET /a\"b HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\u{fc} HTTP/1.1",
        "GET /a\0 HTTP/1.1",
        "G=T / HTTP/1.1",
        "GET / HTTP/1.1\0",
        "OPTIONS *?x HTTP/1.1",
        "GET ?x HTTP/1.1",
        "\r\nGET / HTTP/1.1",
    ] {
        check_head(&format!("{}{line}", if line.starts_with('\r') { "\r\n" } else { "" }), &["Host: a"], "400");
    }
    for version in ["0.9", "2.0", "3.0", "9.9"] {
        check_head(&format!("GET /hello HTTP/{version}"), &["Host: a"], "505");
    }
    check("GET /hello HTTP/1.1\nHost: a\n\n", "400");
    check("GET /hello HTTP/1.1\rHost: a\r\n\r\n", "400");
}

#[test]
fn wrong_fields() {
    for field in [
        "X : a",
        "X\t: a",
        " X: a",
        "\tfolded",
        "X",
        ": a",
        "X: a\nY: b",
        "X: a\rY: b",
        "X: a\0b",
        "X: \x07",
        "X: \x7f",
        "X\u{e9}: a",
        "(X): a",
        "Host: b",
        "X: a\r\n folded",
        "X: a\r\r",
    ] {
        check_head("GET /hello HTTP/1.1", &["Host: a", field], "400");
    }
    for host in ["", "Host: a b", "Host: a/b", "Host: a,b, c", "Host: <x>", "Host: u@a"] {
        let fields: Vec<_> = Some(host).filter(|host| !host.is_empty()).into_iter().collect();
        check_head("GET /hello HTTP/1.1", &fields, "400");
    }
    check_head("GET /hello HTTP/1.0", &["Host: a", "Host: a"], "400");
}

#[test]
fn lengths_that_two_parsers_could_read_differently() {
    let refused = |fields: &[&str], status: &str| {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        check(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), status);
    };
    for fields in [
        &["Content-Length: 5", "Transfer-Encoding: chunked"][..],
        &["Transfer-Encoding: chunked", "Content-Length: 0"],
        &["Content-Length: 5", "Content-Length: 6"],
        &["Content-Length: 5", "Content-Length: 5"],
        &["Content-Length: 5, 5"],
        &["Content-Length: +5"],
        &["Content-Length: -1"],
        &["Content-Length: 0x5"],
        &["Content-Length: 5 5"],
        &["Content-Length: 5;"],
        &["Content-Length: \"5\""],
        &["Content-Length:"],
        &["Content-Length : 5"],
        &["Transfer-Encoding : chunked"],
        &["Transfer-Encoding:"],
        &["Transfer-Encoding: chunked, chunked"],
        &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: chunked, identity"],
        &["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"],
        &["Transfer-Encoding: chunked;q=1"],
        &["Transfer-Encoding: \"chunked\""],
        &["Transfer-Encoding: ,chunked"],
        &["Transfer-Encoding: \x0bchunked"],
        &["Transfer-Encoding: chun ked"],
        &["Transfer-Encoding:\r\n chunked"],
    ] {
        refused(fields, "400");
    }
    for coding in ["gzip", "xchunked", "identity", "gzip, chunked", "chunked-not"] {
        refused(&[&format!("Transfer-Encoding: {coding}")], "501");
    }
    check("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400");
}

#[test]
fn wrong_chunks_are_seen_by_the_handler() {
    for body in ["x\r\n", "5\nhello\n", "5\r\nhello!", " 0\r\n\r\n", "0\r\n x: y\r\n\r\n", "5\r\nhelloGET"] {
        let head = "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(format!("{head}{body}GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "400");
    }
    // Incomplete: the client went away.
    check("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", "400");
}

#[test]
fn too_much() {
    let long = "a".repeat(2000);
    check_head(&format!("GET /{} HTTP/1.1", &long[..510]), &["Host: a"], "404");
    check_head(&format!("GET /{} HTTP/1.1", &long[..512]), &["Host: a"], "414");
    check_head(&format!("GET /?{} HTTP/1.1", &long[..512]), &["Host: a"], "414");
    check_head("GET /hello HTTP/1.1", &["Host: a", &format!("X: {}", &long[..900])], HELLO);
    check_head("GET /hello HTTP/1.1", &["Host: a", &format!("X: {}", &long[..1000])], "431");
    check_head("GET /hello HTTP/1.1", &["Host: a", &format!("{long}: x")], "431");
    check_head("GET /hello HTTP/1.1", &["Host: a", "a:", "b:", "c:", "d:", "e:", "f:", "g:"], HELLO);
    check_head("GET /hello HTTP/1.1", &["Host: a", "a:", "b:", "c:", "d:", "e:", "f:", "g:", "h:"], "431");
    let post =
        |path: &str, fields: &str, body: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
    check(post("/length", "Content-Length: 100", &long[..100]), "200 100");
    check(post("/length", "Content-Length: 101", &long[..101]), "413");
    check(post("/length", "Transfer-Encoding: chunked", &format!("80\r\n{}\r\n0\r\n\r\n", &long[..0x80])), "413");
    check(post("/echo", "Content-Length: 1001", &long[..1001]), "413");
    check(post("/echo", "Content-Length: 99999999999999999999999", ""), "413");
    let chunks = format!("200\r\n{}\r\n", &long[..0x200]).repeat(2);
    check(post("/length", "Transfer-Encoding: chunked", &chunks), "413");
}

#[test]
fn expectations() {
    check_head("GET /hello HTTP/1.1", &["Host: a", "Expect: 100-continue"], HELLO);
    check_head("GET /hello HTTP/1.1", &["Host: a", "Expect: the-best"], "417");
    check_head("GET /hello HTTP/1.0", &["Expect: 100-continue"], HELLO);
}
