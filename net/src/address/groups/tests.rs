//! Joining, leaving, and routers that ask.

use super::*;
use crate::address::testing::{Bench, OWN_MAC, PEER_MAC, Sent6, icmp6, sum};
use std::{net::Ipv6Addr, vec, vec::Vec};

const V4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 9);
const OWN4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SECOND: Duration = Duration::from_secs(1);

struct Link {
    bench: Bench,
    groups: Groups,
}

impl Link {
    fn new() -> Link {
        Link { bench: Bench::new(), groups: Groups::new(OWN_MAC) }
    }

    /// With both groups joined and all of it said.
    fn joined() -> Link {
        let mut link = Link::new();
        link.groups.join(V4.into(), link.bench.now).unwrap();
        link.groups.join(V6.into(), link.bench.now).unwrap();
        link.run(SECOND * 3);
        link.bench.take();
        link
    }

    fn run(&mut self, time: Duration) {
        let end = self.bench.now + time;
        loop {
            let Link { bench, groups } = self;
            bench.step(|turn| groups.poll(Some(OWN4), "fe80::2".parse().ok(), turn));
            let next = groups.next_moment();
            assert!(next > bench.now, "it would spin");
            if next > end {
                break;
            }
            bench.now = next;
        }
        self.bench.now = end;
    }

    fn igmp(&mut self, bytes: &[u8], hops: u8) {
        let frame = igmp(bytes, hops);
        let Link { bench, groups } = self;
        bench.step(|turn| groups.on_igmp(&frame, turn));
    }

    fn mld(&mut self, source: &str, hops: u8, bytes: &[u8]) {
        let frame = icmp6(PEER_MAC, source, "ff02::1", hops, &[58, 0, 5, 2, 0, 0, 1, 0], bytes);
        let Link { bench, groups } = self;
        let message = Message::parse(&frame, OWN_MAC).expect("it is valid ICMPv6");
        bench.step(|turn| groups.on_mld(&message, turn));
    }

    /// The IPv4 packets sent since the last call: destination and IGMP, their sums checked.
    fn sent4(&mut self) -> Vec<(Ipv4Addr, Vec<u8>)> {
        let v4 = |frame: &unikernel_rt::device::Frame| {
            let ip = &frame[14..];
            if frame[12..14] != [8, 0] {
                return None;
            }
            assert_eq!((ip[0], ip[8], ip[9], &ip[20..24]), (0x46, 1, 2, &[0x94, 4, 0, 0][..]));
            assert_eq!((sum(&[&ip[..24]]), sum(&[&ip[24..]])), (0xffff, 0xffff));
            assert_eq!(ip[12..16], OWN4.octets());
            assert_eq!((frame[..3].to_vec(), &frame[4..6]), (vec![1, 0, 0x5e], &ip[18..20]));
            Some((Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]), ip[24..].to_vec()))
        };
        let sent = self.bench.sent.iter().filter_map(v4).collect();
        self.bench.sent.retain(|frame| frame[12..14] != [8, 0]);
        sent
    }

    fn sent6(&mut self) -> Vec<Sent6> {
        self.bench.take().iter().filter_map(|frame| Sent6::parse(frame)).collect()
    }
}

fn igmp(bytes: &[u8], hops: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let checksum = !sum(&[&bytes]);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    let total = (20 + bytes.len()) as u16;
    let header =
        [&[0x45, 0][..], &total.to_be_bytes(), &[0, 0, 0, 0, hops, 2, 0, 0, 10, 0, 0, 1, 224, 0, 0, 1]].concat();
    [&[1, 0, 0x5e, 0, 0, 1][..], &PEER_MAC, &[8, 0], &header, &bytes].concat()
}

/// A report of version 3 with one record.
fn report4(record: u8) -> Vec<u8> {
    [&[0x22, 0][..], &[0, 0, 0, 1, record, 0, 0, 0], &V4.octets()].concat()
}

fn without_sum(mut sent: (Ipv4Addr, Vec<u8>)) -> (Ipv4Addr, Vec<u8>) {
    sent.1.drain(2..4);
    sent
}

const ROUTERS_3: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

#[test]
fn joining_and_leaving_are_said_twice() {
    let mut link = Link::new();
    link.groups.join(V4.into(), link.bench.now).unwrap();
    link.run(SECOND * 3);
    let sent: Vec<_> = link.sent4().into_iter().map(without_sum).collect();
    assert_eq!(sent, vec![(ROUTERS_3, report4(4)); 2]);
    link.groups.join(V4.into(), link.bench.now).unwrap();
    link.groups.leave(V4.into(), link.bench.now);
    link.run(SECOND * 3);
    assert_eq!(link.sent4(), [], "somebody still listens");
    link.groups.leave(V4.into(), link.bench.now);
    assert!(!link.groups.list().any(|group| group == V4));
    link.run(SECOND * 3);
    let sent: Vec<_> = link.sent4().into_iter().map(without_sum).collect();
    assert_eq!(sent, vec![(ROUTERS_3, report4(3)); 2]);
    assert_eq!((link.groups.members.len(), link.groups.next_moment()), (0, Instant::FOREVER));
}

#[test]
fn a_report_of_listeners() {
    let mut link = Link::new();
    link.groups.join(V6.into(), link.bench.now).unwrap();
    link.run(Duration::ZERO);
    let sent = link.sent6().remove(0);
    assert_eq!((sent.mac, sent.hops, sent.destination), ([0x33, 0x33, 0, 0, 0, 0x16], 1, "ff02::16".parse().unwrap()));
    assert_eq!((sent.source, &sent.hop_by_hop[..]), ("fe80::2".parse().unwrap(), &[58, 0, 5, 2, 0, 0, 1, 0][..]));
    assert_eq!(
        (sent.payload[0], &sent.payload[4..]),
        (143, &[&[0, 0, 0, 1, 4, 0, 0, 0][..], &V6.octets()].concat()[..])
    );
}

#[test]
fn what_is_no_group_or_one_too_many() {
    let (mut link, now) = (Link::new(), Instant::default());
    assert_eq!(link.groups.join(OWN4.into(), now), Err(JoinError));
    for n in 0..GROUPS_MAX as u32 {
        link.groups.join(Ipv4Addr::from_bits(0xef00_0000 + n).into(), now).unwrap();
    }
    assert_eq!(link.groups.join(V6.into(), now), Err(JoinError));
    link.groups.leave(V6.into(), now);
    link.groups.leave(OWN4.into(), now);
}

/// A query for `group`, of IGMPv3 when there is `more`.
fn query4(code: u8, group: [u8; 4], more: &[u8]) -> Vec<u8> {
    [&[0x11, code, 0, 0][..], &group, more].concat()
}

const MORE_3: &[u8] = &[2, 125, 0, 0];

#[test]
fn queries_are_answered_in_time() {
    let mut link = Link::joined();
    link.igmp(&query4(20, [0; 4], MORE_3), 1);
    assert_eq!(link.bench.take().len(), 0, "not at once");
    link.run(SECOND * 2);
    let sent: Vec<_> = link.sent4().into_iter().map(without_sum).collect();
    assert_eq!(sent, [(ROUTERS_3, report4(2))]);
    link.igmp(&query4(10, V4.octets(), MORE_3), 1);
    link.run(SECOND);
    assert_eq!(link.sent4().len(), 1);
    link.igmp(&query4(10, [239, 9, 9, 9], MORE_3), 1);
    link.run(SECOND * 60);
    assert_eq!(link.sent4().len(), 0);
    // 0x9f: (15 | 16) << (1 + 3) tenths of a second.
    link.igmp(&query4(0x9f, [0; 4], MORE_3), 1);
    assert!(link.groups.next_moment() < link.bench.now + Duration::from_millis(49_600));
}

#[test]
fn an_older_router_is_answered_in_its_language() {
    let mut link = Link::joined();
    link.igmp(&query4(100, [0; 4], &[]), 1);
    link.run(SECOND * 10);
    let report = [&[0x16, 0][..], &V4.octets()].concat();
    assert_eq!(link.sent4().into_iter().map(without_sum).collect::<Vec<_>>(), [(V4, report)]);
    link.groups.leave(V4.into(), link.bench.now);
    link.run(Duration::ZERO);
    let leave = [&[0x17, 0][..], &V4.octets()].concat();
    assert_eq!(without_sum(link.sent4().remove(0)), (Ipv4Addr::new(224, 0, 0, 2), leave));
    let mut link = Link::joined();
    link.igmp(&query4(100, [0; 4], &[]), 1);
    link.run(OLD_QUERIER_TIME);
    link.bench.take();
    link.igmp(&query4(20, [0; 4], MORE_3), 1);
    link.run(SECOND * 2);
    assert_eq!(link.sent4()[0].0, ROUTERS_3);
}

#[test]
fn forged_and_broken_queries() {
    let mut link = Link::joined();
    let good = query4(10, [0; 4], MORE_3);
    link.igmp(&good, 2);
    for len in 0..good.len() {
        if len != 8 {
            let Link { bench, groups } = &mut link;
            let frame = igmp(&good, 1);
            bench.step(|turn| groups.on_igmp(&frame[..34 + len], turn));
        }
    }
    let mut wrong = igmp(&good, 1);
    wrong[36] ^= 1;
    let Link { bench, groups } = &mut link;
    bench.step(|turn| groups.on_igmp(&wrong, turn));
    let query6 = [&[130, 0, 0, 0, 0, 100, 0, 0][..], &[0; 20]].concat();
    link.mld("2001:db8::1", 1, &query6);
    link.mld("fe80::1", 2, &query6);
    link.mld("fe80::1", 1, &query6[..26]);
    link.mld("fe80::1", 1, &query6[..20]);
    link.run(SECOND * 60);
    assert_eq!(link.bench.take().len(), 0);
}

#[test]
fn listener_queries() {
    let mut link = Link::joined();
    let query = |code: [u8; 2], group: Ipv6Addr, more: &[u8]| {
        [&[130, 0, 0, 0, code[0], code[1], 0, 0][..], &group.octets(), more].concat()
    };
    link.mld("fe80::1", 1, &query([3, 232], Ipv6Addr::UNSPECIFIED, &[2, 125, 0, 0]));
    link.run(SECOND);
    assert_eq!(link.sent6()[0].payload[8], 2);
    link.mld("fe80::1", 1, &query([3, 232], V6, &[]));
    link.run(SECOND);
    let sent = link.sent6().remove(0);
    assert_eq!((sent.payload[0], sent.destination, &sent.payload[8..]), (131, V6, &V6.octets()[..]));
    link.groups.leave(V6.into(), link.bench.now);
    link.run(Duration::ZERO);
    let sent = link.sent6().remove(0);
    assert_eq!((sent.payload[0], sent.destination), (132, "ff02::2".parse().unwrap()));
}

#[test]
fn a_flood_of_queries_is_answered_sparingly() {
    let mut link = Link::joined();
    for _ in 0..1000 {
        link.igmp(&query4(0, [0; 4], MORE_3), 1);
        link.run(Duration::from_millis(1));
    }
    assert!(link.sent4().len() <= 11);
}
