//! The wall clock by network time (SNTP: RFC 4330, and RFC 5905, 14).
//!
//! [`Sntp::run`] asks one server after the other until one answers, and then that one. [`packet`] says what a packet
//! means, and [`discipline`] what the measured offsets do to the clock: the first few set it, later ones slew it, and a
//! large one steps it when several agree. The monotonic clock is never touched.

mod discipline;
pub mod limits;
mod packet;
#[cfg(test)]
mod tests;

use crate::dns::{Datagrams, Families, Network, Resolver};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
};
use discipline::{Correction, Discipline, Sample};
use limits::{ANSWER_TIME_MAX, SERVERS_MAX};
use packet::{Kiss, Misfit, PACKET_LEN, Times};
use unikernel_rt::{
    entropy,
    future::{Either, FutureExt, select},
    log::{info, warn},
    sync::Notify,
    task::waiting_for,
    time::{Duration, Instant, set_unix_time, sleep, slew_unix_time, timeout, unix_time},
};

const PORT: u16 = 123;

/// Keeps the wall clock right.
pub(crate) struct Sntp<N> {
    network: N,
    resolver: Resolver<N>,
    servers: RefCell<Vec<Server>>,
    changed: Notify,
    /// Whether the log knows that nobody answers.
    told: Cell<bool>,
}

/// A server by address or name.
struct Server {
    host: String,
    /// It said that it will not answer.
    denies: Cell<bool>,
}

/// Why there is no sample.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    NoAnswer,
    TooOften,
    Denied,
}

impl<N: Network> Sntp<N> {
    /// Asks nobody until [`configure`](Self::configure) names servers.
    pub(crate) fn new(network: N, resolver: Resolver<N>) -> Sntp<N> {
        let (servers, changed, told) = (RefCell::default(), Notify::of("a time server"), Cell::new(false));
        Sntp { network, resolver, servers, changed, told }
    }

    /// Asks these servers from now on: addresses or names, in this order. Those beyond a few are ignored.
    pub(crate) fn configure<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) {
        let hosts: Vec<&str> = hosts.into_iter().take(SERVERS_MAX).collect();
        if self.servers.borrow().iter().map(|server| &*server.host).eq(hosts.iter().copied()) {
            return;
        }
        let server = |host: &str| Server { host: host.to_string(), denies: Cell::new(false) };
        *self.servers.borrow_mut() = hosts.into_iter().map(server).collect();
        self.changed.notify_one();
    }

    /// Keeps the clock. `families` says which kinds of addresses can be reached. Dropped, it leaves the clock as it is.
    pub(crate) async fn run(&self, families: impl Fn() -> Families) -> ! {
        loop {
            // Servers that were named before now are known.
            let _ = self.changed.notified().now_or_never();
            self.follow(&families).await;
            if self.usable() == 0 {
                self.changed.notified().await;
            }
        }
    }

    /// Until no server is left to be asked, or others are named.
    async fn follow(&self, families: &impl Fn() -> Families) {
        let (mut discipline, mut current) = (Discipline::new(), 0);
        while let Some(host) = self.server(&mut current) {
            let wait = match self.measure(&host, families()).await {
                Ok(sample) => {
                    self.correct(discipline.take(sample), &host);
                    discipline.wait()
                }
                Err(failure) => {
                    self.note(failure, &host);
                    current += 1;
                    discipline.fail(failure == Failure::TooOften, self.servers.borrow().len())
                }
            };
            let pause = select(sleep(wait), self.changed.notified());
            if let Either::Right(_) = waiting_for("a timer", pause).await {
                return;
            }
        }
    }

    fn usable(&self) -> usize {
        self.servers.borrow().iter().filter(|server| !server.denies.get()).count()
    }

    /// The server at `current`, or the next that may be asked.
    fn server(&self, current: &mut usize) -> Option<String> {
        let servers = self.servers.borrow();
        let turn = (0..servers.len()).map(|step| (*current + step) % servers.len());
        *current = turn.into_iter().find(|index| !servers[*index].denies.get())?;
        Some(servers[*current].host.clone())
    }

    /// One question and its answer.
    async fn measure(&self, host: &str, families: Families) -> Result<Sample, Failure> {
        let server = self.address(host, families).await.ok_or(Failure::NoAnswer)?;
        let socket = self.network.udp().ok_or(Failure::NoAnswer)?;
        let cookie = entropy::u64();
        let (wall, start) = (unix_time(), Instant::now());
        if !socket.send_to(&packet::request(cookie), server).await {
            return Err(Failure::NoAnswer);
        }
        let times = timeout(ANSWER_TIME_MAX, hear(&socket, server, cookie)).await.unwrap_or(Err(Failure::NoAnswer))?;
        Sample::new(wall, start.elapsed(), &times).ok_or(Failure::NoAnswer)
    }

    async fn address(&self, host: &str, families: Families) -> Option<SocketAddr> {
        if let Ok(address) = host.parse() {
            return Some(address);
        }
        let addresses: Vec<IpAddr> = self.resolver.lookup(host, families).await.ok()?;
        addresses.first().map(|address| SocketAddr::new(*address, PORT))
    }

    /// Does what the discipline says.
    fn correct(&self, correction: Correction, host: &str) {
        self.told.set(false);
        match correction {
            Correction::None => {}
            Correction::Slew(micros) => slew_unix_time(micros),
            Correction::Set(micros) => {
                step(micros);
                info!("clock: set by {}; it was off by {} ms", host, micros / 1000);
            }
            Correction::Step(micros) => {
                step(micros);
                warn!("clock: stepped by {} ms, says {}; was the machine stopped?", micros / 1000, host);
            }
        }
    }

    fn note(&self, failure: Failure, host: &str) {
        match failure {
            Failure::Denied => {
                let servers = self.servers.borrow();
                servers.iter().filter(|server| server.host == host).for_each(|server| server.denies.set(true));
                warn!("clock: the time server {} refuses this machine; name another one with ntp=ADDR", host);
            }
            Failure::NoAnswer if !self.told.replace(true) => {
                warn!(
                    "clock: no usable answer from the time server {}; still asking. Name another one with ntp=ADDR",
                    host
                )
            }
            Failure::NoAnswer | Failure::TooOften => {}
        }
    }
}

fn step(by_micros: i64) {
    let now = unix_time().as_micros() as u64;
    set_unix_time(Duration::from_micros(now.saturating_add_signed(by_micros)));
}

/// Waits for the answer to the request with `cookie`; what does not fit it is not heard.
async fn hear(socket: &impl Datagrams, server: SocketAddr, cookie: u64) -> Result<Times, Failure> {
    let mut buffer = [0; PACKET_LEN];
    loop {
        let (len, from) = socket.receive_from(&mut buffer).await;
        if (from.ip(), from.port()) != (server.ip(), server.port()) {
            continue;
        }
        match packet::read(&buffer[..len], cookie) {
            Ok(times) => return Ok(times),
            Err(Misfit::Foreign) => {}
            Err(Misfit::Kiss(Kiss::Deny)) => return Err(Failure::Denied),
            Err(Misfit::Kiss(Kiss::Rate)) => return Err(Failure::TooOften),
            Err(Misfit::Kiss(Kiss::Other) | Misfit::Unfit) => return Err(Failure::NoAnswer),
        }
    }
}
