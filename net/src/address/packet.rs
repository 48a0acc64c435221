//! Finished Ethernet frames for what the machines of a port say.

use crate::checksum::Sum;
use core::net::{Ipv4Addr, Ipv6Addr};
use unikernel_rt::device::Frame;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

pub(crate) const BROADCAST: Mac = [0xff; 6];

/// Destination, source, type.
pub(crate) const ETHERNET_LEN: usize = 14;
pub(crate) const IPV4_LEN: usize = 20;
pub(crate) const IPV6_LEN: usize = 40;
pub(crate) const UDP_LEN: usize = 8;

pub(crate) const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(crate) const TYPE_ARP: [u8; 2] = [0x08, 0x06];
pub(crate) const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];

pub(crate) const PROTOCOL_UDP: u8 = 17;
pub(crate) const PROTOCOL_ICMP6: u8 = 58;

/// From whom and to whom a frame goes, on the wire and in IP.
#[derive(Clone, Copy)]
pub(crate) struct Path<A> {
    pub(crate) macs: (Mac, Mac),
    pub(crate) source: A,
    pub(crate) destination: A,
}

/// The Ethernet address of an IPv4 group (RFC 1112, 6.4) or an IPv6 group (RFC 2464, 7).
pub(crate) fn group_mac4(group: Ipv4Addr) -> Mac {
    let [_, b, c, d] = group.octets();
    [0x01, 0x00, 0x5e, b & 0x7f, c, d]
}

/// See [`group_mac4`].
pub(crate) fn group_mac6(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Whether one machine can have this Ethernet address: not a group's, not zero.
pub(crate) fn is_host(mac: Mac) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

/// A frame with room for `len` bytes of zeroes behind the Ethernet header.
pub(crate) fn ethernet((from, to): (Mac, Mac), kind: [u8; 2], len: usize) -> Frame {
    let mut frame = Frame::with_capacity(ETHERNET_LEN + len);
    frame.resize(ETHERNET_LEN + len);
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    frame[12..ETHERNET_LEN].copy_from_slice(&kind);
    frame[ETHERNET_LEN..].fill(0);
    frame
}

/// An IPv4 packet around `payload`. `options` are those of the IP header, padded to four bytes.
pub(crate) fn ipv4(path: Path<Ipv4Addr>, protocol: u8, hops: u8, options: &[u8], payload: &[u8]) -> Frame {
    let header_len = IPV4_LEN + options.len();
    let total = header_len + payload.len();
    let mut frame = ethernet(path.macs, TYPE_IPV4, total);
    let ip = &mut frame[ETHERNET_LEN..];
    ip[0] = 0x40 | (header_len / 4) as u8;
    ip[2..4].copy_from_slice(&(total as u16).to_be_bytes());
    // Don't fragment (RFC 791): these packets are small.
    ip[6] = 0x40;
    ip[8] = hops;
    ip[9] = protocol;
    ip[12..16].copy_from_slice(&path.source.octets());
    ip[16..20].copy_from_slice(&path.destination.octets());
    ip[IPV4_LEN..header_len].copy_from_slice(options);
    let sum = Sum::default().add(&ip[..header_len]).finish();
    ip[10..12].copy_from_slice(&sum);
    ip[header_len..].copy_from_slice(payload);
    frame
}

/// A UDP datagram over IPv4; `ports` are source and destination.
pub(crate) fn udp4(path: Path<Ipv4Addr>, ports: (u16, u16), payload: &[u8]) -> Frame {
    let mut udp = udp_header(ports, payload.len()).to_vec();
    udp.extend_from_slice(payload);
    let sum = Sum::default()
        .add(&path.source.octets())
        .add(&path.destination.octets())
        .add(&[0, PROTOCOL_UDP, udp[4], udp[5]])
        .add(&udp)
        .finish();
    udp[6..8].copy_from_slice(&udp_sum(sum));
    ipv4(path, PROTOCOL_UDP, 64, &[], &udp)
}

/// A UDP datagram over IPv6; `ports` are source and destination.
pub(crate) fn udp6(path: Path<Ipv6Addr>, ports: (u16, u16), payload: &[u8]) -> Frame {
    let mut udp = udp_header(ports, payload.len()).to_vec();
    udp.extend_from_slice(payload);
    let sum = sum6(path.source, path.destination, PROTOCOL_UDP, &udp).finish();
    udp[6..8].copy_from_slice(&udp_sum(sum));
    ipv6(path, PROTOCOL_UDP, 64, &[], &udp)
}

fn udp_header((source, destination): (u16, u16), len: usize) -> [u8; UDP_LEN] {
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    let [e, f] = ((UDP_LEN + len) as u16).to_be_bytes();
    [a, b, c, d, e, f, 0, 0]
}

/// RFC 768: zero would mean that there is no checksum.
fn udp_sum(sum: [u8; 2]) -> [u8; 2] {
    if sum == [0, 0] { [0xff, 0xff] } else { sum }
}

/// An IPv6 packet around `payload`, which `protocol` names. `hop_by_hop` is a whole extension header, or nothing; its
/// first byte is filled in.
pub(crate) fn ipv6(path: Path<Ipv6Addr>, protocol: u8, hops: u8, hop_by_hop: &[u8], payload: &[u8]) -> Frame {
    let len = hop_by_hop.len() + payload.len();
    let mut frame = ethernet(path.macs, TYPE_IPV6, IPV6_LEN + len);
    let ip = &mut frame[ETHERNET_LEN..];
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    // Next header 0: hop-by-hop options (RFC 8200, 4.3).
    ip[6] = if hop_by_hop.is_empty() { protocol } else { 0 };
    ip[7] = hops;
    ip[8..24].copy_from_slice(&path.source.octets());
    ip[24..40].copy_from_slice(&path.destination.octets());
    let (options, rest) = ip[IPV6_LEN..].split_at_mut(hop_by_hop.len());
    options.copy_from_slice(hop_by_hop);
    if let Some(next) = options.first_mut() {
        *next = protocol;
    }
    rest.copy_from_slice(payload);
    frame
}

/// An ICMPv6 message; its bytes 2 and 3 become the checksum.
pub(crate) fn icmp6(path: Path<Ipv6Addr>, hops: u8, hop_by_hop: &[u8], message: &mut [u8]) -> Frame {
    message[2..4].fill(0);
    let sum = sum6(path.source, path.destination, PROTOCOL_ICMP6, message).finish();
    message[2..4].copy_from_slice(&sum);
    ipv6(path, PROTOCOL_ICMP6, hops, hop_by_hop, message)
}

/// The sum over the pseudo header (RFC 8200, 8.1) and `payload`.
pub(crate) fn sum6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> Sum {
    let len = (payload.len() as u32).to_be_bytes();
    let sum = Sum::default().add(&source.octets()).add(&destination.octets());
    sum.add(&len).add(&[0, 0, 0, protocol]).add(payload)
}
