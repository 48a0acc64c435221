//! The client against servers by script, inside a port that a router tells to ask.

use super::*;
use crate::address::{
    Event, PortConfig, State6, V6,
    testing::{OWN_MAC, PEER_MAC, Port, Sent6, config, icmp6},
};
use std::{vec, vec::Vec};

const SERVER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 2];
const OWN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77);
const ID: [u8; 4] = [0, 0, 0, 1];

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

fn status(code: u16) -> Vec<u8> {
    option(13, &code.to_be_bytes())
}

fn leased(address: Ipv6Addr, preferred: u32, valid: u32) -> Vec<u8> {
    option(5, &[&address.octets()[..], &preferred.to_be_bytes(), &valid.to_be_bytes()].concat())
}

fn association(renew: u32, rebind: u32, inside: &[u8]) -> Vec<u8> {
    option(3, &[&ID[..], &renew.to_be_bytes(), &rebind.to_be_bytes(), inside].concat())
}

/// What a server says to a question.
fn answer(kind: u8, question: &Seen, more: &[u8]) -> Vec<u8> {
    let head = [&[kind][..], &question.xid].concat();
    [head, option(1, &question.client), option(2, SERVER), more.to_vec()].concat()
}

fn lease() -> Vec<u8> {
    association(0, 0, &leased(OWN, 600, 1000))
}

#[derive(Debug)]
struct Seen {
    at: u64,
    kind: u8,
    xid: [u8; 3],
    client: Vec<u8>,
    options: Vec<u16>,
}

fn seen(sent: &Sent6, at: Instant) -> Option<Seen> {
    if sent.payload[..4] != [2, 34, 2, 35] {
        return None;
    }
    assert_eq!((sent.mac, sent.destination), ([0x33, 0x33, 0, 1, 0, 2], ALL_SERVERS));
    assert!(sent.source.is_unicast_link_local());
    let bytes = &sent.payload[8..];
    let (mut options, mut at_option, mut client) = (vec![], 4, vec![]);
    while at_option < bytes.len() {
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let end = at_option + 4 + usize::from(half(at_option + 2));
        if half(at_option) == 1 {
            client = bytes[at_option + 4..end].to_vec();
        }
        options.push(half(at_option));
        at_option = end;
    }
    assert_eq!(at_option, bytes.len());
    let at = at.as_micros() / 1_000_000;
    Some(Seen { at, kind: bytes[0], xid: bytes[1..4].try_into().unwrap(), client, options })
}

struct Client {
    port: Port,
    seen: Vec<Seen>,
}

impl Client {
    /// With a router that says where addresses, or other things, come from.
    fn new(flags: u8) -> Client {
        let mut port = Port::new(PortConfig { v6: V6::Automatic, ..config() });
        let advertisement = [134, 0, 0, 0, 64, flags, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        port.icmp6(&icmp6(PEER_MAC, "fe80::1", "ff02::1", 255, &[], &advertisement));
        port.bench.take();
        port.events();
        Client { port, seen: vec![] }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Port { bench, interface } = &mut self.port;
        bench.step(|turn| interface.on_dhcp6(bytes, turn));
    }

    fn run(&mut self, seconds: u64, mut server: impl FnMut(&Seen) -> Option<Vec<u8>>) {
        let end = self.port.bench.now + Duration::from_secs(seconds);
        loop {
            let now = self.port.bench.now;
            self.port.run(0);
            let new: Vec<Seen> = self.port.sent6().iter().filter_map(|sent| seen(sent, now)).collect();
            for question in &new {
                if let Some(answer) = server(question) {
                    self.hear(&answer);
                }
            }
            self.seen.extend(new);
            let next = self.port.interface.next_moment();
            if next > end {
                break;
            }
            self.port.bench.now = next.max(now);
        }
        self.port.bench.now = end;
    }

    fn bound() -> Client {
        let mut client = Client::new(0x80);
        client.run(2, honest);
        client
    }

    fn kinds(&self) -> Vec<u8> {
        self.seen.iter().map(|seen| seen.kind).collect()
    }

    fn has_address(&self) -> bool {
        self.port.interface.addresses().is_ours(OWN.into())
    }
}

fn honest(question: &Seen) -> Option<Vec<u8>> {
    Some(answer(if question.kind == 1 { 2 } else { 7 }, question, &lease()))
}

#[test]
fn an_address_is_taken_and_renewed() {
    let mut client = Client::bound();
    assert_eq!(client.kinds(), [1, 3]);
    assert_eq!(client.seen[0].options, [1, 8, 3, 14, 6]);
    assert_eq!(client.seen[1].options, [1, 2, 8, 3, 6]);
    assert_eq!(client.seen[0].client, [&[0, 3, 0, 1][..], &OWN_MAC].concat());
    assert_eq!(client.port.interface.addresses().state6(OWN), Some(State6::Preferred));
    assert!(client.port.events().contains(&Event::Gained(OWN.into())));
    client.run(1000, honest);
    assert_eq!(
        client.seen[2..].iter().map(|seen| (seen.at, seen.kind)).collect::<Vec<_>>(),
        [(301, 5), (601, 5), (901, 5)]
    );
    assert!(client.port.events().is_empty() && client.has_address());
}

#[test]
fn nobody_asks_without_a_router_that_says_so() {
    let mut client = Client::new(0);
    client.run(1000, honest);
    assert_eq!(client.kinds(), [0; 0]);
}

#[test]
fn a_rapid_answer_saves_a_round_trip() {
    let mut client = Client::new(0x80);
    client.run(2, |question| Some(answer(7, question, &[lease(), option(14, &[])].concat())));
    assert_eq!((client.kinds(), client.has_address()), (vec![1], true));
    let mut client = Client::new(0x80);
    client.run(2, |question| (question.kind == 1).then(|| answer(7, question, &lease())));
    assert!(!client.has_address(), "nobody allowed that");
}

#[test]
fn a_silent_server_is_asked_less_and_less() {
    let mut client = Client::new(0x80);
    client.run(100_000, |_| None);
    assert!((30..50).contains(&client.seen.len()), "{}", client.seen.len());
    let mut client = Client::new(0x80);
    client.run(100_000, |question| Some(answer(2, question, &[status(2), option(82, &60u32.to_be_bytes())].concat())));
    assert!((1400..2000).contains(&client.seen.len()), "as often as the server wishes: {}", client.seen.len());
    let mut client = Client::new(0x80);
    client.run(100_000, |question| Some(answer(2, question, &[status(2), option(82, &[0; 4])].concat())));
    assert!((30..50).contains(&client.seen.len()), "wishes have bounds");
}

/// A server that refuses every request in its own way is not asked too often.
fn check_refusal(more: Vec<u8>) {
    let mut client = Client::new(0x80);
    client.run(1000, |question| match question.kind {
        1 => honest(question),
        _ => Some(answer(7, question, &more)),
    });
    assert!(!client.has_address());
    assert!((30..=101 * DHCP_BURST as usize).contains(&client.seen.len()), "{}", client.seen.len());
}

#[test]
fn refusals() {
    check_refusal(status(2));
    check_refusal(status(4));
    check_refusal(status(1));
    check_refusal(association(0, 0, &status(2)));
    check_refusal(association(0, 0, &[status(3), leased(OWN, 600, 1000)].concat()));
    check_refusal(association(0, 0, &[]));
    check_refusal(association(0, 0, &leased(OWN, 0, 0)));
    check_refusal(association(0, 0, &leased(OWN, 1, 1)));
}

#[test]
fn a_lease_nobody_renews_ends() {
    let mut client = Client::bound();
    client.run(997, |_| None);
    assert!(client.has_address());
    let kinds = client.kinds();
    assert!(kinds.contains(&5) && kinds.ends_with(&[6]), "{kinds:?}");
    let first_rebind = client.seen.iter().find(|seen| seen.kind == 6).unwrap();
    assert_eq!(first_rebind.at, 481);
    client.run(2, |_| None);
    assert!(!client.has_address());
    assert!(client.port.events().contains(&Event::Lost(OWN.into())));
    client.run(200, honest);
    assert!(client.has_address());
}

#[test]
fn a_server_that_forgot_us_is_asked_anew() {
    let mut client = Client::bound();
    client.run(310, |question| match question.kind {
        5 => Some(answer(7, question, &association(0, 0, &status(3)))),
        _ => honest(question),
    });
    assert_eq!(client.kinds(), [1, 3, 5, 3]);
    assert!(client.has_address());
}

#[test]
fn a_server_may_replace_an_address() {
    let mut client = Client::bound();
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x78);
    let both = [leased(OWN, 0, 0), leased(other, 600, 1000)].concat();
    client.run(310, |question| Some(answer(7, question, &association(0, 0, &both))));
    assert!(!client.has_address() && client.port.interface.addresses().is_ours(other.into()));
}

#[test]
fn another_owner_of_a_leased_address() {
    let mut client = Client::new(0x80);
    client.run(0, honest);
    client.run(0, honest);
    assert!(client.has_address());
    let message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &OWN.octets()].concat();
    client.port.icmp6(&icmp6(PEER_MAC, "fe80::9", "ff02::1", 255, &[], &message));
    assert!(!client.has_address());
    client.run(9, honest);
    assert_eq!(client.kinds(), [1, 3, 9]);
    client.run(2, honest);
    assert!(client.has_address());
}

/// An offer that is not taken.
fn check_bad(what: &str, change: impl Fn(&mut Vec<u8>)) {
    let mut client = Client::new(0x80);
    client.run(60, |question| {
        let mut bytes = honest(question).unwrap();
        change(&mut bytes);
        Some(bytes)
    });
    assert!(client.kinds().iter().all(|kind| *kind == 1), "{what}");
}

#[test]
fn offers_for_others_and_offers_that_are_broken() {
    check_bad("another exchange", |bytes| bytes[3] ^= 1);
    check_bad("another client", |bytes| bytes[17] ^= 1);
    check_bad("a question", |bytes| bytes[0] = 1);
    check_bad("no server", |bytes| bytes[19] = 99);
    check_bad("cut off", |bytes| bytes.truncate(bytes.len() - 1));
    check_bad("cut off in the head", |bytes| bytes.truncate(3));
    check_bad("more after the end", |bytes| bytes.push(0));
    check_bad("another association", |bytes| bytes[39] ^= 1);
    check_bad("renewed after it is rebound", |bytes| bytes[40..48].copy_from_slice(&[0, 0, 0, 9, 0, 0, 0, 8]));
    check_bad("an option that is longer than its association", |bytes| bytes[51] += 1);
    check_bad("preferred but not valid", |bytes| bytes[68] = 1);
    check_bad("of the link", |bytes| bytes[52..54].copy_from_slice(&[0xfe, 0x80]));
    check_bad("a group", |bytes| bytes[52] = 0xff);
}

#[test]
fn a_message_out_of_the_blue() {
    let mut client = Client::bound();
    let events = client.port.events().len();
    assert!(events > 0);
    for xid in 0..1000u32 {
        let [_, a, b, c] = xid.to_be_bytes();
        let question = Seen { at: 0, kind: 0, xid: [a, b, c], client: client.seen[0].client.clone(), options: vec![] };
        client.hear(&answer(7, &question, &association(0, 0, &leased(OWN, 0, 0))));
    }
    assert!(client.has_address() && client.port.events().is_empty());
}

#[test]
fn only_names_of_servers() {
    let mut client = Client::new(0x40);
    let dns: Ipv6Addr = "2001:db8::53".parse().unwrap();
    let ntp: Ipv6Addr = "2001:db8::123".parse().unwrap();
    let info = [
        option(23, &dns.octets()),
        option(24, b"\x03lab\x07example\x00"),
        option(56, &option(1, &ntp.octets())),
        option(32, &3600u32.to_be_bytes()),
    ];
    client.run(3000, |question| Some(answer(7, question, &info.concat())));
    assert_eq!(client.kinds(), [11]);
    assert_eq!(client.seen[0].options, [1, 8, 6]);
    let own = client.port.interface.addresses();
    assert_eq!((&own.dns[..], &own.ntp[..]), (&[dns.into()][..], &[ntp.into()][..]));
    assert_eq!(own.search, ["lab.example"]);
    client.run(1000, |question| Some(answer(7, question, &info.concat())));
    assert_eq!(client.kinds(), [11, 11], "asked again after the time that the server said");
    // Old servers know only SNTP.
    let mut client = Client::new(0x40);
    client.run(1, |question| Some(answer(7, question, &option(31, &ntp.octets()))));
    assert_eq!(client.port.interface.addresses().ntp, [ntp]);
}

#[test]
fn a_machine_with_a_name_of_its_own() {
    assert_eq!(Duid::from_uuid([7; 16]).0, [&[0, 4][..], &[7; 16]].concat());
}
