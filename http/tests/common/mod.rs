//! A byte stream in memory, and a client that reads responses strictly.
#![allow(dead_code, missing_docs)]

use embedded_io_async::{ErrorType, Read, Write};
use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    future::{Future, pending, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
};
use unikernel_http::{Accept, Router, Server};
use unikernel_rt::{
    sync::{Receiver, Sender, channel},
    task::{JoinHandle, spawn},
};

/// One direction: bytes on their way, at most `capacity`.
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// One end of a connection. Dropping it closes both directions.
pub struct Wire {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

/// A connection; each direction holds `capacity` bytes.
pub fn wires(capacity: usize) -> (Wire, Wire) {
    let pipe = || Rc::new(RefCell::new(Pipe { bytes: VecDeque::new(), capacity, is_closed: false, wakers: vec![] }));
    let (a, b) = (pipe(), pipe());
    (Wire { incoming: a.clone(), outgoing: b.clone() }, Wire { incoming: b, outgoing: a })
}

impl ErrorType for Wire {
    type Error = Infallible;
}

impl Read for Wire {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|cx| {
            let mut pipe = self.incoming.borrow_mut();
            if pipe.bytes.is_empty() && !pipe.is_closed {
                pipe.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            let len = pipe.bytes.len().min(buf.len());
            for (to, from) in buf.iter_mut().zip(pipe.bytes.drain(..len)) {
                *to = from;
            }
            pipe.wake();
            Poll::Ready(Ok(len))
        })
        .await
    }
}

impl Write for Wire {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        poll_fn(|cx| {
            let mut pipe = self.outgoing.borrow_mut();
            if pipe.is_closed {
                // Nobody reads any more; as with TCP, that shows later or never.
                return Poll::Ready(Ok(buf.len()));
            }
            let len = buf.len().min(pipe.capacity - pipe.bytes.len());
            if len == 0 {
                pipe.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            pipe.bytes.extend(&buf[..len]);
            pipe.wake();
            Poll::Ready(Ok(len))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Wire {
    /// No more bytes from this end.
    pub fn finish(&mut self) {
        let mut pipe = self.outgoing.borrow_mut();
        pipe.is_closed = true;
        pipe.wake();
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).await.unwrap();
    }

    /// What is there now, without waiting.
    pub fn take_available(&mut self) -> String {
        let mut pipe = self.incoming.borrow_mut();
        let bytes: Vec<_> = pipe.bytes.drain(..).collect();
        pipe.wake();
        lossy(&bytes)
    }

    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let (mut all, mut buf) = (Vec::new(), [0; 4096]);
        loop {
            match self.read(&mut buf).await.unwrap() {
                0 => return all,
                len => all.extend_from_slice(&buf[..len]),
            }
        }
    }

    /// Reads until `text` has arrived.
    pub async fn read_until(&mut self, text: &str) -> String {
        let (mut all, mut byte) = (Vec::new(), [0]);
        while !all.ends_with(text.as_bytes()) {
            assert_eq!(self.read(&mut byte).await.unwrap(), 1, "the end came before {text:?}: {:?}", lossy(&all));
            all.push(byte[0]);
        }
        lossy(&all)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for pipe in [&self.incoming, &self.outgoing] {
            let mut pipe = pipe.borrow_mut();
            pipe.is_closed = true;
            pipe.wake();
        }
    }
}

/// Where connections come from in tests of whole servers.
pub struct Port(Receiver<Wire>);

/// Whoever connects to a [`Port`].
#[derive(Clone)]
pub struct Clients(Sender<Wire>);

pub fn port() -> (Clients, Port) {
    let (clients, port) = channel(100);
    (Clients(clients), Port(port))
}

impl Clients {
    pub async fn connect(&self) -> Wire {
        let (ours, theirs) = wires(1 << 20);
        assert!(self.0.send(theirs).await.is_ok(), "nobody accepts");
        ours
    }
}

impl Accept for Port {
    type Stream = Wire;

    async fn accept(&mut self) -> Wire {
        match self.0.receive().await {
            Some(wire) => wire,
            None => pending().await,
        }
    }
}

pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Serves a connection in a task of its own.
pub fn start(server: &Server) -> (Wire, JoinHandle<()>) {
    start_with(server, 1 << 20)
}

pub fn start_with(server: &Server, capacity: usize) -> (Wire, JoinHandle<()>) {
    let (client, theirs) = wires(capacity);
    let server = server.clone();
    (client, spawn(async move { server.serve_connection(theirs).await }))
}

/// Everything that comes back when `input` is sent and nothing follows.
pub async fn exchange(router: Router, input: impl AsRef<[u8]>) -> Vec<u8> {
    exchange_with(&Server::new(router), input).await
}

pub async fn exchange_with(server: &Server, input: impl AsRef<[u8]>) -> Vec<u8> {
    let (mut client, _) = start(server);
    client.send(input).await;
    client.finish();
    client.read_to_end().await
}

/// Runs a future in virtual time, for tests that are tables.
pub fn block_on<F: Future<Output = ()> + 'static>(future: F) {
    unikernel_rt::entry::run_test("", future);
}

/// A response, as a strict client reads it.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none() || name == "set-cookie", "{name} is there twice");
        value
    }

    pub fn text(&self) -> String {
        lossy(&self.body)
    }
}

/// Reads all responses; `head_at` says which of them answer HEAD. Panics on anything wrong.
pub fn answers(bytes: &[u8], head_at: &[usize]) -> Vec<Answer> {
    let (mut rest, mut all) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (answer, used) = answer(rest, head_at.contains(&all.len()));
        rest = &rest[used..];
        if answer.status != 100 {
            all.push(answer);
        }
    }
    all
}

fn answer(bytes: &[u8], is_head: bool) -> (Answer, usize) {
    let end = find(bytes, b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {:?}", lossy(bytes))) + 4;
    let head = std::str::from_utf8(&bytes[..end - 4]).unwrap();
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap();
    let status: u16 = status_line.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    assert_eq!(&status_line[12..13], " ");
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no header")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: vec![] };
    if status == 100 {
        assert!(answer.headers.is_empty());
        return (answer, end);
    }
    assert_eq!(answer.header("date").map(str::len), Some(29), "{head}");
    let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
    let is_chunked = answer.header("transfer-encoding").is_some();
    assert!(!(is_chunked && length.is_some()));
    let used = match (length, is_chunked) {
        _ if is_head || status == 204 || status == 304 => 0,
        (Some(length), _) => {
            answer.body = bytes[end..].get(..length).unwrap_or_else(|| panic!("short: {:?}", lossy(bytes))).to_vec();
            length
        }
        (None, true) => {
            let (body, used) = dechunk(&bytes[end..]);
            answer.body = body;
            used
        }
        (None, false) => {
            assert_eq!(answer.header("connection"), Some("close"), "a body without an end: {head}");
            answer.body = bytes[end..].to_vec();
            answer.body.len()
        }
    };
    (answer, end + used)
}

fn dechunk(bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut at, mut body) = (0, vec![]);
    loop {
        let line = find(&bytes[at..], b"\r\n").expect("a chunk size");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).unwrap(), 16).unwrap();
        at += line + 2;
        body.extend_from_slice(&bytes[at..at + size]);
        assert_eq!(&bytes[at + size..at + size + 2], b"\r\n");
        at += size + 2;
        if size == 0 {
            return (body, at);
        }
    }
}

pub fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
