//! The client against servers by script, in time that the tests set.

use super::*;
use crate::address::testing::{Bench, OWN_MAC};
use std::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// What a server says; the tests change it.
#[derive(Clone)]
struct Script {
    address: Ipv4Addr,
    server: Option<Ipv4Addr>,
    mask: Option<[u8; 4]>,
    router: Option<Ipv4Addr>,
    lease: Option<u32>,
    more: Vec<u8>,
}

impl Default for Script {
    fn default() -> Script {
        let mask = Some([255, 255, 255, 0]);
        Script { address: OWN, server: Some(SERVER), mask, router: Some(SERVER), lease: Some(600), more: vec![] }
    }
}

impl Script {
    fn answer(&self, kind: u8, xid: u32) -> Vec<u8> {
        let mut bytes = vec![0; 240];
        bytes[..4].copy_from_slice(&[2, 1, 6, 0]);
        bytes[4..8].copy_from_slice(&xid.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.address.octets());
        bytes[28..34].copy_from_slice(&OWN_MAC);
        bytes[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        bytes.extend([53, 1, kind]);
        let mut option = |code: u8, data: Option<[u8; 4]>| {
            if let Some(data) = data {
                bytes.extend([code, 4]);
                bytes.extend(data);
            }
        };
        option(54, self.server.map(|server| server.octets()));
        option(1, self.mask);
        option(3, self.router.map(|router| router.octets()));
        option(51, self.lease.map(u32::to_be_bytes));
        bytes.extend(&self.more);
        bytes.push(255);
        bytes
    }
}

/// A message of the client, as a server sees it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    at: u64,
    kind: u8,
    to: Ipv4Addr,
    client: Ipv4Addr,
    xid: u32,
}

impl Seen {
    fn parse(frame: &[u8], at: Instant) -> Seen {
        assert_eq!((&frame[12..14], frame[23]), (&[8, 0][..], 17));
        assert_eq!(frame[34..38], [0, 68, 0, 67]);
        let octets = |at: usize| <[u8; 4]>::try_from(&frame[at..at + 4]).unwrap();
        let dhcp = 42;
        assert_eq!(octets(dhcp + 240)[..2], [53, 1]);
        Seen {
            at: at.as_micros() / 1_000_000,
            kind: frame[dhcp + 242],
            to: octets(30).into(),
            client: octets(dhcp + 12).into(),
            xid: u32::from_be_bytes(octets(dhcp + 4)),
        }
    }
}

struct Client {
    bench: Bench,
    dhcp: Dhcp4,
    seen: Vec<Seen>,
    events: Vec<String>,
}

impl Client {
    fn new() -> Client {
        Client { bench: Bench::new(), dhcp: Dhcp4::new(OWN_MAC, None), seen: vec![], events: vec![] }
    }

    fn note(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Unicast(to, frame)) => {
                let seen = Seen::parse(&frame, self.bench.now);
                assert_eq!(seen.to, to);
                self.seen.push(seen);
            }
            Some(Event::Bound) => self.events.push(format!("bound {}", self.dhcp.lease().unwrap().address)),
            Some(Event::Lost(why)) => self.events.push(format!("{why:?}")),
            None => {}
        }
        let now = self.bench.now;
        self.seen.extend(self.bench.take().iter().map(|frame| Seen::parse(frame, now)));
    }

    fn poll(&mut self) {
        while let Some(event) = self.bench.step(|turn| self.dhcp.poll(turn)) {
            self.note(Some(event));
        }
        self.note(None);
    }

    fn hear(&mut self, bytes: &[u8]) {
        let event = self.bench.step(|turn| self.dhcp.on_message(bytes, turn));
        self.note(event);
        self.poll();
    }

    /// Runs for `seconds`; `server` answers each new message.
    fn run(&mut self, seconds: u64, mut server: impl FnMut(&Seen) -> Option<Vec<u8>>) {
        let end = self.bench.now + Duration::from_secs(seconds);
        let mut answered = self.seen.len();
        loop {
            self.poll();
            while answered < self.seen.len() {
                let answer = server(&self.seen[answered]);
                answered += 1;
                if let Some(answer) = answer {
                    self.hear(&answer);
                }
            }
            let next = self.dhcp.next_moment();
            assert!(next > self.bench.now, "it would spin");
            if next > end {
                break;
            }
            self.bench.now = next;
        }
        self.bench.now = end;
    }

    fn kinds(&self) -> Vec<u8> {
        self.seen.iter().map(|seen| seen.kind).collect()
    }

    fn address(&self) -> Option<String> {
        self.dhcp.lease().map(|lease| lease.address.to_string())
    }

    fn bound(script: &Script) -> Client {
        let mut client = Client::new();
        client.run(1, honest(script));
        client
    }
}

fn honest(script: &Script) -> impl FnMut(&Seen) -> Option<Vec<u8>> {
    let script = script.clone();
    move |seen| Some(script.answer(if seen.kind == 1 { OFFER } else { ACK }, seen.xid))
}

#[test]
fn a_lease_is_taken_and_renewed() {
    let mut client = Client::bound(&Script::default());
    assert_eq!((client.kinds(), client.address().as_deref()), (vec![1, 3], Some("10.0.0.2/24")));
    client.run(1000, honest(&Script::default()));
    let renewals: Vec<_> = client.seen[2..].iter().map(|seen| (seen.at, seen.to, seen.client)).collect();
    assert_eq!(renewals, [(301, SERVER, OWN), (601, SERVER, OWN), (901, SERVER, OWN)]);
    assert_eq!(client.events, ["bound 10.0.0.2/24"]);
    let mut xids: Vec<u32> = client.seen[1..].iter().map(|seen| seen.xid).collect();
    xids.dedup();
    assert_eq!(xids.len(), 4, "every exchange has its own number");
}

#[test]
fn a_silent_server_is_asked_less_and_less() {
    let mut client = Client::new();
    client.run(100, |_| None);
    let at: Vec<u64> = client.seen.iter().map(|seen| seen.at).collect();
    assert!((9..=12).contains(&at.len()) && at[1] <= 2 && at[2] <= 4, "{at:?}");
    client.run(20, honest(&Script::default()));
    assert!(client.address().is_some());
}

#[test]
fn a_server_that_only_offers_is_given_up() {
    let mut client = Client::new();
    client.run(200, |seen| (seen.kind == 1).then(|| Script::default().answer(OFFER, seen.xid)));
    let kinds = client.kinds();
    assert_eq!(kinds[..6], [1, 3, 3, 3, 3, 1]);
    assert_eq!(client.address(), None);
}

#[test]
fn a_server_that_refuses_everything_is_not_asked_too_often() {
    let mut client = Client::new();
    client.run(1000, |seen| Some(Script::default().answer(if seen.kind == 1 { OFFER } else { NAK }, seen.xid)));
    let most = 1010 / DHCP_PAUSE.as_secs() as usize * DHCP_BURST as usize;
    assert!((100..=most).contains(&client.seen.len()), "{}", client.seen.len());
    assert_eq!(client.events, [""; 0]);
}

#[test]
fn a_refusal_ends_the_lease_and_another_address_is_taken() {
    let mut client = Client::bound(&Script::default());
    client.run(300, |seen| Some(Script::default().answer(NAK, seen.xid)));
    assert_eq!((client.events.last().unwrap().as_str(), client.address()), ("Refused", None));
    let other = Script { address: Ipv4Addr::new(10, 0, 0, 9), ..Script::default() };
    client.run(20, honest(&other));
    assert_eq!(client.address().as_deref(), Some("10.0.0.9/24"));
}

#[test]
fn a_lease_nobody_renews_ends_to_the_second() {
    let mut client = Client::bound(&Script::default());
    client.run(598, |_| None);
    assert!(client.address().is_some());
    let asked: Vec<_> = client.seen[2..].iter().map(|seen| (seen.at, seen.to)).collect();
    // The server alone from half of the lease on, anybody from seven eighths on.
    assert_eq!(
        asked,
        [(301, SERVER), (413, SERVER), (473, SERVER), (526, Ipv4Addr::BROADCAST), (586, Ipv4Addr::BROADCAST)]
    );
    client.run(1, |_| None);
    assert_eq!((client.address(), client.events.last().unwrap().as_str()), (None, "Expired"));
}

#[test]
fn another_server_may_rebind() {
    let mut client = Client::bound(&Script::default());
    let other = Script { server: Some(Ipv4Addr::new(10, 0, 0, 3)), ..Script::default() };
    client.run(600, |seen| seen.to.is_broadcast().then(|| other.answer(ACK, seen.xid)));
    assert_eq!(client.dhcp.lease().unwrap().server, Ipv4Addr::new(10, 0, 0, 3));
}

#[test]
fn renewal_brings_another_address() {
    let mut client = Client::bound(&Script::default());
    client.run(310, honest(&Script { address: Ipv4Addr::new(10, 0, 0, 7), ..Script::default() }));
    assert_eq!(client.events, ["bound 10.0.0.2/24", "bound 10.0.0.7/24"]);
}

#[test]
fn a_lease_for_ever() {
    let mut client = Client::bound(&Script { lease: Some(u32::MAX), ..Script::default() });
    client.run(10_000_000, |_| None);
    assert_eq!((client.seen.len(), client.dhcp.next_moment()), (2, Instant::FOREVER));
    assert!(client.address().is_some());
}

#[test]
fn a_short_lease_is_renewed_in_time() {
    let script = Script { lease: Some(20), ..Script::default() };
    let mut client = Client::bound(&script);
    client.run(1000, honest(&script));
    assert_eq!(client.events.len(), 1);
    assert!(client.seen.len() <= 103, "{}", client.seen.len());
}

#[test]
fn a_conflict_is_declined_and_another_address_asked_for_later() {
    let mut client = Client::bound(&Script::default());
    let event = client.bench.step(|turn| client.dhcp.decline(turn));
    client.note(event);
    assert_eq!((client.kinds(), client.address()), (vec![1, 3, 4], None));
    client.run(9, honest(&Script::default()));
    assert_eq!(client.seen.len(), 3);
    client.run(2, honest(&Script::default()));
    assert!(client.address().is_some());
}

/// An offer that is not taken.
fn check_bad(what: &str, change: impl Fn(&mut Vec<u8>)) {
    let mut client = Client::new();
    client.run(60, |seen| {
        let mut answer = Script::default().answer(if seen.kind == 1 { OFFER } else { ACK }, seen.xid);
        change(&mut answer);
        Some(answer)
    });
    assert_eq!(client.address(), None, "{what}");
    assert!(client.kinds().iter().all(|kind| *kind == 1), "{what}: an offer was taken");
}

#[test]
fn offers_for_others_and_offers_that_are_broken() {
    check_bad("another exchange", |bytes| bytes[7] ^= 1);
    check_bad("another machine", |bytes| bytes[33] ^= 1);
    check_bad("another client's question", |bytes| bytes[0] = 1);
    check_bad("no Ethernet", |bytes| bytes[1] = 6);
    check_bad("long hardware addresses", |bytes| bytes[2] = 16);
    check_bad("no magic number", |bytes| bytes[236] = 0);
    check_bad("cut off", |bytes| bytes.truncate(239));
    check_bad("cut off in an option", |bytes| bytes.truncate(bytes.len() - 3));
    check_bad("no options", |bytes| bytes.truncate(240));
    check_bad("an option beyond the end", |bytes| *bytes.last_mut().unwrap() = 12);
    check_bad("overload with garbage", |bytes| {
        bytes.pop();
        bytes.extend([52, 1, 1, 255]);
        bytes[235] = 12;
        bytes[234] = 12;
        bytes[108..235].fill(0);
        bytes[230..236].copy_from_slice(&[12, 200, 0, 0, 0, 0]);
    });
}

/// An offer that no host could live on.
fn check_useless(what: &str, script: Script) {
    let mut client = Client::new();
    client.run(60, honest(&script));
    assert_eq!(client.address(), None, "{what}");
}

#[test]
fn offers_that_are_no_addresses() {
    for address in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "10.0.0.255", "10.0.0.0", "240.0.0.1"] {
        check_useless(address, Script { address: address.parse().unwrap(), ..Script::default() });
    }
    check_useless("mask with a hole", Script { mask: Some([255, 0, 255, 0]), ..Script::default() });
    check_useless("mask of everything", Script { mask: Some([0; 4]), ..Script::default() });
    check_useless("a second", Script { lease: Some(1), ..Script::default() });
    check_useless("no time", Script { lease: None, ..Script::default() });
    check_useless("no server", Script { server: None, ..Script::default() });
    check_useless("server everybody", Script { server: Some(Ipv4Addr::BROADCAST), ..Script::default() });
}

#[test]
fn a_refusal_by_somebody_else_does_not_count() {
    let mut client = Client::bound(&Script::default());
    let evil = Script { server: Some(Ipv4Addr::new(10, 0, 0, 66)), ..Script::default() };
    for xid in 0..1000 {
        client.hear(&evil.answer(NAK, xid));
        client.hear(&evil.answer(ACK, xid));
    }
    assert!(client.address().is_some() && client.events.len() == 1);
}

fn lease(more: &[u8], script: Script) -> Lease4 {
    let script = Script { more: more.to_vec(), ..script };
    Client::bound(&script).dhcp.lease().expect("a lease").clone()
}

#[test]
fn options_are_read() {
    let more = [
        &[6, 8, 10, 0, 0, 3, 8, 8, 8, 8][..],
        &[15, 11],
        b"example.com",
        &[26, 2, 0x05, 0x78],
        &[42, 4, 10, 0, 0, 4],
        &[119, 7, 3, b'e', b'n', b'g', 1, b'x', 0],
    ]
    .concat();
    let lease = lease(&more, Script::default());
    assert_eq!(lease.dns, [Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(8, 8, 8, 8)]);
    assert_eq!(lease.search, ["example.com", "eng.x"]);
    assert_eq!((lease.mtu, lease.ntp), (Some(1400), vec![Ipv4Addr::new(10, 0, 0, 4)]));
}

#[test]
fn an_option_in_parts_and_in_the_old_fields() {
    // RFC 3396: the second part is in the field `file`.
    let mut client = Client::new();
    client.run(1, |seen| {
        let script = Script { more: vec![6, 2, 10, 0, 52, 1, 1], ..Script::default() };
        let mut bytes = script.answer(if seen.kind == 1 { OFFER } else { ACK }, seen.xid);
        bytes[108..113].copy_from_slice(&[6, 2, 0, 3, 255]);
        Some(bytes)
    });
    assert_eq!(client.dhcp.lease().unwrap().dns, [Ipv4Addr::new(10, 0, 0, 3)]);
}

#[test]
fn useless_options_are_left_out() {
    let more = [26, 2, 0, 100, 6, 8, 0, 0, 0, 0, 255, 255, 255, 255, 42, 3, 1, 2, 3, 119, 2, 9, 9, 15, 1, b' '];
    let lease = lease(&more, Script::default());
    assert_eq!((lease.mtu, lease.dns.len(), lease.ntp.len(), lease.search.len()), (None, 0, 0, 0));
}

#[test]
fn times_that_make_no_sense_are_replaced() {
    // T1 after T2 after the end.
    let more = [58, 4, 0, 0, 0x10, 0, 59, 4, 0, 0, 0x20, 0];
    let script = Script { more: more.to_vec(), ..Script::default() };
    let client = Client::bound(&script);
    assert_eq!(client.dhcp.next_moment(), Instant::from_millis(301_000));
    let more = [58, 4, 0, 0, 0, 100, 59, 4, 0, 0, 0, 200];
    let client = Client::bound(&Script { more: more.to_vec(), ..Script::default() });
    assert_eq!(client.dhcp.next_moment(), Instant::from_millis(101_000));
}

/// Where a packet goes under a lease.
fn check_routes(more: &[u8], script: Script, expected: &[(&str, Option<&str>)]) {
    let lease = lease(more, script);
    let mut own = crate::address::Addresses { v4: Some(lease.address), ..Default::default() };
    own.routes4 = lease.routes;
    own.sort_routes();
    for (to, via) in expected {
        let hop = own.next_hop(to.parse().unwrap()).map(|hop| hop.to_string());
        assert_eq!(hop.as_deref(), *via, "{to}");
    }
}

#[test]
fn routes() {
    let script = Script::default;
    check_routes(&[], script(), &[("10.0.0.9", Some("10.0.0.9")), ("8.8.8.8", Some("10.0.0.1"))]);
    let none = Script { router: None, ..script() };
    check_routes(&[], none, &[("10.0.0.9", Some("10.0.0.9")), ("8.8.8.8", None)]);
    let outside = Script { router: Some(Ipv4Addr::new(10, 1, 0, 1)), ..script() };
    check_routes(&[], outside, &[("8.8.8.8", None)]);
    let ourselves = Script { router: Some(OWN), ..script() };
    check_routes(&[], ourselves, &[("8.8.8.8", None)]);
    // Classless routes replace the router.
    let more = [121, 8, 24, 10, 9, 8, 10, 0, 0, 5];
    check_routes(&more, script(), &[("10.9.8.7", Some("10.0.0.5")), ("8.8.8.8", None)]);
    // The longest prefix counts, also against the own network.
    let more = [121, 14, 0, 10, 0, 0, 4, 32, 10, 0, 0, 77, 10, 0, 0, 5];
    check_routes(
        &more,
        script(),
        &[("10.0.0.77", Some("10.0.0.5")), ("10.0.0.78", Some("10.0.0.78")), ("8.8.8.8", Some("10.0.0.4"))],
    );
    // A malformed option 121 does not cut the machine off.
    check_routes(&[121, 3, 24, 10, 9], script(), &[("8.8.8.8", Some("10.0.0.1"))]);
    check_routes(&[121, 5, 33, 1, 2, 3, 4], script(), &[("8.8.8.8", Some("10.0.0.1"))]);
}

#[test]
fn a_single_address_with_a_router_outside() {
    let cloud = || Script { mask: Some([255; 4]), router: Some(Ipv4Addr::new(10, 128, 0, 1)), ..Script::default() };
    let expected =
        &[("8.8.8.8", Some("10.128.0.1")), ("10.128.0.1", Some("10.128.0.1")), ("10.0.0.1", Some("10.128.0.1"))];
    check_routes(&[], cloud(), expected);
    let more = [121, 14, 32, 10, 128, 0, 1, 0, 0, 0, 0, 0, 10, 128, 0, 1];
    check_routes(&more, cloud(), expected);
}
