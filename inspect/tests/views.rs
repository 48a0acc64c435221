//! Each view, asked for over a simulated cable as the clients do it.
#![allow(missing_docs)]

use serde_json::{Value, from_slice};
use std::net::{Ipv4Addr, SocketAddr};
use unikernel_inspect::{
    Inspect, Key,
    challenge::{authorization, parameter},
};
use unikernel_net::{Config, Ipv4Cidr, Read, Stack, Stream, Write};
use unikernel_rt::{
    log::{level, tail::Level},
    sim::{Faults, cable, set_vm_generation},
    spawn_named,
    time::{Duration, Instant, sleep},
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const KEY: &str = "the key of this test";
const PORT: u16 = 9091;

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(SERVER.into(), port)
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn stacks() -> (Stack, Stack) {
    let (left, right) = cable(Faults { delay: Duration::from_millis(1), ..Faults::NONE });
    let config = |address| Config::fixed(Ipv4Cidr::new(address, 24).unwrap());
    (Stack::new(Box::new(left), config(CLIENT)), Stack::new(Box::new(right), config(SERVER)))
}

/// A machine that is open to [`KEY`], and the stack of one who looks.
fn opened() -> (Stack, Stack) {
    let (client, server) = stacks();
    Inspect::new(PORT, key(KEY)).open(&server).unwrap();
    (client, server)
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        from_slice(&self.body).unwrap()
    }
}

async fn begin(stream: &mut Stream, method: &str, target: &str, authorization: Option<&str>) -> Answer {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).await, Ok(1), "{}", String::from_utf8_lossy(&head));
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: Vec::new() }
}

async fn raw(stream: &mut Stream, method: &str, target: &str, authorization: Option<&str>) -> Answer {
    let mut answer = begin(stream, method, target, authorization).await;
    answer.body.resize(answer.header("Content-Length").unwrap().parse().unwrap(), 0);
    let mut len = 0;
    while len < answer.body.len() {
        len += stream.read(&mut answer.body[len..]).await.unwrap();
    }
    answer
}

/// What the machine asks, answered with a key.
async fn credentials(stream: &mut Stream, key_text: &str, method: &str, target: &str) -> String {
    let refused = raw(stream, method, target, None).await;
    assert_eq!(refused.status, 401);
    let question = parameter(refused.header("WWW-Authenticate").unwrap(), "question").unwrap();
    authorization(&key(key_text), question, method, target)
}

async fn ask(client: &Stack, method: &str, target: &str) -> Answer {
    let mut stream = client.connect(at(PORT)).await.unwrap();
    let credentials = credentials(&mut stream, KEY, method, target).await;
    raw(&mut stream, method, target, Some(&credentials)).await
}

#[unikernel_rt::test]
async fn nothing_listens_unless_asked_for() {
    let (client, server) = stacks();
    Inspect::default().open(&server).unwrap();
    assert!(client.connect(at(PORT)).await.is_err());
    assert_eq!(server.sockets(0, 99).sockets.iter().filter(|socket| socket.peer.is_none()).count(), 0);
}

#[unikernel_rt::test]
async fn who_has_no_key_or_a_wrong_one_sees_nothing() {
    let (client, _server) = opened();
    let mut stream = client.connect(at(PORT)).await.unwrap();
    for target in ["/ps", "/netstat", "/heap", "/ping", "/log-level", "/tcpdump", "/captures/1", "/nothing"] {
        let wrong = credentials(&mut stream, "another key than it", "GET", target).await;
        let other = credentials(&mut stream, KEY, "GET", "/elsewhere").await;
        for (authorization, status) in
            [(None, 401), (Some("Bearer the key of this test"), 401), (Some(&*wrong), 403), (Some(&*other), 403)]
        {
            let answer = raw(&mut stream, "GET", target, authorization).await;
            assert_eq!(answer.status, status, "{target} {authorization:?}");
            assert!(answer.body.len() < 100 && !answer.head.contains(KEY));
        }
    }
}

#[unikernel_rt::test]
async fn an_answer_that_was_overheard_is_of_no_use() {
    let (client, _server) = opened();
    let mut stream = client.connect(at(PORT)).await.unwrap();
    let credentials = credentials(&mut stream, KEY, "GET", "/ping").await;
    assert_eq!(raw(&mut stream, "GET", "/ping", Some(&credentials)).await.status, 200);
    assert_eq!(raw(&mut stream, "GET", "/ping", Some(&credentials)).await.status, 401);
}

#[unikernel_rt::test]
async fn a_copy_of_the_machine_asks_its_own_questions() {
    let (client, _server) = opened();
    let mut stream = client.connect(at(PORT)).await.unwrap();
    let credentials = credentials(&mut stream, KEY, "GET", "/ping").await;
    set_vm_generation([5, 6]);
    assert_eq!(raw(&mut stream, "GET", "/ping", Some(&credentials)).await.status, 401, "its twin asked that");
    assert_eq!(ask(&client, "GET", "/ping").await.status, 200);
}

#[unikernel_rt::test]
async fn tasks_are_listed_in_pages() {
    let (client, _server) = opened();
    (0..600).for_each(|_| drop(spawn_named("one of many", sleep(Duration::from_secs(60)))));
    let (mut names, mut next, mut pages) = (Vec::new(), Some(0), 0);
    while let Some(from) = next {
        let page = ask(&client, "GET", &format!("/ps?from={from}&max=250")).await.json();
        let tasks = page["tasks"].as_array().unwrap();
        assert!(tasks.len() <= 250);
        names.extend(tasks.iter().map(|task| (task["name"].to_string(), task["waits_for"].to_string())));
        (next, pages) = (page["next"].as_u64(), pages + 1);
    }
    assert!(pages >= 3);
    assert_eq!(names.iter().filter(|(name, _)| name == "\"one of many\"").count(), 600);
    assert!(names.contains(&("\"inspect\"".into(), "\"a connection\"".into())));
    let all = ask(&client, "GET", "/ps?max=100000").await.json();
    assert_eq!(all["tasks"].as_array().unwrap().len(), 500, "an answer is bounded whatever is asked");
}

#[unikernel_rt::test]
async fn sockets_are_listed() {
    let (client, server) = opened();
    let mut listener = server.listen(7).unwrap();
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push((client.connect(at(7)).await.unwrap(), listener.accept().await));
    }
    let page = ask(&client, "GET", "/netstat").await.json();
    let sockets = page["sockets"].as_array().unwrap();
    let is = |socket: &&Value, state: &str, local: &str| socket["state"] == state && socket["local"] == local;
    assert_eq!(sockets.iter().filter(|socket| is(socket, "ESTABLISHED", "10.0.0.2:7")).count(), 20);
    assert_eq!(sockets.iter().filter(|socket| is(socket, "LISTEN", "[::]:9091")).count(), 1);
    let short = ask(&client, "GET", "/netstat?max=3").await.json();
    assert_eq!((short["sockets"].as_array().unwrap().len(), short["next"].is_u64()), (3, true));
    for target in ["/netstat?max=x", "/netstat?from=-1", "/netstat?form=1", "/ps?limit=2"] {
        assert_eq!(ask(&client, "GET", target).await.status, 400);
    }
}

#[unikernel_rt::test]
async fn log_levels_change() {
    let (client, _server) = opened();
    let set = async |query| ask(&client, "PUT", &format!("/log-level?{query}")).await;
    let answer = set("module=unikernel_net&level=off").await.json();
    assert_eq!(answer["rules"][0], serde_json::json!({"module": "unikernel_net", "level": "off"}));
    assert!(!level::is_on(Level::Error, "unikernel_net::tcp") && level::is_on(Level::Info, "unikernel_http"));
    assert_eq!(set("level=warn").await.json()["rules"].as_array().unwrap().len(), 2);
    assert!(!level::is_on(Level::Info, "unikernel_http"));
    for query in ["level=loud", "module=a-b&level=info", "module=a", "modul=a&level=info"] {
        assert_eq!(set(query).await.status, 400, "{query}");
    }
    set("level=default").await.json();
    set("module=unikernel_net&level=default").await.json();
    assert_eq!(ask(&client, "GET", "/log-level").await.json()["rules"].as_array().unwrap().len(), 0);
}

#[unikernel_rt::test]
async fn ping_and_heap_answer() {
    let (client, _server) = opened();
    let pong = ask(&client, "GET", "/ping").await.json();
    assert!(pong["uptime_micros"].as_u64().unwrap() <= Instant::now().as_micros());
    assert!(pong["unix_micros"].as_u64().unwrap() > 1_700_000_000_000_000);
    assert!(ask(&client, "GET", "/heap").await.json()["in_use"].is_u64());
}

/// Bytes of the chunks that have come by now.
async fn chunks(stream: &mut Stream, len_min: usize) -> Vec<u8> {
    let (mut text, mut body) = (Vec::new(), Vec::new());
    while body.len() < len_min {
        let mut bytes = [0; 4096];
        let len = stream.read(&mut bytes).await.unwrap();
        text.extend_from_slice(&bytes[..len]);
        while let Some(end) = text.windows(2).position(|two| two == b"\r\n") {
            let len = usize::from_str_radix(std::str::from_utf8(&text[..end]).unwrap(), 16).unwrap();
            if text.len() < end + 4 + len {
                break;
            }
            body.extend_from_slice(&text[end + 2..end + 2 + len]);
            text.drain(..end + 4 + len);
        }
    }
    body
}

/// The frames of a pcap file, with their whole lengths.
fn frames(file: &[u8]) -> Vec<(usize, Vec<u8>)> {
    assert_eq!(file[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
    assert_eq!(file[20..24], [1, 0, 0, 0], "Ethernet");
    let (mut frames, mut rest) = (Vec::new(), &file[24..]);
    while !rest.is_empty() {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        assert!(number(0) > 1_700_000_000 && number(4) < 1_000_000);
        let (kept_len, len) = (number(8), number(12));
        frames.push((len, rest[16..16 + kept_len].to_vec()));
        rest = &rest[16 + kept_len..];
    }
    frames
}

async fn tcpdump(client: &Stack, query: &str) -> (Stream, Answer) {
    let target = format!("/tcpdump?{query}");
    let mut stream = client.connect(at(PORT)).await.unwrap();
    let credentials = credentials(&mut stream, KEY, "GET", &target).await;
    let answer = begin(&mut stream, "GET", &target, Some(&credentials)).await;
    (stream, answer)
}

#[unikernel_rt::test]
async fn frames_are_captured_while_somebody_reads() {
    let (client, server) = opened();
    let (mut dump, answer) = tcpdump(&client, "port=7&protocol=tcp&snap=60").await;
    assert_eq!(answer.header("Content-Type"), Some("application/vnd.tcpdump.pcap"));
    let number = answer.header("Capture").unwrap().to_owned();
    let mut listener = server.listen(7).unwrap();
    let mut stream = client.connect(at(7)).await.unwrap();
    let mut accepted = listener.accept().await;
    stream.write_all(&[b'x'; 500]).await.unwrap();
    accepted.read(&mut [0; 500]).await.unwrap();
    // SYN, SYN|ACK, ACK and data; the rest of the exchange may follow.
    let frames = frames(&chunks(&mut dump, 24 + 4 * 16 + 3 * 54 + 60).await);
    assert!(frames.len() >= 4);
    let is_of_port = |frame: &[u8]| frame[34..36] == [0, 7] || frame[36..38] == [0, 7];
    assert!(frames.iter().all(|(_, frame)| is_of_port(frame) && frame.len() <= 60));
    assert!(frames.iter().any(|(len, frame)| *len == 554 && frame.len() == 60));
    let counts = ask(&client, "GET", &format!("/captures/{number}")).await.json();
    assert!(counts["seen"].as_u64().unwrap() >= frames.len() as u64 && counts["dropped"] == 0);
    drop(dump);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(ask(&client, "GET", &format!("/captures/{number}")).await.status, 404, "it has no reader any more");
}

#[unikernel_rt::test]
async fn captures_capture_neither_themselves_nor_each_other() {
    let (client, _server) = opened();
    let mut dumps = Vec::new();
    for _ in 0..2 {
        let (stream, answer) = tcpdump(&client, "protocol=tcp").await;
        dumps.push((stream, answer.header("Capture").unwrap().to_owned()));
    }
    // Read all the time, as a client does, so that nothing is left out for want of room.
    let numbers: Vec<_> = dumps.iter().map(|(_, number)| number.clone()).collect();
    for (mut dump, _) in dumps {
        unikernel_rt::spawn(async move { while let Ok(1..) = dump.read(&mut [0; 4096]).await {} });
    }
    let seen = async || {
        let mut seen = Vec::new();
        for number in &numbers {
            seen.push(ask(&client, "GET", &format!("/captures/{number}")).await.json()["seen"].as_u64().unwrap());
        }
        seen
    };
    // A frame of somebody else, so that there is something to tell.
    assert!(client.connect(at(7)).await.is_err());
    let before = seen().await;
    sleep(Duration::from_secs(60)).await;
    assert!(before.iter().all(|seen| *seen >= 2), "{before:?}");
    assert_eq!(seen().await, before);
}

#[unikernel_rt::test]
async fn the_own_port_is_captured_if_that_is_wanted() {
    let (client, _server) = opened();
    let (mut dump, _) = tcpdump(&client, &format!("port={PORT}")).await;
    let frames = frames(&chunks(&mut dump, 25).await);
    assert_eq!(u16::from_be_bytes([frames[0].1[34], frames[0].1[35]]), PORT);
}

#[unikernel_rt::test]
async fn captures_are_bounded_and_bad_filters_refused() {
    let (client, _server) = opened();
    for (query, status) in [("host=nobody", 400), ("protocol=ftp", 400), ("port=70000", 400), ("prot=tcp", 400)] {
        assert_eq!(ask(&client, "GET", &format!("/tcpdump?{query}")).await.status, status, "{query}");
    }
    let mut dumps = Vec::new();
    for _ in 0..4 {
        let (stream, answer) = tcpdump(&client, "port=1").await;
        assert_eq!(answer.status, 200);
        dumps.push(stream);
    }
    assert_eq!(ask(&client, "GET", "/tcpdump").await.status, 503);
    drop(dumps.pop());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(tcpdump(&client, "").await.1.status, 200, "the one that ended made room");
}

#[unikernel_rt::test]
async fn a_stop_ends_captures() {
    let (client, _server) = opened();
    let (mut dump, _) = tcpdump(&client, "port=1").await;
    chunks(&mut dump, 24).await;
    let begun = Instant::now();
    unikernel_rt::lifecycle::request_stop();
    let mut rest = [0; 64];
    assert_eq!(dump.read(&mut rest).await, Ok(5));
    assert_eq!(rest[..5], *b"0\r\n\r\n");
    assert!(Instant::now() - begun < Duration::from_secs(1));
}
