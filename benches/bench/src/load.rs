//! The load: one thread that keeps a number of connections busy and counts whole, correct answers.
//!
//! A connection asks again as soon as its answer is complete, as wrk does, so that the numbers can
//! be compared with those of other tools.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::answer::{Answer, Progress};
use crate::boot::answers;
use crate::tls::{Security, Tls, Transport};
use crate::vm::{Counts, Vm};
use crate::{Result, error};

/// What the connections ask for.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The path of every request.
    pub path: &'static str,
    /// Body bytes a right answer has.
    pub body_len: usize,
    /// Connections that ask at the same time.
    pub connections: usize,
    /// Whether each request gets a connection of its own.
    pub close: bool,
    /// How it is encrypted, if it is.
    pub tls: Option<Tls>,
}

/// How long to load, and how long of this not to count.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Time for caches, buffers and translated code to settle.
    pub warm_up: Duration,
    /// Time that is counted.
    pub counted: Duration,
}

/// What a guest did and used during the counted time.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outcome {
    /// Complete and correct answers.
    pub answers: u64,
    /// Connections that failed or ended in the middle of an answer.
    pub failures: u64,
    /// Of the answers, those on connections that resumed a TLS session.
    pub resumed: u64,
    /// The counted time.
    pub seconds: f64,
    /// Guest instructions.
    pub instructions: u64,
    /// Time of the QEMU process on the host's CPUs.
    pub host_cpu: Duration,
}

impl Outcome {
    /// Guest instructions for one answer.
    pub fn instructions_per_answer(&self) -> f64 {
        self.instructions as f64 / self.answers as f64
    }

    /// Answers a second.
    pub fn answers_per_second(&self) -> f64 {
        self.answers as f64 / self.seconds
    }
}

/// Without a single byte for this long the guest counts as stalled.
const STALL: Duration = Duration::from_secs(15);
/// Without a complete answer for this long it is too slow to be measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// Loads the guest for the whole span. A wrong answer or a stall ends it with an error.
pub fn run(vm: &Vm, address: SocketAddr, load: &Load, span: Span) -> Result<Outcome> {
    run_with(vm, address, load, span, |_| Ok(()))
}

/// Like [`run`]; calls `mark` when the counted time begins (`true`) and when it has ended (`false`).
pub fn run_with(
    vm: &Vm,
    address: SocketAddr,
    load: &Load,
    span: Span,
    mut mark: impl FnMut(bool) -> Result,
) -> Result<Outcome> {
    let mut clients = Clients::connect(address, load)?;
    clients.serve_until(Instant::now() + span.warm_up)?;
    clients.settle()?;
    // The counted time begins and ends with a complete answer, or large answers would be cut.
    clients.serve_one()?;
    let before = Snapshot::take(vm, &clients);
    mark(true)?;
    clients.serve_until(before.at + span.counted)?;
    clients.serve_one()?;
    let after = Snapshot::take(vm, &clients);
    mark(false)?;
    Ok(before.until(&after))
}

struct Snapshot {
    at: Instant,
    answers: u64,
    failures: u64,
    resumed: u64,
    counts: Counts,
}

impl Snapshot {
    fn take(vm: &Vm, clients: &Clients) -> Snapshot {
        let Clients { answers, failures, resumed, .. } = *clients;
        Snapshot { at: Instant::now(), answers, failures, resumed, counts: vm.counts() }
    }

    fn until(&self, later: &Snapshot) -> Outcome {
        Outcome {
            answers: later.answers - self.answers,
            failures: later.failures - self.failures,
            resumed: later.resumed - self.resumed,
            seconds: (later.at - self.at).as_secs_f64(),
            instructions: later.counts.instructions - self.counts.instructions,
            host_cpu: later.counts.host_cpu - self.counts.host_cpu,
        }
    }
}

/// All connections of a load.
struct Clients {
    address: SocketAddr,
    load: Load,
    security: Option<Security>,
    request: Vec<u8>,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    answers: u64,
    failures: u64,
    resumed: u64,
    last_answer: Instant,
    last_byte: Instant,
}

struct Client {
    transport: Transport,
    asked: bool,
    answer: Answer,
}

impl Clients {
    fn connect(address: SocketAddr, load: &Load) -> Result<Clients> {
        let close = if load.close { "Connection: close\r\n" } else { "" };
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n{close}\r\n", load.path, address.ip());
        let poll = Poll::new()?;
        let security = load.tls.map(Security::new).transpose()?;
        let connect = |index| Client::connect(&poll, index, address, security.as_ref());
        let clients = (0..load.connections).map(connect).collect::<io::Result<_>>()?;
        Ok(Clients {
            address,
            load: *load,
            security,
            request: request.into_bytes(),
            poll,
            events: Events::with_capacity(256),
            clients,
            buffer: vec![0; 256 * 1024],
            answers: 0,
            failures: 0,
            resumed: 0,
            last_answer: Instant::now(),
            last_byte: Instant::now(),
        })
    }

    fn serve_until(&mut self, end: Instant) -> Result {
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Every connection has had its first answer, and sessions are there to be resumed.
    fn settle(&mut self) -> Result {
        while self.answers < 2 * self.clients.len() as u64 {
            self.turn()?;
        }
        Ok(())
    }

    fn serve_one(&mut self) -> Result {
        let answers = self.answers;
        while self.answers == answers {
            self.turn()?;
        }
        Ok(())
    }

    /// Waits for something to do and does it.
    fn turn(&mut self) -> Result {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
        for event in &events {
            let index = event.token().0;
            match self.advance(index) {
                Ok(()) => {}
                Err(Trouble::Connection) => {
                    self.failures += 1;
                    self.reconnect(index)?;
                }
                Err(Trouble::Wrong(what)) => {
                    return Err(error(format!("wrong answer to {}: {what}", self.load.path)));
                }
            }
        }
        self.events = events;
        self.check_progress()
    }

    fn check_progress(&self) -> Result {
        let path = self.load.path;
        if self.last_byte.elapsed() > STALL {
            // One attempt waits only milliseconds for its connection, which a busy machine may not keep.
            return Err(error(format!("not a byte of {path} came for {STALL:?}{}", self.others())));
        }
        if self.last_answer.elapsed() > PATIENCE {
            return Err(error(format!("no answer to {path} was complete within {PATIENCE:?}")));
        }
        Ok(())
    }

    /// What a new connection meets.
    fn others(&self) -> &'static str {
        if self.load.tls.is_some() {
            return "";
        }
        // One attempt waits only milliseconds for its connection, which a busy machine may not keep.
        let answered = (0..100).any(|_| answers(self.address, self.load.path).is_some());
        if answered { "; a new connection is answered" } else { "; nor is a new connection answered" }
    }

    fn advance(&mut self, index: usize) -> std::result::Result<(), Trouble> {
        let client = &mut self.clients[index];
        if !client.asked {
            client.ask(&self.request)?;
        }
        while client.asked {
            let len = match client.transport.read(&mut self.buffer) {
                Ok(0) => return Err(Trouble::Connection),
                Ok(len) => len,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::Other => return Err(Trouble::Wrong(cause.to_string())),
                Err(_) => return Err(Trouble::Connection),
            };
            self.last_byte = Instant::now();
            match client.answer.take(&self.buffer[..len]).map_err(Trouble::Wrong)? {
                Progress::Partial => {}
                Progress::Complete(body_len) if body_len != self.load.body_len => {
                    return Err(Trouble::Wrong(format!("a body of {body_len} bytes")));
                }
                Progress::Complete(_) => {
                    self.answers += 1;
                    self.resumed += u64::from(client.transport.is_resumed());
                    self.last_answer = Instant::now();
                    if self.load.close {
                        return self.reconnect(index).map_err(|_| Trouble::Connection);
                    }
                    client.ask(&self.request)?;
                }
            }
            // A read that did not fill the buffer has emptied the socket, and the next bytes raise
            // a new event: no need to ask for `WouldBlock`. With TLS it has emptied one record.
            if len < self.buffer.len() && self.load.tls.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn reconnect(&mut self, index: usize) -> io::Result<()> {
        self.clients[index] = Client::connect(&self.poll, index, self.address, self.security.as_ref())?;
        Ok(())
    }
}

/// Why a connection did not get on.
enum Trouble {
    /// It failed or was closed too soon.
    Connection,
    /// It got an answer that is not right.
    Wrong(String),
}

impl Client {
    fn connect(poll: &Poll, index: usize, address: SocketAddr, security: Option<&Security>) -> io::Result<Client> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), interest)?;
        let transport = Transport::new(stream, security)?;
        Ok(Client { transport, asked: false, answer: Answer::default() })
    }

    /// Sends the request when connected. It always fits an empty send buffer in one piece.
    fn ask(&mut self, request: &[u8]) -> std::result::Result<(), Trouble> {
        match self.transport.write(request) {
            Ok(len) if len == request.len() => self.asked = true,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => self.asked = false,
            Err(cause) if cause.kind() == io::ErrorKind::NotConnected => self.asked = false,
            Ok(_) | Err(_) => return Err(Trouble::Connection),
        }
        Ok(())
    }
}

/// The guest's address and port.
pub fn address_of(guest: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(guest, port))
}
