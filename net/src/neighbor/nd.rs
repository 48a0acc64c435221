//! Neighbour solicitations and advertisements (RFC 4861, 4.3 and 4.4), read and written.

use super::Neighbors;
use crate::address::{
    Addresses, State6, Turn,
    packet::{ETHERNET_LEN, IPV6_LEN, Mac, PROTOCOL_ICMP6, Path, TYPE_IPV6, group_mac6, icmp6, is_host, sum6},
};
use core::net::{IpAddr, Ipv6Addr};
use unikernel_rt::device::Frame;

pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;

/// A packet of neighbour discovery that went through a router is forged (RFC 4861, 7.1).
pub(crate) const HOPS: u8 = 255;

/// Options of a sender's and a target's Ethernet address.
const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;

/// Bits of an advertisement.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Type, code, checksum, flags, target.
const HEAD_LEN: usize = 24;

/// The group in which a host listens for questions after its address (RFC 4291, 2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// A received ICMPv6 message: its addresses, and its bytes from the ICMPv6 header on. Its checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) from: Mac,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) hops: u8,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a whole Ethernet frame. Hop-by-hop options, which come with multicast listener discovery, are skipped.
    /// `None`: not ICMPv6, malformed, from a group, or our own come back.
    pub(crate) fn parse(frame: &'a [u8], own: Mac) -> Option<Message<'a>> {
        let from: Mac = frame.get(6..12)?.try_into().ok()?;
        let (ip, rest) = frame.get(ETHERNET_LEN..)?.split_first_chunk::<IPV6_LEN>()?;
        let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
        let bytes = after_hop_by_hop(ip[6], rest.get(..len)?)?;
        let address = |at: usize| Some(Ipv6Addr::from_octets(*ip[at..].first_chunk()?));
        let (source, destination) = (address(8)?, address(24)?);
        let intact = sum6(source, destination, PROTOCOL_ICMP6, bytes).is_intact() && bytes.len() >= 8;
        let sane = frame[12..ETHERNET_LEN] == TYPE_IPV6 && ip[0] >> 4 == 6 && !source.is_multicast() && from != own;
        (intact && sane).then_some(Message { from, source, destination, hops: ip[7], bytes })
    }

    /// Whether it comes from the link, as messages of neighbour discovery must (RFC 4861, 7.1).
    pub(crate) fn is_local(&self) -> bool {
        self.hops == HOPS
    }
}

fn after_hop_by_hop(protocol: u8, payload: &[u8]) -> Option<&[u8]> {
    match (protocol, payload) {
        (PROTOCOL_ICMP6, _) => Some(payload),
        // In units of eight bytes, the first not counted (RFC 8200, 4.3).
        (0, [PROTOCOL_ICMP6, len, ..]) => payload.get(8 + usize::from(*len) * 8..),
        _ => None,
    }
}

/// A solicitation or an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Discovery {
    pub(crate) target: Ipv6Addr,
    flags: u8,
    /// From the option that belongs to this kind of message.
    pub(crate) mac: Option<Mac>,
}

impl Discovery {
    /// `option`: the one that carries the Ethernet address.
    fn parse(bytes: &[u8], option: u8) -> Option<Discovery> {
        let head: &[u8; HEAD_LEN] = bytes.first_chunk()?;
        let target = Ipv6Addr::from_octets(head[8..].try_into().ok()?);
        let options = Options(&bytes[HEAD_LEN..]);
        let mac = options.clone().find_map(|(kind, data)| (kind == option).then(|| data.first_chunk().copied())?);
        let whole = options.is_whole() && head[1] == 0 && !target.is_multicast();
        (whole && mac.is_none_or(is_host)).then_some(Discovery { target, flags: head[4], mac })
    }

    pub(crate) fn solicitation(message: &Message<'_>) -> Option<Discovery> {
        let parsed = Discovery::parse(message.bytes, OPTION_SOURCE)?;
        // RFC 4861, 7.1.1: from nobody it tests an address: to the group, and without a sender's address.
        let [.., a, b, c] = parsed.target.octets();
        let to_group = message.destination.octets()[..13] == solicited_node(Ipv6Addr::UNSPECIFIED).octets()[..13]
            && message.destination.octets()[13..] == [a, b, c];
        let valid = !message.source.is_unspecified() || (to_group && parsed.mac.is_none());
        valid.then_some(parsed)
    }

    pub(crate) fn advertisement(message: &Message<'_>) -> Option<Discovery> {
        let parsed = Discovery::parse(message.bytes, OPTION_TARGET)?;
        // RFC 4861, 7.1.2.
        let valid = !(message.destination.is_multicast() && parsed.flags & SOLICITED != 0);
        valid.then_some(parsed)
    }
}

/// The options of a message (RFC 4861, 4.6): kind, and what is after the length. Ends at the first broken one.
#[derive(Clone)]
pub(crate) struct Options<'a>(pub(crate) &'a [u8]);

impl Options<'_> {
    /// Whether every option is complete: a message is discarded otherwise.
    pub(crate) fn is_whole(&self) -> bool {
        let mut options = self.clone();
        while options.next().is_some() {}
        options.0.is_empty()
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [kind, len, ..] = *self.0 else { return None };
        // In units of eight bytes; zero would never end.
        let option = self.0.get(..usize::from(len) * 8).filter(|option| !option.is_empty())?;
        self.0 = &self.0[option.len()..];
        Some((kind, &option[2..]))
    }
}

/// Asks who has `target`: everybody, or one Ethernet address.
pub(super) fn solicitation(mac: Mac, source: Ipv6Addr, target: Ipv6Addr, to: Option<Mac>, own: &Addresses) -> Frame {
    // RFC 4429, 3.2: an address that may turn out to be another's must not enter caches.
    let optimistic = own.state6(source) == Some(State6::Optimistic);
    let destination = if to.is_some() { target } else { solicited_node(target) };
    let path = Path { macs: (mac, to.unwrap_or(group_mac6(destination))), source, destination };
    write(path, SOLICITATION, 0, target, (!optimistic).then_some((OPTION_SOURCE, mac)))
}

/// Asks whether somebody has the address that we want (RFC 4862, 5.4.2).
pub(crate) fn duplicate_probe(mac: Mac, target: Ipv6Addr) -> Frame {
    let destination = solicited_node(target);
    let path = Path { macs: (mac, group_mac6(destination)), source: Ipv6Addr::UNSPECIFIED, destination };
    write(path, SOLICITATION, 0, target, None)
}

fn write(path: Path<Ipv6Addr>, kind: u8, flags: u8, target: Ipv6Addr, option: Option<(u8, Mac)>) -> Frame {
    let mut message = [0; HEAD_LEN + 8];
    message[0] = kind;
    message[4] = flags;
    message[8..HEAD_LEN].copy_from_slice(&target.octets());
    let mut len = HEAD_LEN;
    if let Some((option, mac)) = option {
        message[HEAD_LEN..HEAD_LEN + 2].copy_from_slice(&[option, 1]);
        message[HEAD_LEN + 2..].copy_from_slice(&mac);
        len = message.len();
    }
    icmp6(path, HOPS, &[], &mut message[..len])
}

impl Neighbors {
    /// Answers a question for our address (RFC 4861, 7.2.4).
    pub(crate) fn on_solicitation(&mut self, message: &Message<'_>, own: &Addresses, turn: &mut Turn<'_>) {
        let Some(question) = Discovery::solicitation(message) else { return };
        if own.is_ours(question.target.into()) {
            (turn.out)(self.advertisement(message, question.target, own));
            if let Some(mac) = question.mac {
                self.heard(message.source.into(), mac, own, turn);
            }
        }
    }

    fn advertisement(&self, question: &Message<'_>, target: Ipv6Addr, own: &Addresses) -> Frame {
        let optimistic = own.state6(target) == Some(State6::Optimistic);
        let overrides = if optimistic { 0 } else { OVERRIDE };
        let asker = question.source;
        // To a host that only wants to know whether the address is free: everybody is told.
        let (to, destination, solicited) = match asker.is_unspecified() {
            true => (group_mac6(ALL_NODES), ALL_NODES, 0),
            false => (question.from, asker, SOLICITED),
        };
        let path = Path { macs: (self.mac, to), source: target, destination };
        write(path, ADVERTISEMENT, overrides | solicited, target, Some((OPTION_TARGET, self.mac)))
    }

    /// Learns from the answer to a question of ours (RFC 4861, 7.2.5).
    pub(crate) fn on_advertisement(&mut self, message: &Message<'_>, own: &Addresses, turn: &mut Turn<'_>) {
        let Some(answer) = Discovery::advertisement(message) else { return };
        let ip = IpAddr::V6(answer.target);
        // The answer to a question for one host may leave its address out (RFC 4861, 4.4).
        let mac = answer.mac.unwrap_or(message.from);
        if !is_host(mac) || mac == self.mac {
            return;
        }
        match answer.flags & SOLICITED != 0 && own.is_ours(message.destination.into()) {
            true => self.answered(ip, mac, own, turn),
            false => self.heard(ip, mac, own, turn),
        }
    }
}

/// Every host of the link.
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
