//! Whatever strangers send and whatever a machine answers: no panic, no view without the key, and the port goes on.
//! Deterministic; the seeds are in the tests.
#![allow(missing_docs)]

use serde_json::from_slice;
use std::{
    net::{Ipv4Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
};
use unikernel_inspect::{
    Inspect, Key,
    challenge::{authorization, parameter},
    wire,
};
use unikernel_net::{Config, Ipv4Cidr, Read, Stack, Write};
use unikernel_rt::{
    sim::{Faults, cable},
    time::{Duration, timeout},
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const KEY: &str = "the key of this test";
const PORT: u16 = 9091;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// With up to four bytes changed, taken out or put in, perhaps cut off.
    fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(5) {
            let at = self.below(bytes.len().max(1)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.below(256) as u8),
                3 => drop(bytes.splice(at..at, self.one_of(&WORDS).bytes())),
                _ => bytes.truncate(at + self.below(bytes.len() - at + 1)),
            }
        }
        bytes
    }
}

const WORDS: [&str; 12] = [
    "\"",
    ",",
    "=",
    "\r\n",
    "ffffffffffffffff",
    "é",
    "\0",
    "question=\"",
    "code=\"\"",
    "18446744073709551616",
    "-1",
    "%00",
];
const PATHS: [&str; 8] = ["/ps", "/netstat", "/heap", "/ping", "/log-level", "/tcpdump", "/captures/1", "/nothing"];
const NAMES: [&str; 9] = ["from", "max", "module", "level", "host", "port", "protocol", "snap", "x"];
const VALUES: [&str; 14] = [
    "0",
    "1",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "65536",
    "a::b",
    "off",
    "default",
    "tcp",
    "::1",
    "%ff%00",
    "10.0.0.1",
    "",
];

fn key() -> Key {
    KEY.parse().unwrap()
}

fn opened() -> (Stack, Stack) {
    let (left, right) = cable(Faults { delay: Duration::from_millis(1), ..Faults::NONE });
    let config = |address| Config::fixed(Ipv4Cidr::new(address, 24).unwrap());
    let (client, server) = (Stack::new(Box::new(left), config(CLIENT)), Stack::new(Box::new(right), config(SERVER)));
    Inspect::new(PORT, key()).open(&server).unwrap();
    (client, server)
}

/// What comes back on a connection of its own, within a second of the machine's time.
async fn exchange(client: &Stack, request: &[u8]) -> Vec<u8> {
    let mut stream = client.connect(SocketAddr::new(SERVER.into(), PORT)).await.unwrap();
    // The server may have closed before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(Ok(len @ 1..)) = timeout(Duration::from_secs(1), stream.read(&mut bytes)).await {
        answer.extend_from_slice(&bytes[..len]);
        // A capture has no end.
        if answer.len() > 1 << 16 {
            break;
        }
    }
    answer
}

fn request(method: &str, target: &str, authorization: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n\r\n").into_bytes()
}

/// The status of an answer that begins with one.
fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// A request that is right but for the target, which is anything.
async fn signed(client: &Stack, method: &str, target: &str) -> Vec<u8> {
    let refusal = exchange(client, &request(method, target, "none")).await;
    let head = String::from_utf8_lossy(&refusal).into_owned();
    let question = head.lines().find_map(|line| parameter(line.split_once("WWW-Authenticate: ")?.1, "question"));
    let Some(question) = question else { return Vec::new() };
    request(method, target, &authorization(&key(), question, method, target))
}

async fn is_open(client: &Stack) -> bool {
    let request = signed(client, "GET", "/ping").await;
    status(&exchange(client, &request).await) == Some(200)
}

#[unikernel_rt::test]
async fn strangers_with_damaged_credentials() {
    let (client, _server) = opened();
    let mut random = Random(0xbad_c0de);
    let mut refused = 0;
    for round in 0..600 {
        let target = random.one_of(&PATHS);
        let question = format!("{:080x}", random.0);
        let other: Key = "another key than it".parse().unwrap();
        let request = request("GET", target, &authorization(&other, &question, "GET", target));
        let request = random.damaged(request);
        match status(&exchange(&client, &request).await) {
            Some(200) => panic!("let in: {}", String::from_utf8_lossy(&request)),
            Some(401 | 403) => refused += 1,
            _ => {}
        }
        assert!(round % 100 != 0 || is_open(&client).await, "the port is dead");
    }
    assert!(refused > 100, "{refused} came to the gate");
    assert!(is_open(&client).await);
}

#[unikernel_rt::test]
async fn random_bytes() {
    let (client, _server) = opened();
    let mut random = Random(0xfeed);
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
        assert_ne!(status(&exchange(&client, &bytes).await), Some(200));
    }
    assert!(is_open(&client).await);
}

/// Who has the key may ask for anything.
#[unikernel_rt::test]
async fn any_query_of_one_who_has_the_key() {
    let (client, _server) = opened();
    let mut random = Random(0x5eed);
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..400 {
        let pairs: Vec<String> =
            (0..random.below(4)).map(|_| format!("{}={}", random.one_of(&NAMES), random.one_of(&VALUES))).collect();
        let target = format!("{}?{}", random.one_of(&PATHS), pairs.join("&"));
        let method = random.one_of(&["GET", "PUT", "HEAD"]);
        let request = signed(&client, method, &target).await;
        *statuses.entry(status(&exchange(&client, &request).await)).or_insert(0) += 1;
    }
    assert!([200, 400, 404].iter().all(|known| statuses.contains_key(&Some(*known))), "{statuses:?}");
    assert!(is_open(&client).await);
}

/// What a client reads, from a machine that lies: an answer that is not one is an error.
#[test]
fn damaged_answers() {
    let task = wire::Task { name: "a task".into(), ..wire::Task::default() };
    let tasks = serde_json::to_vec(&wire::Tasks { now_micros: 7, tasks: vec![task; 3], next: Some(3) }).unwrap();
    let sockets = wire::Sockets { sockets: vec![wire::Socket::default(); 3], next: Some(9) };
    let sockets = serde_json::to_vec(&sockets).unwrap();
    let heap = wire::Heap { classes: vec![wire::HeapClass::default(); 3], ..wire::Heap::default() };
    let heap = serde_json::to_vec(&heap).unwrap();
    let mut random = Random(0xca5e);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let results = [
            from_slice::<wire::Tasks>(&random.damaged(tasks.clone())).is_ok(),
            from_slice::<wire::Sockets>(&random.damaged(sockets.clone())).is_ok(),
            from_slice::<wire::Heap>(&random.damaged(heap.clone())).is_ok(),
        ];
        read += results.iter().filter(|is_read| **is_read).count();
        refused += results.iter().filter(|is_read| !**is_read).count();
    }
    assert!(read > 1000 && refused > 1000, "{read} {refused}");
}

#[test]
fn damaged_questions() {
    let good = authorization(&key(), &"7".repeat(64), "GET", "/ps");
    let mut random = Random(0xa5c);
    for _ in 0..100_000 {
        let header = String::from_utf8_lossy(&random.damaged(good.clone().into_bytes())).into_owned();
        let found = catch_unwind(AssertUnwindSafe(|| parameter(&header, "question").map(str::to_owned)));
        let found = found.unwrap_or_else(|_| panic!("{header:?}"));
        assert!(found.is_none_or(|question| header.contains(&question)));
    }
}
