//! Where redirects lead, and what goes along.

use crate::{
    common::{Wire, block_on},
    script::{Servers, Whisper, get, show},
};
use std::{cell::RefCell, rc::Rc};
use unikernel_http::{
    Body,
    client::{Client, Limits, RequestBuilder},
};

const END: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend";

/// A server that notes each request as "LINE|HOST|AUTHORIZATION|BODY" and sends it on to `location`, once.
fn chain(location: &'static str, status: u16, seen: &Rc<RefCell<Vec<String>>>) -> Servers {
    let redirect =
        format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let (first, second) = (seen.clone(), seen.clone());
    Servers::default()
        .on(async move |wire| answer(wire, first, &redirect).await)
        .on(async move |wire| answer(wire, second, END).await)
}

async fn answer(mut wire: Wire, seen: Rc<RefCell<Vec<String>>>, text: &str) {
    let head = wire.read_until("\r\n\r\n").await;
    unikernel_rt::time::sleep(unikernel_rt::time::Duration::from_millis(1)).await;
    let body = wire.take_available();
    let field = |name: &str| head.split(name).nth(1).map_or("-", |rest| rest.split("\r\n").next().unwrap());
    let line = head.split(" HTTP/1.1").next().unwrap();
    let kind = field("Content-Type: ");
    seen.borrow_mut().push(format!("{line}|{}|{}|{kind}|{body}", field("Host: "), field("Authorization: ")));
    wire.send(text).await;
}

/// What the second server saw.
#[track_caller]
fn check(
    build: impl Fn(&Client) -> RequestBuilder + 'static,
    status: u16,
    location: &'static str,
    expected: &'static str,
) {
    block_on(async move {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let client = Client::new(chain(location, status, &seen));
        let shown = show(build(&client).bearer_auth("t").send().await).await;
        let seen = seen.take();
        let second = if shown == "200 end" { &seen[1] } else { &shown };
        assert_eq!(second, expected, "{status} to {location}");
    });
}

fn post(client: &Client) -> RequestBuilder {
    client.post("http://a/b/c?d").json(&1)
}

#[test]
fn methods_change_as_rfc_9110_says() {
    for (status, expected) in [
        (301, "GET /x|a|Bearer t|-|"),
        (302, "GET /x|a|Bearer t|-|"),
        (303, "GET /x|a|Bearer t|-|"),
        (307, "POST /x|a|Bearer t|application/json|1"),
        (308, "POST /x|a|Bearer t|application/json|1"),
        (300, "300 "),
        (304, "304 "),
    ] {
        check(post, status, "/x", expected);
    }
    let put = |client: &Client| client.put("http://a/").body("1");
    check(put, 302, "/x", "PUT /x|a|Bearer t|-|1");
    check(put, 303, "/x", "GET /x|a|Bearer t|-|");
    check(|client| client.request("PROPFIND", "http://a/"), 301, "/x", "PROPFIND /x|a|Bearer t|-|");
}

#[test]
fn a_stream_goes_through_once() {
    let stream = || Body::from_stream(futures_util::stream::iter([Ok::<_, ()>("1")]));
    check(move |client| client.post("http://a/").body(stream()), 307, "/x", "307 ");
    check(move |client| client.post("http://a/").body(stream()), 303, "/x", "GET /x|a|Bearer t|-|");
}

#[test]
fn credentials_stay_with_their_origin() {
    let get = |client: &Client| client.get("http://a/b/c").header("Host", "a");
    check(get, 302, "d", "GET /b/d|a|Bearer t|-|");
    check(get, 302, "http://a:80/d", "GET /d|a|Bearer t|-|");
    check(get, 302, "http://b/d", "GET /d|b|-|-|");
    check(get, 302, "http://a:81/", "GET /|a:81|-|-|");
    check(get, 302, "//b", "GET /|b|-|-|");
    check(post, 307, "http://b/", "POST /|b|-|application/json|1");
}

#[test]
fn where_a_redirect_must_not_lead() {
    let get = |client: &Client| client.get("http://a/");
    for location in ["ftp://a/", "javascript:alert(1)", "http://u:p@b/", "http://b/ x", "http:///"] {
        check(get, 302, location, "the redirect is not followed: its Location is no http URL");
    }
}

#[test]
fn from_https_to_http() {
    for (allows, expected) in [(false, "the redirect is not followed: it leads from https to http"), (true, "200 end")]
    {
        block_on(async move {
            let servers = Servers::default()
                .on(async |mut wire| {
                    wire.read_until("\n").await;
                    wire.send("hush").await;
                    wire.read_until("\r\n\r\n").await;
                    wire.send("HTTP/1.1 301 X\r\nLocation: http://a/\r\nContent-Length: 0\r\n\r\n").await;
                    wire.read_to_end().await;
                })
                .answering(&[END]);
            let builder = Client::builder(servers).tls(Whisper);
            let client = if allows { builder.allow_downgrade() } else { builder }.build();
            assert_eq!(get(&client, "https://a/").await, expected);
        });
    }
}

#[test]
fn loops_end() {
    const ROUND: &str = "HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 5\r\n\r\nround";
    for (max, expected, requests) in [
        (5, "the redirect is not followed: there were `Limits::redirects_max` before it", 6),
        (1, "the redirect is not followed: there were `Limits::redirects_max` before it", 2),
        (0, "302 round", 1),
    ] {
        block_on(async move {
            let servers = Servers::default().answering(&[ROUND; 6][..requests]);
            let client =
                Client::builder(servers.clone()).limits(Limits { redirects_max: max, ..Limits::default() }).build();
            assert_eq!(get(&client, "http://a/").await, expected);
            assert_eq!(servers.targets(), "a:80", "the bodies of redirects are read over");
        });
    }
}
