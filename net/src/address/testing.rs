//! What the tests of the machines share: a moment that is set by hand, repeatable random numbers, sent frames.

use super::Turn;
use std::vec::Vec;
use unikernel_rt::{
    device::Frame,
    sim::Random,
    time::{Duration, Instant},
};

pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const EVIL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xee];

/// A port in a test.
pub(crate) struct Bench {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) sent: Vec<Frame>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench { now: Instant::from_millis(1000), random: Random::new(1), sent: Vec::new() }
    }

    /// One step of a machine.
    pub(crate) fn step<R>(&mut self, f: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let Bench { now, random, sent } = self;
        f(&mut Turn { now: *now, random: &mut || random.u64(), out: &mut |frame| sent.push(frame) })
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// What was sent since the last call.
    pub(crate) fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.sent)
    }
}

/// RFC 1071, two bytes at a time: nothing is shared with the code under test.
pub(crate) fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// An ICMPv6 message in IPv6 in Ethernet, by hand. `hop_by_hop` is a whole extension header, or nothing.
pub(crate) fn icmp6(
    from: [u8; 6],
    source: &str,
    destination: &str,
    hops: u8,
    hop_by_hop: &[u8],
    message: &[u8],
) -> Vec<u8> {
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let (source, destination) = (address(source), address(destination));
    let mut message = message.to_vec();
    message[2..4].fill(0);
    let len = (message.len() as u32).to_be_bytes();
    let checksum = !sum(&[&source, &destination, &len, &[0, 0, 0, 58], &message]);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let total = (hop_by_hop.len() + message.len()) as u16;
    let next = if hop_by_hop.is_empty() { 58 } else { 0 };
    let mut frame = [&OWN_MAC[..], &from, &[0x86, 0xdd, 0x60, 0, 0, 0], &total.to_be_bytes(), &[next, hops]].concat();
    frame.extend([&source[..], &destination, hop_by_hop, &message].concat());
    frame
}

/// What a sent IPv6 packet says, its sums checked: destination's Ethernet address, source, destination, hop limit, and
/// the bytes after all headers of IP.
#[derive(Debug)]
pub(crate) struct Sent6 {
    pub(crate) mac: [u8; 6],
    pub(crate) source: std::net::Ipv6Addr,
    pub(crate) destination: std::net::Ipv6Addr,
    pub(crate) hops: u8,
    pub(crate) hop_by_hop: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Sent6 {
    pub(crate) fn parse(frame: &[u8]) -> Option<Sent6> {
        if frame[12..14] != [0x86, 0xdd] {
            return None;
        }
        assert_eq!(frame[6..12], OWN_MAC);
        let ip = &frame[14..];
        assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), ip.len() - 40);
        let skip = if ip[6] == 0 { 8 + usize::from(ip[41]) * 8 } else { 0 };
        let protocol = if ip[6] == 0 { ip[40] } else { ip[6] };
        let payload = ip[40 + skip..].to_vec();
        let len = (payload.len() as u32).to_be_bytes();
        assert_eq!(sum(&[&ip[8..40], &len, &[0, 0, 0, protocol], &payload]), 0xffff, "checksum");
        let address = |at: usize| <[u8; 16]>::try_from(&ip[at..at + 16]).unwrap().into();
        let (source, destination) = (address(8), address(24));
        let mac = frame[..6].try_into().unwrap();
        Some(Sent6 { mac, source, destination, hops: ip[7], hop_by_hop: ip[40..40 + skip].to_vec(), payload })
    }
}

/// A whole port in a test.
pub(crate) struct Port {
    pub(crate) bench: Bench,
    pub(crate) interface: super::Interface,
}

pub(crate) fn config() -> super::PortConfig {
    super::PortConfig {
        mac: OWN_MAC,
        mtu: 1500,
        v4: super::V4::Off,
        v6: super::V6::Off,
        ids: super::Ids::Eui64,
        hostname: None,
        uuid: None,
        dns: Vec::new(),
        search: Vec::new(),
        ntp: Vec::new(),
    }
}

impl Port {
    pub(crate) fn new(config: super::PortConfig) -> Port {
        let mut bench = Bench::new();
        let interface = bench.step(|turn| super::Interface::new(config, turn));
        let mut port = Port { bench, interface };
        port.run(0);
        port
    }

    /// Lets seconds pass; fails if the port wants to be polled without end.
    pub(crate) fn run(&mut self, seconds: u64) {
        let end = self.bench.now + Duration::from_secs(seconds);
        loop {
            let Port { bench, interface } = self;
            bench.step(|turn| interface.poll(turn));
            let next = interface.next_moment();
            assert!(next > bench.now, "it would spin");
            if next > end {
                break;
            }
            bench.now = next;
        }
        self.bench.now = end;
    }

    pub(crate) fn icmp6(&mut self, frame: &[u8]) {
        let Port { bench, interface } = self;
        bench.step(|turn| interface.on_icmp6(frame, turn));
    }

    pub(crate) fn arp(&mut self, frame: &[u8]) {
        let Port { bench, interface } = self;
        bench.step(|turn| interface.on_arp(frame, turn));
    }

    pub(crate) fn events(&mut self) -> Vec<super::Event> {
        std::iter::from_fn(|| self.interface.take_event()).collect()
    }

    /// The IPv6 packets sent since the last call.
    pub(crate) fn sent6(&mut self) -> Vec<Sent6> {
        self.bench.take().iter().filter_map(|frame| Sent6::parse(frame)).collect()
    }

    pub(crate) fn source(&self, to: &str) -> Option<std::string::String> {
        use std::string::ToString;
        self.interface.addresses().source_for(to.parse().unwrap()).map(|ip| ip.to_string())
    }

    pub(crate) fn next_hop(&self, to: &str) -> Option<std::string::String> {
        use std::string::ToString;
        self.interface.addresses().next_hop(to.parse().unwrap()).map(|ip| ip.to_string())
    }
}

/// Changes some bytes, as an attacker or a bad cable would.
pub(crate) fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.u64() as u8,
            2 | 3 => bytes[at] = [0, 1, 2, 4, 0x7f, 0x80, 0xfe, 0xff][random.below(8)],
            4 => bytes.truncate(at),
            5 => bytes.extend((0..random.below(64)).map(|n| n as u8)),
            6 => {
                let part = bytes[at..(at + 1 + random.below(32)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            _ => drop(bytes.splice(at..(at + 1 + random.below(8)).min(bytes.len()), [])),
        }
    }
    bytes.truncate(1500);
}

impl Port {
    /// What strangers may make of a port at most, whatever they send.
    pub(crate) fn check_bounds(&mut self) {
        use super::limits::*;
        let own = self.interface.addresses();
        assert!(own.v6.len() <= ADDRESSES_MAX && own.groups.len() <= GROUPS_MAX + 2);
        assert!(own.dns.len() <= SERVERS_MAX && own.ntp.len() <= SERVERS_MAX && own.search.len() <= SEARCH_MAX);
        assert!(own.routes4.len() <= ROUTES_MAX && own.routes6.len() <= ROUTERS_MAX + PREFIXES_MAX + 3);
        assert!(own.search.iter().all(|name| name.len() <= DOMAIN_LEN_MAX));
        assert!(self.interface.neighbors().0.len() <= NEIGHBORS_MAX);
        assert!(self.events().len() <= EVENTS_MAX);
        for frame in &self.bench.sent {
            assert!(frame.len() <= 1514, "a frame of {} bytes", frame.len());
        }
    }
}
