//! Two machines on a simulated cable.
#![allow(dead_code)] // Every test file uses its own part of it.

pub mod raw;

use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};
use unikernel_net::{Config, Error, Ipv4Cidr, Read, Stack, Stream, Write};
use unikernel_rt::{
    device::{Frame, NetDevice, Offloads},
    sim::{Faults, Random, SimPort, cable},
    time::{Duration, sleep},
};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// The address of a port of the server.
pub fn at(port: u16) -> SocketAddr {
    SocketAddr::new(SERVER.into(), port)
}

pub fn fixed(address: Ipv4Addr) -> Config {
    Config::fixed(Ipv4Cidr::new(address, 24).unwrap())
}

/// A client's and a server's stack.
pub fn stacks(faults: Faults) -> (Stack, Stack) {
    stacks_with(faults, fixed(SERVER))
}

pub fn stacks_with(faults: Faults, server: Config) -> (Stack, Stack) {
    let (left, right) = cable(faults);
    (Stack::new(Box::new(left), fixed(CLIENT)), Stack::new(Box::new(right), server))
}

/// A server's stack, and the bare port of its peer.
pub fn server_and_port(server: Config) -> (SimPort, Stack) {
    let (left, right) = cable(Faults::NONE);
    (left, Stack::new(Box::new(right), server))
}

/// Faults of a bad network: every kind, `per_mille` of the frames.
pub fn bad(per_mille: u16, seed: u64) -> Faults {
    Faults {
        delay: Duration::from_millis(2),
        jitter: Duration::from_micros(500),
        loss: per_mille,
        duplicate: per_mille,
        reorder: per_mille,
        corrupt: per_mille,
        seed,
        ..Faults::NONE
    }
}

/// Sends back what comes, until the peer ends its direction.
pub async fn echo(mut stream: Stream) -> Result<usize, Error> {
    let mut bytes = [0; 3000];
    let mut total = 0;
    loop {
        let len = stream.read(&mut bytes).await?;
        if len == 0 {
            return Ok(total);
        }
        stream.write_all(&bytes[..len]).await?;
        total += len;
    }
}

/// Accepts and echoes for ever.
pub fn serve_echo(stack: &Stack, port: u16) {
    let mut listener = stack.listen(port).unwrap();
    unikernel_rt::spawn(async move {
        loop {
            let stream = listener.accept().await;
            unikernel_rt::spawn(echo(stream));
        }
    });
}

pub fn data(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(seed).fill(&mut bytes);
    bytes
}

/// Everything until the peer's FIN.
pub async fn read_all(stream: &mut impl Read<Error = Error>) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    let mut bytes = [0; 2000];
    loop {
        match stream.read(&mut bytes).await? {
            0 => return Ok(all),
            len => all.extend_from_slice(&bytes[..len]),
        }
    }
}

/// Waits until no connection is left; fails when one outlives every time limit.
pub async fn settled(stacks: &[&Stack]) {
    for _ in 0..300 {
        if stacks.iter().all(|stack| stack.stats().flows == 0) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    let left: Vec<_> = stacks.iter().map(|stack| stack.stats()).collect();
    panic!("flows are left: {left:#?}");
}

/// A port whose cable can be cut.
pub struct Switch<D> {
    port: D,
    is_cut: std::rc::Rc<std::cell::Cell<bool>>,
}

/// Cuts the cable.
pub struct Knife(std::rc::Rc<std::cell::Cell<bool>>);

impl Knife {
    pub fn cut(&self) {
        self.0.set(true);
    }
}

impl<D: NetDevice> Switch<D> {
    pub fn new(port: D) -> Switch<D> {
        Switch { port, is_cut: Default::default() }
    }

    pub fn handle(&self) -> Knife {
        Knife(self.is_cut.clone())
    }
}

impl<D: NetDevice> NetDevice for Switch<D> {
    fn mac(&self) -> [u8; 6] {
        self.port.mac()
    }
    fn mtu(&self) -> usize {
        self.port.mtu()
    }
    fn offloads(&self) -> Offloads {
        self.port.offloads()
    }
    fn receive(&mut self) -> Option<Frame> {
        let frame = self.port.receive()?;
        (!self.is_cut.get()).then_some(frame)
    }
    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.is_cut.get() { Ok(()) } else { self.port.transmit(frame) }
    }
    fn flush(&mut self) {
        self.port.flush();
    }
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.port.poll_ready(cx)
    }
}

/// Connects to a port of the server, however often it takes: a garbled ARP answer, which on a real network no
/// card would let through, misleads the client for a minute.
pub async fn connect_patiently(client: &Stack, port: u16) -> Stream {
    loop {
        if let Ok(stream) = client.connect(at(port)).await {
            return stream;
        }
    }
}
