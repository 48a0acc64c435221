//! The cache against an honest and a lying neighbour.

use super::*;
use crate::address::testing::{Bench, EVIL_MAC, OWN_MAC, PEER_MAC};
use std::{net::Ipv4Addr, vec::Vec};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SECOND: Duration = Duration::from_secs(1);

struct Link {
    bench: Bench,
    own: Addresses,
    neighbors: Neighbors,
}

impl Link {
    fn new() -> Link {
        let own = Addresses { v4: crate::config::Ipv4Cidr::new(OWN, 24), ..Addresses::default() };
        Link { bench: Bench::new(), own, neighbors: Neighbors::new(OWN_MAC) }
    }

    /// Sends a frame marked with `mark`.
    fn send(&mut self, to: Ipv4Addr, mark: u8) -> Via {
        let mut frame = Frame::from_bytes(&[0; 15]);
        frame[14] = mark;
        let Link { bench, own, neighbors } = self;
        bench.step(|turn| neighbors.send_via(to.into(), frame, own, turn))
    }

    /// Where a frame to the peer would go now.
    fn mac(&mut self) -> Option<Mac> {
        match self.send(PEER, 0) {
            Via::Ready(frame) => Some(frame[..6].try_into().unwrap()),
            _ => None,
        }
    }

    fn arp(&mut self, operation: Operation, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) {
        let Link { bench, own, neighbors } = self;
        let arp = Arp { operation, sender, target };
        bench.step(|turn| neighbors.on_arp(&arp, own, turn));
    }

    fn answer(&mut self, mac: Mac) {
        self.arp(Operation::Reply, (mac, PEER), (OWN_MAC, OWN));
    }

    fn pass(&mut self, time: Duration) {
        self.bench.pass(time);
        let Link { bench, own, neighbors } = self;
        bench.step(|turn| neighbors.poll(own, turn));
    }

    /// The ARP questions sent since the last call: to which Ethernet address, for whom.
    fn questions(&mut self) -> Vec<(Mac, Ipv4Addr)> {
        let asked = |frame: &Frame| {
            let arp = Arp::parse(frame, [0; 6]).filter(|arp| arp.operation == Operation::Request)?;
            Some((frame[..6].try_into().unwrap(), arp.target.1))
        };
        self.bench.take().iter().filter_map(asked).collect()
    }

    fn resolved() -> Link {
        let mut link = Link::new();
        link.send(PEER, 1);
        link.answer(PEER_MAC);
        link.bench.take();
        link
    }
}

#[test]
fn frames_wait_for_the_answer_and_leave_in_order() {
    let mut link = Link::new();
    assert!(matches!(link.send(PEER, 1), Via::Waiting));
    assert!(matches!(link.send(PEER, 2), Via::Waiting));
    assert_eq!(link.questions(), [(BROADCAST, PEER)]);
    link.answer(PEER_MAC);
    let sent: Vec<Vec<u8>> = link.bench.take().iter().map(|frame| frame.to_vec()).collect();
    let expected = |mark| [&PEER_MAC[..], &OWN_MAC, &TYPE_IPV4, &[mark]].concat();
    assert_eq!(sent, [expected(1), expected(2)]);
    assert_eq!(link.mac(), Some(PEER_MAC));
}

#[test]
fn a_question_is_a_valid_arp_packet() {
    let mut link = Link::new();
    link.send(PEER, 1);
    let expected = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
    assert_eq!(link.bench.take()[0][14..], expected);
}

#[test]
fn an_absent_neighbour_is_asked_three_times_then_left_alone() {
    let mut link = Link::new();
    link.send(PEER, 1);
    for _ in 0..2 {
        assert_eq!(link.questions().len(), 1);
        link.pass(SECOND);
    }
    assert_eq!(link.questions().len(), 1);
    assert_eq!(link.neighbors.take_absent(), None);
    link.pass(SECOND);
    assert_eq!(link.neighbors.take_absent(), Some(PEER.into()));
    assert!(link.neighbors.is_absent(PEER.into()));
    assert_eq!((link.neighbors.dropped(), link.neighbors.waiting.len()), (1, 0));
    assert!(matches!(link.send(PEER, 2), Via::Absent));
    assert_eq!(link.questions(), []);
    link.pass(ABSENT_TIME);
    assert!(matches!(link.send(PEER, 3), Via::Waiting));
    assert_eq!(link.questions().len(), 1);
}

#[test]
fn a_neighbour_that_comes_back_is_asked_at_once() {
    let mut link = Link::new();
    link.send(PEER, 1);
    for _ in 0..3 {
        link.pass(SECOND);
    }
    link.arp(Operation::Request, (PEER_MAC, PEER), ([0; 6], PEER));
    assert!(matches!(link.send(PEER, 2), Via::Waiting));
}

#[test]
fn nothing_is_asked_without_an_address() {
    let mut link = Link::new();
    assert!(matches!(link.send(OWN, 1), Via::Absent), "we are not our neighbour");
    link.own.v4 = None;
    assert!(matches!(link.send(PEER, 1), Via::Absent));
    assert_eq!(link.neighbors.entries.len(), 0);
}

#[test]
fn a_used_neighbour_is_verified_at_its_own_address() {
    let mut link = Link::resolved();
    link.pass(REACHABLE_TIME);
    assert_eq!(link.mac(), Some(PEER_MAC));
    link.pass(DELAY_FIRST_PROBE);
    assert_eq!(link.questions(), [(PEER_MAC, PEER)]);
    link.answer(PEER_MAC);
    link.pass(SECOND * 20);
    assert_eq!(link.questions(), []);
}

#[test]
fn progress_makes_questions_needless() {
    let mut link = Link::resolved();
    for _ in 0..100 {
        link.pass(SECOND * 4);
        assert_eq!(link.mac(), Some(PEER_MAC));
        link.neighbors.confirm(PEER.into(), link.bench.now);
    }
    assert_eq!(link.questions(), []);
}

#[test]
fn a_neighbour_that_went_away_is_noticed() {
    let mut link = Link::resolved();
    link.pass(REACHABLE_TIME);
    link.mac();
    link.pass(DELAY_FIRST_PROBE);
    for _ in 0..6 {
        link.pass(SECOND);
    }
    let asked: Vec<Mac> = link.questions().iter().map(|(mac, _)| *mac).collect();
    assert_eq!(asked, [PEER_MAC, PEER_MAC, PEER_MAC, BROADCAST, BROADCAST, BROADCAST]);
    assert_eq!(link.neighbors.take_absent(), Some(PEER.into()));
}

/// Whatever a stranger says about the peer, in whatever form, frames go on to the peer's address.
fn check_lie(operation: Operation, target: (Mac, Ipv4Addr)) {
    let mut link = Link::resolved();
    for _ in 0..1000 {
        link.arp(operation, (EVIL_MAC, PEER), target);
    }
    assert_eq!(link.mac(), Some(PEER_MAC));
    let asked = link.questions().iter().filter(|question| **question == (PEER_MAC, PEER)).count();
    assert_eq!(asked, 1, "the peer is asked, once");
    link.answer(PEER_MAC);
    link.pass(SECOND * 10);
    assert_eq!(link.mac(), Some(PEER_MAC));
    assert_eq!(link.questions(), []);
}

#[test]
fn lies() {
    check_lie(Operation::Reply, (OWN_MAC, OWN));
    check_lie(Operation::Reply, (BROADCAST, PEER));
    check_lie(Operation::Reply, (EVIL_MAC, PEER));
    check_lie(Operation::Request, ([0; 6], PEER));
    check_lie(Operation::Request, ([0; 6], OWN));
}

#[test]
fn a_move_to_other_hardware_is_believed_when_the_old_is_silent() {
    let mut link = Link::resolved();
    link.arp(Operation::Request, (EVIL_MAC, PEER), ([0; 6], PEER));
    for _ in 0..2 {
        link.answer(EVIL_MAC);
        assert_eq!(link.mac(), Some(PEER_MAC));
        link.pass(SECOND);
    }
    link.pass(SECOND);
    link.answer(EVIL_MAC);
    assert_eq!(link.mac(), Some(EVIL_MAC));
}

#[test]
fn strangers_make_no_entries() {
    let mut link = Link::new();
    for n in 0..=255 {
        link.arp(Operation::Request, (EVIL_MAC, Ipv4Addr::new(10, 0, 0, n)), ([0; 6], OWN));
        link.arp(Operation::Reply, (EVIL_MAC, Ipv4Addr::new(10, 0, 0, n)), (OWN_MAC, OWN));
    }
    assert_eq!(link.neighbors.entries.len(), 0);
    let answers = link.bench.take();
    assert_eq!(answers.len(), 256);
    let answer = Arp::parse(&answers[7], [0; 6]).unwrap();
    assert_eq!((answer.sender, answer.target), ((OWN_MAC, OWN), (EVIL_MAC, Ipv4Addr::new(10, 0, 0, 7))));
}

#[test]
fn a_flood_of_absent_neighbours_is_bounded() {
    let mut link = Link::resolved();
    link.neighbors.set_gateways(std::vec![PEER.into()]);
    for n in 0..10_000u32 {
        link.send(Ipv4Addr::from_bits(0x0a00_1000 + n), 1);
    }
    assert!(link.neighbors.entries.len() <= NEIGHBORS_ASKED_MAX + 1);
    assert!(link.neighbors.waiting.len() <= FRAMES_WAITING_MAX);
    assert_eq!(link.mac(), Some(PEER_MAC));
    link.pass(REACHABLE_TIME * 2);
    for n in 0..10_000u32 {
        link.send(Ipv4Addr::from_bits(0x0a00_1000 + n), 1);
    }
    assert_eq!(link.mac(), Some(PEER_MAC));
}

#[test]
fn many_neighbours_are_bounded_too() {
    let mut link = Link::new();
    for n in 0..5000u32 {
        let ip = Ipv4Addr::from_bits(0x0a00_1000 + n);
        link.send(ip, 1);
        link.arp(Operation::Reply, (PEER_MAC, ip), (OWN_MAC, OWN));
        link.pass(REACHABLE_TIME / 100);
    }
    assert_eq!(link.neighbors.entries.len(), NEIGHBORS_MAX);
}

#[test]
fn one_neighbour_cannot_hold_all_frames() {
    let mut link = Link::new();
    for mark in 0..100 {
        link.send(PEER, mark);
    }
    link.answer(PEER_MAC);
    let marks: Vec<u8> = link.bench.take().iter().filter(|frame| frame.len() == 15).map(|frame| frame[14]).collect();
    assert_eq!(marks, (84..100).collect::<Vec<u8>>());
}

#[test]
fn groups_and_broadcasts_need_no_question() {
    let mut link = Link::new();
    for (ip, mac) in [
        (Ipv4Addr::BROADCAST, BROADCAST),
        (Ipv4Addr::new(10, 0, 0, 255), BROADCAST),
        (Ipv4Addr::new(224, 129, 2, 3), [1, 0, 0x5e, 1, 2, 3]),
    ] {
        let Via::Ready(frame) = link.send(ip, 1) else { panic!("{ip}") };
        assert_eq!(frame[..6], mac, "{ip}");
    }
}

#[test]
fn the_moment_is_the_one_at_which_something_happens() {
    let mut link = Link::new();
    assert_eq!(link.neighbors.next_moment(), Instant::FOREVER);
    link.send(PEER, 1);
    assert_eq!(link.neighbors.next_moment(), link.bench.now + SECOND);
    link.answer(PEER_MAC);
    link.pass(SECOND);
    assert_eq!(link.neighbors.next_moment(), Instant::FOREVER);
}
