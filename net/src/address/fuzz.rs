//! Valid packets with some bytes changed, and random ones, into whole ports: no panic, bounded memory, bounded answers.

use super::{
    Event, Ids, PortConfig, V4, V6,
    limits::ADDRESSES_MAX,
    testing::{EVIL_MAC, OWN_MAC, PEER_MAC, Port, config, icmp6, mutate, sum},
};
use crate::config::Ipv4Cidr;
use std::{net::Ipv4Addr, string::ToString, vec::Vec};
use unikernel_rt::{device::Frame, sim::Random, time::Duration};

const ROUNDS: usize = 100;
const INPUTS: usize = 1000;

/// What one input may make a port send: an advertisement may bring as many networks as there is room for addresses,
/// each address is tested and its group reported.
const ANSWERS_MAX: usize = 2 * ADDRESSES_MAX + 8;

/// [`ROUNDS`] ports, each with [`INPUTS`] packets by `input`, which sees the packets sent since the last one.
fn fuzz(config: &PortConfig, mut input: impl FnMut(&mut Port, &mut Random, &[Frame])) {
    for round in 0..ROUNDS {
        let mut random = Random::new(round as u64 + 1);
        let mut port = Port::new(config.clone());
        port.bench.random = Random::new(round as u64 + 1_000_000);
        for _ in 0..INPUTS {
            let sent = port.bench.take();
            input(&mut port, &mut random, &sent);
            assert!(port.bench.sent.len() <= ANSWERS_MAX, "{} answers", port.bench.sent.len());
            port.check_bounds();
            // Most inputs come at once, some when the port has something to say, few after long.
            match random.below(100) {
                0 => port.run(random.below(10) as u64),
                1 if random.chance(100) => port.run(random.below(10_000) as u64),
                2..30 => {
                    let wait = port.interface.next_moment() - port.bench.now;
                    pass(&mut port, wait.min(Duration::from_secs(10_000)));
                }
                _ => pass(&mut port, Duration::from_millis(random.below(10) as u64)),
            }
        }
    }
}

fn pass(port: &mut Port, time: Duration) {
    port.bench.pass(time);
    let Port { bench, interface } = port;
    bench.step(|turn| interface.poll(turn));
}

/// Sends something to a neighbour, so that there are questions open.
fn talk(port: &mut Port, to: &str) {
    let Port { bench, interface } = port;
    bench.step(|turn| drop(interface.send(to.parse().unwrap(), Frame::from_bytes(&[0; 60]), turn)));
}

fn noise(random: &mut Random, len: usize) -> Vec<u8> {
    let mut bytes = std::vec![0; random.below(len)];
    random.fill(&mut bytes);
    bytes
}

const OWN4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

#[test]
fn arp_and_igmp() {
    let v4 = V4::Static { address: Ipv4Cidr::new(OWN4, 24).unwrap(), gateway: Some(Ipv4Addr::new(10, 0, 0, 1)) };
    fuzz(&PortConfig { v4, ..config() }, |port, random, _| {
        talk(port, ["10.0.0.1", "10.0.0.3", "10.0.0.4", "8.8.8.8"][random.below(4)]);
        let mut frame = match random.below(4) {
            0 => igmp(random),
            1 => noise(random, 80),
            _ => arp(random),
        };
        mutate(&mut frame, random);
        port.arp(&frame);
        let Port { bench, interface } = port;
        bench.step(|turn| interface.on_igmp(&frame, turn));
        assert!(interface.addresses().is_ours(OWN4.into()));
    });
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mac = [PEER_MAC, EVIL_MAC][random.below(2)];
    let host = |random: &mut Random| [10, 0, 0, random.below(5) as u8];
    let operation = 1 + random.below(2) as u8;
    let (sender, target) = (host(random), host(random));
    [&OWN_MAC[..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation], &mac, &sender, &OWN_MAC, &target].concat()
}

fn igmp(random: &mut Random) -> Vec<u8> {
    let mut query =
        [&[0x11, random.u64() as u8, 0, 0, 0, 0, 0, 0][..], &[2, 125, 0, 0][..4 * random.below(2)]].concat();
    let checksum = !sum(&[&query]);
    query[2..4].copy_from_slice(&checksum.to_be_bytes());
    let total = (20 + query.len()) as u16;
    let header = [&[0x45, 0][..], &total.to_be_bytes(), &[0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1, 224, 0, 0, 1]].concat();
    [&[1, 0, 0x5e, 0, 0, 1][..], &PEER_MAC, &[8, 0], &header, &query].concat()
}

#[test]
fn icmp6_of_all_kinds() {
    let config = PortConfig { v6: V6::Automatic, ids: Ids::Stable([1, 2]), ..config() };
    fuzz(&config, |port, random, _| {
        talk(port, ["fe80::1", "fe80::2", "2001:db8::9", "2001:4860::8"][random.below(4)]);
        let own = port.source("2001:4860::8").unwrap_or("fe80::5".into());
        let mut message = message(random, &own);
        mutate(&mut message, random);
        message.resize(message.len().max(8), 0);
        let source = ["fe80::1", "fe80::2", "2001:db8::9", "::"][random.below(4)];
        let hops = [255, 255, 255, 1, 64][random.below(5)];
        let hop_by_hop = [&[][..], &[58, 0, 5, 2, 0, 0, 1, 0]][random.below(2)];
        let destination = ["ff02::1", &own][random.below(2)];
        let mut frame = icmp6([PEER_MAC, EVIL_MAC][random.below(2)], source, destination, hops, hop_by_hop, &message);
        if random.chance(200) {
            mutate(&mut frame, random);
        }
        port.icmp6(&frame);
        port.icmp6(&noise(random, 100));
    });
}

/// An advertisement, a neighbour's message, or a query.
fn message(random: &mut Random, own: &str) -> Vec<u8> {
    let own = own.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let peer = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[9]].concat();
    let target = if random.chance(500) { &own[..] } else { &peer };
    match random.below(6) {
        0 | 1 => advertisement(random),
        2 => [&[135, 0, 0, 0, 0, 0, 0, 0][..], target, &[1, 1], &PEER_MAC].concat(),
        3 => [&[136, 0, 0, 0, random.u64() as u8, 0, 0, 0][..], target, &[2, 1], &PEER_MAC].concat(),
        4 => [&[130, 0, 0, 0, random.u64() as u8, 100, 0, 0][..], &[0; 16], &[2, 125, 0, 0][..4 * random.below(2)]]
            .concat(),
        _ => noise(random, 200),
    }
}

fn advertisement(random: &mut Random) -> Vec<u8> {
    let network = random.below(200) as u8;
    let times = [[0, 0, 1, 0], [0xff; 4], [0, 0, 0, 0], [0, 1, 0, 0]];
    let (valid, preferred) = (times[random.below(4)], times[random.below(4)]);
    let prefix =
        [&[3, 4, 64, 0xc0][..], &valid, &preferred, &[0; 4], &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, network], &[0; 8]];
    let dns = [&[25, 3, 0, 0][..], &valid, &[0x20, 1, 0x0d, 0xb8], &[0; 11], &[network]].concat();
    let search = [&[31, 3, 0, 0][..], &valid, b"\x03lab\x07exampl", &[network], b"\x00\x00\x00\x00"].concat();
    let lifetime = [0, 0, 7, 8][random.below(4)];
    let head = [134, 0, 0, 0, 64, random.u64() as u8, lifetime, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    [&head[..], &[1, 1], &PEER_MAC, &[5, 1, 0, 0, 0, 0, 5, 0x78], &prefix.concat(), &dns, &search].concat()
}

#[test]
fn dhcp4_answers() {
    let (mut leases, mut losses) = (0, 0);
    fuzz(&PortConfig { v4: V4::Dhcp, ..config() }, |port, random, sent| {
        let is_dhcp = |frame: &&Frame| frame[12..14] == [8, 0] && frame[23] == 17;
        let mut bytes = match sent.iter().find(is_dhcp) {
            Some(question) => dhcp4_answer(question, random),
            None => noise(random, 600),
        };
        if random.chance(700) {
            mutate(&mut bytes, random);
        }
        let Port { bench, interface } = port;
        let had = interface.addresses().v4;
        bench.step(|turn| interface.on_dhcp4(&bytes, turn));
        let has = interface.addresses().v4;
        leases += usize::from(had.is_none() && has.is_some());
        losses += usize::from(had.is_some() && has.is_none());
        if has.is_some() && random.chance(10) {
            port.arp(&arp(random));
        }
    });
    assert!(leases > 500 && losses > 100, "{leases} leases and {losses} losses reach little");
}

fn dhcp4_answer(question: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = question[42..282].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&[10, 0, 0, 2]);
    let kind = match question[284] {
        1 => 2,
        _ if random.chance(100) => 6,
        _ => 5,
    };
    bytes.extend([53, 1, kind, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, random.below(3) as u8, 88, 1, 4, 255, 255, 255, 0]);
    bytes.extend([3, 4, 10, 0, 0, 1, 6, 8, 10, 0, 0, 3, 8, 8, 8, 8, 26, 2, 5, 120, 42, 4, 10, 0, 0, 4]);
    bytes.extend([121, 14, 0, 10, 0, 0, 4, 32, 10, 0, 0, 77, 10, 0, 0, 5, 58, 4, 0, 0, 0, 100, 59, 4, 0, 0, 0, 200]);
    bytes.extend(b"\x0f\x0bexample.com\x77\x0f\x03eng\x05apple\x00\x01x\xc0\x04");
    bytes.extend([52, 1, random.below(4) as u8, 255]);
    bytes
}

#[test]
fn dhcp6_answers() {
    let (mut leases, mut losses) = (0, 0);
    fuzz(&PortConfig { v6: V6::Automatic, ..config() }, |port, random, sent| {
        let flags = [0x80, 0xc0, 0x40][random.below(3)];
        let advertisement = [134, 0, 0, 0, 64, flags, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        if random.chance(20) {
            port.icmp6(&icmp6(PEER_MAC, "fe80::1", "ff02::1", 255, &[], &advertisement));
        }
        let is_dhcp = |frame: &&Frame| frame.len() > 62 && frame[20] == 17;
        let mut bytes = match sent.iter().find(is_dhcp) {
            Some(question) => dhcp6_answer(question, random),
            None => noise(random, 300),
        };
        if random.chance(600) {
            mutate(&mut bytes, random);
        }
        let Port { bench, interface } = port;
        bench.step(|turn| interface.on_dhcp6(&bytes, turn));
        let is = |event: &Event, gained| match event {
            Event::Gained(address) => gained && address.to_string().starts_with("2001"),
            Event::Lost(address) => !gained && address.to_string().starts_with("2001"),
            _ => false,
        };
        let events = port.events();
        leases += events.iter().filter(|event| is(event, true)).count();
        losses += events.iter().filter(|event| is(event, false)).count();
    });
    assert!(leases > 1000 && losses > 100, "{leases} leases and {losses} losses reach little");
}

fn dhcp6_answer(question: &[u8], random: &mut Random) -> Vec<u8> {
    let bytes = &question[62..];
    let option = |code: u16, data: &[u8]| [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat();
    let host = |last: u8| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    let life = [0, 0, random.below(3) as u8, 88];
    let leased = option(5, &[&host(random.below(20) as u8)[..], &life, &life].concat());
    let status = option(13, &[0, random.below(20).saturating_sub(14) as u8]);
    let association = option(3, &[&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], &leased, &status].concat());
    let kind = if bytes[0] == 1 { [2, 7][random.below(2)] } else { 7 };
    [
        [&[kind][..], &bytes[1..4]].concat(),
        option(1, &[&[0, 3, 0, 1][..], &OWN_MAC].concat()),
        option(2, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 2]),
        association,
        option(14, &[]),
        option(23, &host(53)),
        option(24, b"\x03lab\x07example\x00"),
        option(56, &option(1, &host(123))),
        option(82, &[0, 0, 1, 0]),
    ]
    .concat()
}
