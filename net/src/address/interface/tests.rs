//! A port with IPv4: by hand, from a DHCP server, with another owner.

use super::*;
use crate::{
    address::{
        dhcp4::Loss,
        packet::Mac,
        testing::{EVIL_MAC, OWN_MAC, PEER_MAC, Port, config},
    },
    config::Ipv4Cidr,
};
use std::vec::Vec;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn by_hand() -> Port {
    let v4 = V4::Static { address: Ipv4Cidr::new(OWN, 24).unwrap(), gateway: Some(ROUTER) };
    Port::new(PortConfig { v4, ..config() })
}

fn arp(operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let addresses = [&sender.0[..], &sender.1.octets(), &target.0, &target.1.octets()].concat();
    [&OWN_MAC[..], &sender.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation], &addresses].concat()
}

/// A DHCP server's answer to the frame `question`.
fn answer(question: &[u8], kind: u8) -> Vec<u8> {
    let mut bytes = question[42..282].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&OWN.octets());
    bytes.extend([53, 1, kind, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 2, 88, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 0, 1, 255]);
    bytes
}

/// Answers the DHCP messages sent since the last call; says how many there were.
fn serve(port: &mut Port) -> usize {
    let mut count = 0;
    for frame in port.bench.take() {
        if frame[12..14] == [8, 0] && frame[36..38] == [0, 67] {
            count += 1;
            let kind = if frame[284] == 1 { 2 } else { 5 };
            let Port { bench, interface } = port;
            bench.step(|turn| interface.on_dhcp4(&answer(&frame, kind), turn));
        }
    }
    count
}

fn leased() -> Port {
    let mut port = Port::new(PortConfig { v4: V4::Dhcp, ..config() });
    assert_eq!((serve(&mut port), serve(&mut port)), (1, 1));
    port
}

#[test]
fn an_address_by_hand_is_there_at_once() {
    let mut port = by_hand();
    assert_eq!(port.events(), [Event::Gained(OWN.into()), Event::Changed]);
    assert_eq!(port.source("8.8.8.8").as_deref(), Some("10.0.0.2"));
    assert_eq!(port.next_hop("8.8.8.8").as_deref(), Some("10.0.0.1"));
    assert_eq!(port.next_hop("10.0.0.7").as_deref(), Some("10.0.0.7"));
    assert_eq!(port.next_hop("10.0.0.255").as_deref(), Some("10.0.0.255"));
    assert_eq!(port.next_hop("2001:db8::1"), None);
    let own = port.interface.addresses();
    assert!(own.is_ours(OWN.into()) && !own.is_ours(ROUTER.into()) && own.accepts(Ipv4Addr::BROADCAST.into()));
    // Probed three times, announced twice.
    port.run(60);
    assert_eq!(port.bench.take().len(), 5);
    assert_eq!(port.interface.next_moment(), Instant::FOREVER);
}

#[test]
fn a_lease_is_taken_and_renewed_by_unicast() {
    let mut port = leased();
    assert_eq!(port.events(), [Event::Gained(OWN.into()), Event::Changed]);
    assert_eq!(port.next_hop("8.8.8.8").as_deref(), Some("10.0.0.1"));
    port.run(300);
    // The server's Ethernet address is asked for first.
    let question = port.bench.take().pop().unwrap();
    assert_eq!((&question[12..14], &question[38..42]), (&[8, 6][..], &ROUTER.octets()[..]));
    port.arp(&arp(2, (PEER_MAC, ROUTER), (OWN_MAC, OWN)));
    assert_eq!(port.bench.sent[0][..6], PEER_MAC);
    assert_eq!(serve(&mut port), 1);
    assert_eq!(port.events(), []);
    port.run(299);
    assert!(port.interface.addresses().is_ours(OWN.into()));
}

#[test]
fn a_lease_that_ends_takes_everything_with_it() {
    let mut port = leased();
    port.events();
    port.run(600);
    let events = port.events();
    let end = [Event::LeaseEnded(Loss::Expired), Event::Lost(OWN.into()), Event::Changed];
    assert!(events.ends_with(&end), "{events:?}");
    assert_eq!((port.next_hop("10.0.0.7"), port.source("10.0.0.7")), (None, None));
}

#[test]
fn another_owner_of_a_leased_address() {
    let mut port = leased();
    port.run(0);
    port.events();
    port.arp(&arp(2, (EVIL_MAC, OWN), (OWN_MAC, Ipv4Addr::UNSPECIFIED)));
    let events =
        [Event::Conflict(OWN.into()), Event::LeaseEnded(Loss::Conflict), Event::Lost(OWN.into()), Event::Changed];
    assert_eq!(port.events(), events);
    // Declined (4), then after a pause a new discovery (1).
    port.run(10);
    let kinds: Vec<u8> =
        port.bench.take().iter().filter(|frame| frame[12..14] == [8, 0]).map(|frame| frame[284]).collect();
    assert_eq!(kinds, [4, 1]);
}

#[test]
fn another_owner_of_an_address_by_hand_is_reported() {
    let mut port = by_hand();
    port.run(60);
    port.events();
    for _ in 0..3 {
        port.arp(&arp(1, (EVIL_MAC, OWN), ([0; 6], ROUTER)));
    }
    assert_eq!(port.events(), [Event::Conflict(OWN.into())], "once, until somebody takes note");
    assert!(port.interface.addresses().is_ours(OWN.into()));
}

#[test]
fn questions_are_answered_and_absent_neighbours_reported() {
    let mut port = by_hand();
    port.bench.take();
    port.arp(&arp(1, (PEER_MAC, ROUTER), ([0; 6], OWN)));
    assert_eq!(port.bench.take()[0][..], [&PEER_MAC[..], &arp(2, (OWN_MAC, OWN), (PEER_MAC, ROUTER))[6..]].concat());
    let Port { bench, interface } = &mut port;
    let frame = Frame::from_bytes(&[0; 60]);
    bench.step(|turn| drop(interface.send("8.8.8.8".parse().unwrap(), frame, turn)));
    port.events();
    port.run(4);
    assert_eq!(port.events(), [Event::Absent(ROUTER.into())]);
}
