//! A port among honest and lying routers and neighbours.

use crate::address::{
    Event, PortConfig, State6, V6,
    limits::*,
    testing::{EVIL_MAC, OWN_MAC, PEER_MAC, Port, Sent6, config, icmp6},
};
use std::{format, net::Ipv6Addr, string::String, vec, vec::Vec};
use unikernel_rt::time::Duration;

const ROUTER: &str = "fe80::1";
const OWN_LINK: &str = "fe80::ff:fe00:1";
const OWN: &str = "2001:db8::ff:fe00:1";
const ALL: &str = "ff02::1";

fn port() -> Port {
    Port::new(PortConfig { v6: V6::Automatic, ..config() })
}

/// The head of an advertisement: flags and lifetime.
fn head(flags: u8, lifetime: u16) -> Vec<u8> {
    [&[134, 0, 0, 0, 64, flags][..], &lifetime.to_be_bytes(), &[0; 8]].concat()
}

fn prefix(network: &str, len: u8, valid: u32, preferred: u32) -> Vec<u8> {
    let network: Ipv6Addr = network.parse().unwrap();
    let times = [valid.to_be_bytes(), preferred.to_be_bytes(), [0; 4]].concat();
    [&[3, 4, len, 0xc0][..], &times, &network.octets()].concat()
}

fn advertise_from(port: &mut Port, mac: [u8; 6], router: &str, parts: &[&[u8]]) {
    port.icmp6(&icmp6(mac, router, ALL, 255, &[], &parts.concat()));
}

fn advertise(port: &mut Port, parts: &[&[u8]]) {
    advertise_from(port, PEER_MAC, ROUTER, parts);
}

fn configured() -> Port {
    let mut port = port();
    advertise(&mut port, &[&head(0, 1800), &[1, 1], &PEER_MAC, &prefix("2001:db8::", 64, 86400, 3600)]);
    port.run(2);
    port.bench.take();
    port.events();
    port
}

fn lost(address: &str) -> Event {
    Event::Lost(address.parse().unwrap())
}

fn gained(address: &str) -> Event {
    Event::Gained(address.parse().unwrap())
}

/// The kinds of messages of neighbour discovery in `sent`.
fn kinds(sent: &[Sent6]) -> Vec<u8> {
    sent.iter().map(|packet| packet.payload[0]).filter(|kind| (133..=137).contains(kind)).collect()
}

#[test]
fn it_begins_with_a_probe_and_a_question_for_routers() {
    let mut port = port();
    let mut sent = port.sent6();
    let report = sent.pop().unwrap();
    assert_eq!((report.payload[0], report.source, report.hops), (143, OWN_LINK.parse().unwrap(), 1));
    let found: Vec<_> = sent.iter().map(|sent| (sent.payload[0], sent.source, sent.destination, sent.hops)).collect();
    let nobody = Ipv6Addr::UNSPECIFIED;
    let solicited = "ff02::1:ff00:1".parse().unwrap();
    assert_eq!(found, [(135, nobody, solicited, 255), (133, nobody, "ff02::2".parse().unwrap(), 255)]);
    assert_eq!(sent[0].mac, [0x33, 0x33, 0xff, 0, 0, 1]);
    assert_eq!((sent[0].payload.len(), sent[1].payload.len()), (24, 8));
    assert_eq!(port.events(), [gained(OWN_LINK), Event::Changed]);
    port.run(5);
    let sent = port.sent6();
    let sent: Vec<_> = sent.iter().filter(|sent| sent.payload[0] == 133).collect();
    assert_eq!((sent.len(), sent[0].source), (1, OWN_LINK.parse().unwrap()));
    assert_eq!(sent[0].payload[8..], [&[1, 1][..], &OWN_MAC].concat());
}

#[test]
fn routers_are_asked_for_less_and_less() {
    let mut port = port();
    port.run(86_400);
    let asked = kinds(&port.sent6()).iter().filter(|kind| **kind == 133).count();
    assert!((25..45).contains(&asked), "{asked}");
    advertise(&mut port, &[&head(0, 1800)]);
    port.run(1700);
    assert_eq!(kinds(&port.sent6()), [0; 0]);
    port.run(101);
    assert_eq!(kinds(&port.sent6()), [133], "after the last router's end");
}

#[test]
fn an_advertisement_makes_an_address_and_routes() {
    let mut port = port();
    advertise(&mut port, &[&head(0, 1800), &[1, 1], &PEER_MAC, &prefix("2001:db8::", 64, 86400, 3600)]);
    // At once, with care.
    assert_eq!(port.source("2001:db8:1::1").as_deref(), Some(OWN));
    assert_eq!(port.interface.addresses().state6(OWN.parse().unwrap()), Some(State6::Optimistic));
    port.run(1);
    assert_eq!(port.interface.addresses().state6(OWN.parse().unwrap()), Some(State6::Preferred));
    assert_eq!(port.next_hop("2001:db8:1::1").as_deref(), Some(ROUTER));
    assert_eq!(port.next_hop("2001:db8::7").as_deref(), Some("2001:db8::7"));
    assert_eq!(port.next_hop("fe80::7").as_deref(), Some("fe80::7"));
    assert_eq!(port.source("fe80::7").as_deref(), Some(OWN_LINK));
    assert_eq!(port.interface.addresses().hop_limit, Some(64));
    // The router's Ethernet address came with it.
    let frame = unikernel_rt::device::Frame::from_bytes(&[0; 60]);
    let Port { bench, interface } = &mut port;
    let via = bench.step(|turn| interface.send("2001:db8:1::1".parse().unwrap(), frame, turn));
    let crate::neighbor::Via::Ready(frame) = via else { panic!("{via:?}") };
    assert_eq!(frame[..14], [&PEER_MAC[..], &OWN_MAC, &[0x86, 0xdd]].concat());
}

#[test]
fn without_a_router_there_is_no_way_out() {
    let mut port = port();
    advertise(&mut port, &[&head(0, 0), &prefix("2001:db8::", 64, 86400, 3600)]);
    assert_eq!(port.next_hop("2001:db8:1::1"), None);
    assert_eq!(port.next_hop("2001:db8::7").as_deref(), Some("2001:db8::7"));
}

/// An advertisement that changes nothing.
fn check_ignored(what: &str, frame: &[u8]) {
    let mut port = port();
    port.run(2);
    port.events();
    port.icmp6(frame);
    assert_eq!(port.events(), [], "{what}");
}

#[test]
fn forged_and_broken_advertisements() {
    let good = [head(0, 1800), prefix("2001:db8::", 64, 86400, 3600)].concat();
    let mut port = port();
    port.events();
    advertise(&mut port, &[&good]);
    assert!(!port.events().is_empty(), "the good one");
    check_ignored("through a router", &icmp6(PEER_MAC, ROUTER, ALL, 254, &[], &good));
    check_ignored("from afar", &icmp6(PEER_MAC, "2001:db8::1", ALL, 255, &[], &good));
    check_ignored("our own", &icmp6(OWN_MAC, ROUTER, ALL, 255, &[], &good));
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        icmp6(PEER_MAC, ROUTER, ALL, 255, &[], &bad)
    };
    check_ignored("a code", &with(1, 1));
    check_ignored("an option without length", &with(17, 0));
    check_ignored("an option that is too long", &with(17, 5));
    check_ignored("short", &icmp6(PEER_MAC, ROUTER, ALL, 255, &[], &good[..12]));
    let mut wrong_sum = icmp6(PEER_MAC, ROUTER, ALL, 255, &[], &good);
    wrong_sum[56] ^= 1;
    check_ignored("checksum", &wrong_sum);
}

#[test]
fn prefixes_that_make_no_address() {
    for (what, option) in [
        ("of the link", prefix("fe80::", 64, 86400, 3600)),
        ("a group", prefix("ff05::", 64, 86400, 3600)),
        ("too short for an identifier", prefix("2001:db8::", 56, 86400, 3600)),
        ("longer than an address", prefix("2001:db8::", 129, 86400, 3600)),
        ("preferred but not valid", prefix("2001:db8::", 64, 3600, 86400)),
        ("over", prefix("2001:db8::", 64, 0, 0)),
        ("short", vec![3, 1, 64, 0xc0, 0, 0, 0, 0]),
    ] {
        let mut port = port();
        advertise(&mut port, &[&head(0, 1800), &option]);
        assert_eq!(port.interface.addresses().v6.len(), 1, "{what}");
    }
}

#[test]
fn addresses_age() {
    let mut port = configured();
    port.run(3600);
    assert_eq!(port.interface.addresses().state6(OWN.parse().unwrap()), Some(State6::Deprecated));
    assert_eq!(port.next_hop("2001:db8:1::1"), None, "the router's half hour is over");
    port.run(86400);
    let events = port.events();
    assert!(events.contains(&lost(OWN)));
    assert_eq!(port.next_hop("2001:db8::7"), None);
}

#[test]
fn a_stranger_cannot_end_an_address_at_once() {
    let mut port = configured();
    advertise_from(&mut port, EVIL_MAC, "fe80::bad", &[&head(0, 0), &prefix("2001:db8::", 64, 1, 1)]);
    port.run(2 * 3600 - 10);
    assert!(port.interface.addresses().is_ours(OWN.parse().unwrap()));
    // The rest does not become shorter again.
    advertise_from(&mut port, EVIL_MAC, "fe80::bad", &[&head(0, 0), &prefix("2001:db8::", 64, 1, 1)]);
    advertise(&mut port, &[&head(0, 1800), &prefix("2001:db8::", 64, 86400, 3600)]);
    port.run(80_000);
    assert!(port.interface.addresses().is_ours(OWN.parse().unwrap()));
}

#[test]
fn an_address_for_ever() {
    let mut port = port();
    advertise(&mut port, &[&head(0, 1800), &prefix("2001:db8::", 64, u32::MAX, u32::MAX)]);
    port.run(100_000_000);
    assert_eq!(port.interface.addresses().state6(OWN.parse().unwrap()), Some(State6::Preferred));
}

#[test]
fn a_flood_of_advertisements_is_bounded_and_the_first_stay() {
    let mut port = configured();
    for n in 0..20_000u32 {
        let router = format!("fe80::{:x}:{:x}", n >> 16, (n & 0xffff) + 1);
        let network = format!("2001:db8:{:x}:{:x}::", n >> 16, (n & 0xffff) + 1);
        let servers =
            [&[25, 3, 0, 0, 0, 0, 255, 255][..], &format!("2001:db8::{n:x}").parse::<Ipv6Addr>().unwrap().octets()]
                .concat();
        let search =
            [&[31, 2, 0, 0, 0, 0, 255, 255][..], &[6], format!("a{:05}", n % 99_999).as_bytes(), &[0]].concat();
        advertise_from(
            &mut port,
            EVIL_MAC,
            &router,
            &[&head(0, 1800), &prefix(&network, 64, 86400, 3600), &servers, &search],
        );
        port.bench.take();
    }
    port.run(1);
    let own = port.interface.addresses();
    assert!(own.is_ours(OWN.parse().unwrap()));
    assert_eq!((own.v6.len(), own.dns.len(), own.search.len()), (ADDRESSES_MAX, SERVERS_MAX, SEARCH_MAX));
    assert_eq!(own.routes6.len(), ROUTERS_MAX + PREFIXES_MAX + 1);
    assert_eq!(port.next_hop("2001:db8::7").as_deref(), Some("2001:db8::7"));
    assert!(port.events().len() <= EVENTS_MAX);
}

#[test]
fn the_preferred_router_is_used_and_another_when_it_is_silent() {
    let mut port = configured();
    advertise_from(&mut port, EVIL_MAC, "fe80::2", &[&head(0x08, 1800), &[1, 1], &EVIL_MAC]);
    assert_eq!(port.next_hop("2001:db8:1::1").as_deref(), Some("fe80::2"));
    let frame = unikernel_rt::device::Frame::from_bytes(&[0; 60]);
    let Port { bench, interface } = &mut port;
    bench.step(|turn| drop(interface.send("2001:db8:1::1".parse().unwrap(), frame, turn)));
    port.run(12);
    assert!(port.events().contains(&Event::Absent("fe80::2".parse().unwrap())));
    assert_eq!(port.next_hop("2001:db8:1::1").as_deref(), Some(ROUTER));
    advertise_from(&mut port, EVIL_MAC, "fe80::2", &[&head(0x08, 1800)]);
    assert_eq!(port.next_hop("2001:db8:1::1").as_deref(), Some("fe80::2"));
    advertise_from(&mut port, EVIL_MAC, "fe80::2", &[&head(0x18, 1800)]);
    assert_eq!(port.next_hop("2001:db8:1::1").as_deref(), Some(ROUTER), "now it is the last choice");
}

#[test]
fn servers_domains_and_mtu() {
    let mut port = configured();
    let server = |last: u8| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into());
    let dns = |lifetime: u8| [&[25, 3, 0, 0, 0, 0, 0, lifetime][..], &server(53).octets()].concat();
    let search = [&[31, 3, 0, 0, 0, 0, 0, 100][..], b"\x03lab\x07example\x00\x00\x00\x00"].concat();
    let mtu = |mtu: u16| [&[5, 1, 0, 0, 0, 0][..], &mtu.to_be_bytes()].concat();
    advertise(&mut port, &[&head(0, 1800), &dns(100), &search, &mtu(1400)]);
    let own = port.interface.addresses();
    assert_eq!((&own.dns[..], &own.search[..]), (&[server(53).into()][..], &[String::from("lab.example")][..]));
    assert_eq!((port.interface.mtu(true), port.interface.mtu(false)), (1400, 1500));
    for wrong in [0, 1279, 1501, 65535] {
        advertise(&mut port, &[&head(0, 1800), &mtu(wrong)]);
        assert_eq!(port.interface.mtu(true), 1400, "{wrong}");
    }
    port.run(101);
    assert!(port.interface.addresses().dns.is_empty() && port.interface.addresses().search.is_empty());
    advertise(&mut port, &[&head(0, 1800), &dns(100)]);
    advertise(&mut port, &[&head(0, 1800), &dns(0)]);
    assert!(port.interface.addresses().dns.is_empty());
}

/// A neighbour's message about `target`.
fn neighbour(kind: u8, flags: u8, target: &str, option: &[u8]) -> Vec<u8> {
    let target: Ipv6Addr = target.parse().unwrap();
    [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.octets(), option].concat()
}

#[test]
fn another_owner_of_an_address() {
    for frame in [
        icmp6(PEER_MAC, "::", "ff02::1:ff00:1", 255, &[], &neighbour(135, 0, OWN_LINK, &[])),
        icmp6(PEER_MAC, OWN_LINK, ALL, 255, &[], &neighbour(136, 0x20, OWN_LINK, &[&[2, 1][..], &PEER_MAC].concat())),
    ] {
        let mut port = port();
        port.icmp6(&frame);
        assert!(port.events().contains(&Event::Conflict(OWN_LINK.parse().unwrap())));
        assert_eq!(port.interface.addresses().v6.len(), 0, "an Ethernet address makes only one identifier");
        let mut settled = configured();
        settled.icmp6(&frame);
        assert_eq!(settled.events(), [], "later it is a lie");
    }
}

#[test]
fn conflicts_lead_to_other_identifiers_but_not_for_ever() {
    let ids = crate::address::Ids::Stable([1, 2]);
    let mut port = Port::new(PortConfig { v6: V6::Automatic, ids, ..config() });
    let mut seen = Vec::new();
    while let Some(own) = port.interface.addresses().v6.first().copied() {
        let own = own.cidr.address();
        assert!(own.is_unicast_link_local() && !seen.contains(&own));
        seen.push(own);
        let own = format!("{own}");
        port.icmp6(&icmp6(PEER_MAC, &own, ALL, 255, &[], &neighbour(136, 0, &own, &[])));
    }
    assert_eq!(seen.len(), usize::from(IDS_MAX) + 1);
}

#[test]
fn an_address_by_hand_is_tested_before_it_is_used() {
    let v6 = V6::Static { address: "2001:db8::5/64".parse().unwrap(), gateway: "2001:db8::1".parse().ok() };
    let mut port = Port::new(PortConfig { v6, ..config() });
    let own = "2001:db8::5".parse().unwrap();
    assert!(!port.interface.addresses().is_ours(own));
    assert_eq!(kinds(&port.sent6()), [135, 135], "and no router is asked");
    port.run(1);
    assert!(port.interface.addresses().is_ours(own));
    assert_eq!(port.source("2001:4860::8").as_deref(), Some("2001:db8::5"));
    assert_eq!(port.next_hop("2001:4860::8").as_deref(), Some("2001:db8::1"));
    assert_eq!(port.next_hop("2001:db8::8").as_deref(), Some("2001:db8::8"));
    port.events();
    advertise(&mut port, &[&head(0, 1800), &prefix("2001:db8:1::", 64, 86400, 3600)]);
    assert_eq!(port.events(), []);
}

#[test]
fn questions_for_our_address_are_answered() {
    let mut port = configured();
    let option = [&[1, 1][..], &PEER_MAC].concat();
    port.icmp6(&icmp6(PEER_MAC, "2001:db8::9", "ff02::1:ff00:1", 255, &[], &neighbour(135, 0, OWN, &option)));
    let sent = port.sent6();
    assert_eq!((sent[0].mac, sent[0].destination), (PEER_MAC, "2001:db8::9".parse().unwrap()));
    let answer = neighbour(136, 0x60, OWN, &[&[2, 1][..], &OWN_MAC].concat());
    assert_eq!((&sent[0].payload[4..], sent[0].hops), (&answer[4..], 255));
    // Whoever wants the address is told in public.
    port.icmp6(&icmp6(PEER_MAC, "::", "ff02::1:ff00:1", 255, &[], &neighbour(135, 0, OWN, &[])));
    let sent = port.sent6();
    assert_eq!((sent[0].destination, sent[0].payload[4]), (ALL.parse().unwrap(), 0x20));
    // Others' addresses are not our business.
    port.icmp6(&icmp6(PEER_MAC, "2001:db8::9", "ff02::1:ff00:9", 255, &[], &neighbour(135, 0, "2001:db8::9", &option)));
    port.icmp6(&icmp6(PEER_MAC, "2001:db8::9", "ff02::1:ff00:1", 64, &[], &neighbour(135, 0, OWN, &option)));
    assert_eq!(port.bench.take().len(), 0);
}

/// Sends a packet to a neighbour; where it went, if it left.
fn send(port: &mut Port, to: &str) -> Option<[u8; 6]> {
    let frame = unikernel_rt::device::Frame::from_bytes(&[0; 60]);
    let Port { bench, interface } = port;
    match bench.step(|turn| interface.send(to.parse().unwrap(), frame, turn)) {
        crate::neighbor::Via::Ready(frame) => Some(frame[..6].try_into().unwrap()),
        _ => None,
    }
}

const PEER: &str = "2001:db8::9";

fn answer(port: &mut Port, mac: [u8; 6], flags: u8) {
    let to = if flags & 0x40 != 0 { OWN } else { ALL };
    port.icmp6(&icmp6(mac, PEER, to, 255, &[], &neighbour(136, flags, PEER, &[&[2, 1][..], &mac].concat())));
}

#[test]
fn a_neighbour_is_asked_for() {
    let mut port = configured();
    assert_eq!(send(&mut port, PEER), None);
    let sent = port.sent6();
    assert_eq!((sent[0].source, sent[0].destination), (OWN.parse().unwrap(), "ff02::1:ff00:9".parse().unwrap()));
    assert_eq!(sent[0].payload[4..], neighbour(135, 0, PEER, &[&[1, 1][..], &OWN_MAC].concat())[4..]);
    answer(&mut port, EVIL_MAC, 0x20);
    assert_eq!(port.bench.take().len(), 0, "nobody asked for that");
    answer(&mut port, PEER_MAC, 0x60);
    assert_eq!(port.bench.take()[0][..6], PEER_MAC);
    for flags in [0x20, 0x60, 0x40, 0] {
        answer(&mut port, EVIL_MAC, flags);
        assert_eq!(send(&mut port, PEER), Some(PEER_MAC), "{flags:x}");
    }
}

#[test]
fn an_address_under_test_stays_out_of_caches() {
    let mut port = port();
    port.bench.take();
    send(&mut port, "fe80::9");
    let sent = port.sent6();
    assert_eq!((sent[0].source, sent[0].payload.len()), (OWN_LINK.parse().unwrap(), 24));
    port.icmp6(&icmp6(PEER_MAC, "fe80::9", OWN_LINK, 255, &[], &neighbour(135, 0, OWN_LINK, &[])));
    assert_eq!(port.sent6()[0].payload[4], 0x40, "no override");
}

#[test]
fn redirects_are_ignored() {
    let mut port = configured();
    let destination: Ipv6Addr = "2001:db8:1::1".parse().unwrap();
    let target: Ipv6Addr = "fe80::bad".parse().unwrap();
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), &destination.octets()].concat();
    port.icmp6(&icmp6(PEER_MAC, ROUTER, OWN, 255, &[], &redirect));
    assert_eq!(port.next_hop("2001:db8:1::1").as_deref(), Some(ROUTER));
    assert_eq!(port.events(), []);
}

#[test]
fn the_port_sleeps_when_all_is_said() {
    let port = configured();
    assert!(port.interface.next_moment() > port.bench.now + Duration::from_secs(1000));
}
