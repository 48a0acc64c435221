//! Where a response ends, and what is no response.

use crate::{
    common::block_on,
    script::{Servers, get, send_in_steps, show},
};
use unikernel_http::client::Client;

/// The server answers the first request with `answer` in pieces and closes; every way to cut it must tell the same.
#[track_caller]
fn check_method(method: &'static str, answer: &'static str, expected: &'static str) {
    block_on(async move {
        for step in [1, 2, 7, usize::MAX] {
            let servers = Servers::default().on(async move |mut wire| {
                wire.read_until("\r\n\r\n").await;
                send_in_steps(&mut wire, answer.as_bytes(), step).await;
            });
            let client = Client::new(servers);
            let shown = show(client.request(method, "http://a/").send().await).await;
            assert_eq!(shown, expected, "{answer:?} in steps of {step}");
        }
    });
}

#[track_caller]
fn check(answer: &'static str, expected: &'static str) {
    check_method("GET", answer, expected);
}

const CLOSED: &str = "the server closed the connection before its response was complete";
const CUT_OFF: &str = "200, then: the server closed the connection before its response was complete";

#[test]
fn bodies_and_their_ends() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 hello");
    check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 ");
    check("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nT: u\r\n\r\n", "404 abc");
    check("HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 until the end");
    check("HTTP/1.0 200 OK\r\n\r\nold", "200 old");
    check("HTTP/1.1 204 No\r\n\r\n", "204 ");
    check("HTTP/1.1 304 No\r\nContent-Length: 100\r\n\r\n", "304 ");
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 forged\r\n\r\n", "200 hello");
}

#[test]
fn responses_to_head_have_no_body() {
    check_method("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 ");
    check_method("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 ");
    check_method("HEAD", "HTTP/1.1 200 OK\r\n\r\n", "200 ");
}

#[test]
fn interim_responses_are_skipped() {
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "200 x");
    check(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "200 x",
    );
    check(
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
        "this is no HTTP/1.1 response: it switches to a protocol that nobody asked for",
    );
    let many: &'static str = Box::leak("HTTP/1.1 102 P\r\n\r\n".repeat(9).into_boxed_str());
    check(many, "this is no HTTP/1.1 response: there are too many interim responses before it");
}

#[test]
fn what_is_cut_off_is_an_error() {
    check("", CLOSED);
    check("HTTP/1.1 200", CLOSED);
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", CLOSED);
    check("HTTP/1.1 100 Continue\r\n\r\n", CLOSED);
    check("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", CUT_OFF);
    check("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", CUT_OFF);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", CUT_OFF);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", CUT_OFF);
}

#[test]
fn what_is_no_response() {
    check(
        "SSH-2.0-OpenSSH_9.2\r\n",
        "this is no HTTP/1.1 response: it does not start with `HTTP/1.1`, a space and a status code",
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "this is no HTTP/1.1 response: there are two Content-Length fields",
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "this is no HTTP/1.1 response: it has both a Content-Length and a Transfer-Encoding",
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "200, then: this is no HTTP/1.1 response: its body is not in valid chunks",
    );
    let long: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(1 << 20)).into_boxed_str());
    check(long, "this is no HTTP/1.1 response: its head is longer than `Limits::head_len_max`");
}

/// The second request must not be answered by what followed the first response, nor wait for a closed connection.
#[test]
fn bytes_beyond_a_response_are_nobodys_answer() {
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    let late = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    block_on(async move {
        for is_late in [false, true] {
            let servers = Servers::default()
                .on(async move |mut wire| {
                    wire.read_until("\r\n\r\n").await;
                    wire.send(if is_late { late } else { forged }).await;
                    unikernel_rt::task::yield_now().await;
                    unikernel_rt::task::yield_now().await;
                    if is_late {
                        wire.send(&forged[late.len()..]).await;
                    }
                    wire.read_to_end().await;
                })
                .answering(&["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"]);
            let client = Client::new(servers.clone());
            assert_eq!(get(&client, "http://a/").await, "200 a");
            unikernel_rt::time::sleep(unikernel_rt::time::Duration::from_millis(1)).await;
            assert_eq!(get(&client, "http://a/").await, "200 true");
            assert_eq!(servers.targets(), "a:80 a:80");
        }
    });
}
