//! Whole connections with input that is nearly right: no panic, valid answers only, nothing left behind, and the same
//! answers however the bytes are cut. Deterministic; the seeds are in the test.
#![allow(missing_docs)]

mod common;

use common::{answers, exchange_with, lossy, start};
use unikernel_http::{Bytes, Limits, Path, Router, Server, get, post};
use unikernel_rt::task::yield_now;

const CORPUS: [&str; 10] = [
    "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /bytes HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /bytes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nT: z\r\n\r\n",
    "GET /text/a%20b?c=d HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "OPTIONS /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /nope HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "POST /bytes HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\nhello",
    "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET /text/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
];
const WORDS: [&str; 12] =
    ["\r\n", "\n", "\r", "\0", " ", "0\r\n\r\n", "chunked", ":", "fffffffff", "Content-Length: 9\r\n", "%", "5\r\n"];

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

fn input(random: &mut Random) -> Vec<u8> {
    let mut input: Vec<u8> =
        (0..1 + random.below(4)).flat_map(|_| CORPUS[random.below(CORPUS.len())].bytes()).collect();
    for _ in 0..random.below(3) {
        let at = random.below(input.len());
        match random.below(4) {
            0 => input[at] = random.below(256) as u8,
            1 => drop(input.drain(at..(at + random.below(5)).min(at + 1))),
            2 => drop(input.splice(at..at, WORDS[random.below(WORDS.len())].bytes())),
            _ => input.truncate(at + 1),
        }
    }
    input
}

fn router() -> Router {
    Router::new()
        .route("/hello", get(async || "hello"))
        .route("/bytes", post(async |body: Bytes| body))
        .route("/text/{text}", get(async |Path(text): Path<String>| text))
}

#[unikernel_rt::test]
async fn mutated_connections() {
    let limits = Limits { head_len_max: 400, uri_len_max: 100, buffered_body_len_max: 1000, ..Limits::default() };
    let server = Server::with_limits(router(), limits);
    let mut random = Random(0xf00d);
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..6_000 {
        let input = input(&mut random);
        let whole = exchange_with(&server, &input).await;
        for answer in answers(&whole, &[]) {
            *statuses.entry(answer.status).or_insert(0) += 1;
        }
        let (mut client, served) = start(&server);
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(1 + random.below(rest.len()).min(random.below(40)));
            client.send(piece).await;
            for _ in 0..3 {
                yield_now().await;
            }
            rest = next;
        }
        client.finish();
        let cut = client.read_to_end().await;
        assert_eq!(lossy(&cut), lossy(&whole), "{}", input.escape_ascii());
        served.await;
    }
    assert_eq!(server.connections(), 0);
    for status in [200, 204, 400, 404, 405, 413, 501, 505] {
        assert!(statuses.contains_key(&status), "the mutations do not reach {status}: {statuses:?}");
    }
}

#[unikernel_rt::test]
async fn noise() {
    let server = Server::new(router());
    let mut random = Random(0xbad);
    for _ in 0..2_000 {
        let noise: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
        for answer in answers(&exchange_with(&server, noise).await, &[]) {
            assert!(matches!(answer.status, 400 | 501), "{}", answer.status);
        }
    }
    assert_eq!(server.connections(), 0);
}
