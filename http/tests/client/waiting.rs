//! Time limits, and both directions at once.

use crate::{
    common::{Wire, wires},
    script::{Servers, get, show},
};
use futures_util::{StreamExt, stream};
use unikernel_http::{
    Body, Bytes,
    client::{Client, Connect, ConnectError, Limits, Target},
};
use unikernel_rt::time::{Duration, Instant, sleep};

/// The error, and when it came.
async fn fails(servers: Servers, total: u64) -> (String, u64) {
    let limits = Limits { total_timeout: Duration::from_secs(total), ..Limits::default() };
    let client = Client::builder(servers).limits(limits).build();
    let start = Instant::now();
    (get(&client, "http://a/").await, start.elapsed().as_millis() as u64)
}

#[unikernel_rt::test]
async fn servers_that_say_nothing_more() {
    for (said, total, expected, seconds) in [
        ("", 100, "timed out while waiting for the response", 30),
        ("HTTP/1.1 200", 100, "timed out while waiting for the response", 30),
        ("HTTP/1.1 100 Continue\r\n\r\n", 100, "timed out while waiting for the response", 30),
        ("", 7, "timed out with the whole request", 7),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
            100,
            "200, then: timed out while reading the response's body",
            30,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 7, "200, then: timed out with the whole request", 7),
    ] {
        let servers = Servers::default().on(async move |mut wire| {
            wire.read_until("\r\n\r\n").await;
            wire.send(said).await;
            wire.read_to_end().await;
        });
        assert_eq!(fails(servers, total).await, (expected.into(), seconds * 1_000), "{said:?}");
    }
}

#[unikernel_rt::test]
async fn a_head_that_trickles_in_is_given_up() {
    let servers = Servers::default().on(async |mut wire| {
        wire.read_until("\r\n\r\n").await;
        wire.send("HTTP/1.1 200 OK\r\n").await;
        for letter in "X: and so on, for ever and a day".bytes() {
            sleep(Duration::from_secs(2)).await;
            wire.send([letter]).await;
        }
    });
    assert_eq!(fails(servers, 1000).await, ("timed out while waiting for the response".into(), 30_000));
}

#[unikernel_rt::test]
async fn a_body_that_moves_may_take_its_time() {
    let servers = Servers::default().on(async |mut wire| {
        wire.read_until("\r\n\r\n").await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
        for digit in 0..10 {
            sleep(Duration::from_secs(29)).await;
            wire.send(format!("{digit}")).await;
        }
        wire.read_to_end().await;
    });
    assert_eq!(fails(servers, 1000).await, ("200 0123456789".into(), 290_000));
}

/// A way to nowhere.
struct Nowhere;

impl Connect for Nowhere {
    type Stream = Wire;

    async fn connect(&self, _: &Target) -> Result<Wire, ConnectError> {
        std::future::pending().await
    }
}

#[unikernel_rt::test]
async fn a_way_to_nowhere() {
    let client = Client::new(Nowhere);
    assert_eq!(get(&client, "http://a/").await, "timed out while connecting");
    let shown = show(client.get("http://a/").timeout(Duration::from_secs(3)).send().await).await;
    assert_eq!(shown, "timed out with the whole request");
    assert_eq!((Instant::now(), client.connections()), (Instant::from_millis(13_000), (0, 0)));
}

#[unikernel_rt::test]
async fn a_server_that_takes_nothing() {
    let servers = Servers::default().on(async |_wire| std::future::pending().await);
    let client = Client::new(servers);
    let shown = show(client.post("http://a/").body(vec![0; 1 << 20]).send().await).await;
    assert_eq!((shown, Instant::now()), ("timed out while sending the request".into(), Instant::from_millis(30_000)));
}

/// A server that answers before it has read the body: the answer counts.
#[unikernel_rt::test]
async fn an_early_answer_is_heard() {
    let servers = Servers::default().on(async |mut wire| {
        wire.read_until("\r\n\r\n").await;
        wire.send("HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nno!").await;
        std::future::pending().await
    });
    let client = Client::new(servers);
    let shown = show(client.post("http://a/").body(vec![0; 1 << 20]).send().await).await;
    assert_eq!((shown, client.connections()), ("413 no!".into(), (0, 0)));
}

/// A server that sends back what it gets, while it gets it: neither side can hold all of it.
#[unikernel_rt::test]
async fn both_directions_at_once() {
    use embedded_io_async::Read;
    let servers = Servers::default().on(async |mut wire| {
        let head = wire.read_until("\r\n\r\n").await;
        assert!(head.contains("Content-Length: 1000000\r\n"));
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        let (mut piece, mut left) = ([0; 1000], 1_000_000);
        while left > 0 {
            let len = wire.read(&mut piece).await.unwrap();
            wire.send(&piece[..len]).await;
            left -= len;
        }
        wire.read_to_end().await;
    });
    let client = Client::new(servers);
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let pieces: Vec<_> = sent.chunks(3_000).map(|piece| Ok::<_, ()>(piece.to_vec())).collect();
    let body = Body::from_sized_stream(1_000_000, stream::iter(pieces));
    let mut response = client.post("http://a/").body(body).send().await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = response.body_mut().next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    assert!(all == sent);
    assert_eq!(client.connections(), (1, 1), "it can be used again");
}

/// What the client reads ahead of its user is bounded: the rest stays with the server.
#[unikernel_rt::test]
async fn a_body_that_nobody_reads_holds_the_server_back() {
    let (ours, mut theirs) = wires(10_000);
    struct One(std::cell::RefCell<Option<Wire>>);
    impl Connect for One {
        type Stream = Wire;
        async fn connect(&self, _: &Target) -> Result<Wire, ConnectError> {
            self.0.take().ok_or(ConnectError::new("one only"))
        }
    }
    let client = Client::new(One(std::cell::RefCell::new(Some(ours))));
    let sent = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = sent.clone();
    unikernel_rt::spawn(async move {
        theirs.read_until("\r\n\r\n").await;
        theirs.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        for _ in 0..1_000 {
            theirs.send([b'x'; 1_000]).await;
            count.set(count.get() + 1_000);
        }
    });
    let response = client.get("http://a/").send().await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert!(sent.get() <= 30_000, "{} bytes were taken without being asked for", sent.get());
    assert_eq!(response.bytes().await.unwrap().len(), 1_000_000);
}

#[unikernel_rt::test]
async fn a_body_waits_for_the_servers_word_but_not_for_ever() {
    for (word, expected) in [(true, (0, "200 5")), (false, (1_000, "200 5"))] {
        let servers = Servers::default().on(async move |mut wire| {
            wire.read_until("\r\n\r\n").await;
            if word {
                wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            let body = wire.read_until("hello").await;
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", body.len())).await;
        });
        let client = Client::new(servers);
        let start = Instant::now();
        let shown = show(client.post("http://a/").body("hello").expect_continue().send().await).await;
        assert_eq!((start.elapsed().as_millis(), &*shown), expected);
    }
}

#[unikernel_rt::test]
async fn a_refused_body_stays_here() {
    let servers = Servers::default().on(async |mut wire| {
        wire.read_until("\r\n\r\n").await;
        wire.send("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n").await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(wire.take_available(), "");
    });
    let client = Client::new(servers);
    let body = Body::from(Bytes::from(vec![b'x'; 100_000]));
    let shown = show(client.put("http://a/").body(body).expect_continue().send().await).await;
    assert_eq!((shown, client.connections()), ("417 ".into(), (0, 0)));
    sleep(Duration::from_secs(10)).await;
}
