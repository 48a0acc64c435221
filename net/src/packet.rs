//! Reads the headers of a received frame, once, and copies the few fields by which it is sorted.

use crate::{
    checksum::{Sum, pseudo_header4, pseudo_header6},
    flow_map::{Address, FlowKey},
};
use unikernel_rt::device::{Checksum, Frame};

/// Destination, source, type.
pub(crate) const ETHERNET_HEADER_LEN: usize = 14;
pub(crate) const IPV4_HEADER_LEN: usize = 20;
pub(crate) const IPV6_HEADER_LEN: usize = 40;
pub(crate) const TCP_HEADER_LEN: usize = 20;
pub(crate) const UDP_HEADER_LEN: usize = 8;

pub(crate) const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(crate) const TYPE_ARP: [u8; 2] = [0x08, 0x06];
pub(crate) const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];

pub(crate) const PROTOCOL_ICMP: u8 = 1;
pub(crate) const PROTOCOL_IGMP: u8 = 2;
pub(crate) const PROTOCOL_TCP: u8 = 6;
pub(crate) const PROTOCOL_UDP: u8 = 17;
pub(crate) const PROTOCOL_ICMPV6: u8 = 58;

/// Extension headers of IPv6 (RFC 8200, section 4).
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// Extension headers in a row; real packets have one or two, and each costs a look.
const EXTENSIONS_MAX: usize = 4;

pub(crate) type Mac = [u8; 6];

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Arp,
    Tcp(Segment),
    Udp(Datagram),
    /// ICMP, ICMPv6 and IGMP; sums are not checked yet.
    Control(Ip),
    /// A piece of a larger packet.
    Fragment(Ip),
    Drop(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Foreign,
    Malformed,
    Checksum,
}

/// Where an IP packet is in a frame, and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) is_v6: bool,
    pub(crate) protocol: u8,
    /// Where what it carries begins; for a fragment of IPv6, the fragment header.
    pub(crate) payload: usize,
    /// Where it ends. A packet in several parts ends after the first.
    pub(crate) end: usize,
    /// The frame was sent to this machine alone.
    pub(crate) to_us: bool,
}

/// Where things are in a frame that holds TCP, and who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) key: FlowKey,
    /// Where the TCP header begins.
    pub(crate) tcp: usize,
    /// Where the data begins.
    pub(crate) data: usize,
    /// Where the IP packet ends.
    pub(crate) end: usize,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    /// As in the header, not scaled.
    pub(crate) window: u16,
    pub(crate) flags: u8,
}

/// The same for UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) key: FlowKey,
    pub(crate) data: usize,
    pub(crate) end: usize,
    pub(crate) ip: Ip,
}

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// Sorts a frame that came to `mac`. TCP and UDP are whole and intact when this says so.
#[inline(always)]
pub(crate) fn classify(frame: &Frame, mac: Mac) -> Packet {
    let bytes: &[u8] = frame;
    if bytes.len() < ETHERNET_HEADER_LEN {
        return Packet::Drop(Reason::Malformed);
    }
    let to_us = bytes[..6] == mac;
    // Unicast to others can come from a switch that floods; what is sent to a group is looked at.
    if !to_us && bytes[0] & 1 == 0 {
        return Packet::Drop(Reason::Foreign);
    }
    match [bytes[12], bytes[13]] {
        TYPE_IPV4 => ipv4(frame, to_us),
        TYPE_IPV6 => ipv6(frame, to_us),
        TYPE_ARP => Packet::Arp,
        _ => Packet::Drop(Reason::Foreign),
    }
}

#[inline(always)]
fn ipv4(frame: &Frame, to_us: bool) -> Packet {
    let bytes: &[u8] = frame;
    // An array needs no further checks.
    let Some(ip) = bytes[ETHERNET_HEADER_LEN..].first_chunk::<IPV4_HEADER_LEN>() else {
        return Packet::Drop(Reason::Malformed);
    };
    let header_len = usize::from(ip[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let (payload, end) = (ETHERNET_HEADER_LEN + header_len, ETHERNET_HEADER_LEN + total_len);
    let is_sound = ip[0] >> 4 == 4 && header_len >= IPV4_HEADER_LEN && payload <= bytes.len();
    if !is_sound || total_len < header_len || end > bytes.len() && end > frame.total_len() {
        return Packet::Drop(Reason::Malformed);
    }
    let sum = if header_len == IPV4_HEADER_LEN { Sum::of_header(ip) } else { long_header_sum(&bytes[..payload]) };
    if !sum.is_intact() {
        return Packet::Drop(Reason::Checksum);
    }
    let packet = Ip { is_v6: false, protocol: ip[9], payload, end, to_us };
    // More fragments, or an offset.
    if u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0 {
        return Packet::Fragment(packet);
    }
    transport(frame, packet)
}

#[cold]
fn long_header_sum(frame: &[u8]) -> Sum {
    Sum::default().add(&frame[ETHERNET_HEADER_LEN..])
}

#[inline]
fn ipv6(frame: &Frame, to_us: bool) -> Packet {
    let bytes: &[u8] = frame;
    let ip = &bytes[ETHERNET_HEADER_LEN..];
    if ip.len() < IPV6_HEADER_LEN || ip[0] >> 4 != 6 {
        return Packet::Drop(Reason::Malformed);
    }
    let end = ETHERNET_HEADER_LEN + IPV6_HEADER_LEN + usize::from(be16(ip, 4));
    if end > frame.total_len() {
        return Packet::Drop(Reason::Malformed);
    }
    let payload = ETHERNET_HEADER_LEN + IPV6_HEADER_LEN;
    let ip = Ip { is_v6: true, protocol: ip[6], payload, end, to_us };
    match ip.protocol {
        PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_ICMPV6 => transport(frame, ip),
        _ => extensions(frame, ip),
    }
}

/// Skips extension headers. Routing headers are none of a host's business (RFC 5095), the rest is of no use here.
#[cold]
fn extensions(frame: &Frame, mut ip: Ip) -> Packet {
    let end = ip.end.min(frame.len());
    for _ in 0..EXTENSIONS_MAX {
        match ip.protocol {
            HOP_BY_HOP | DESTINATION => {
                let Some(header) = frame[..end].get(ip.payload..ip.payload + 8) else {
                    return Packet::Drop(Reason::Malformed);
                };
                ip.protocol = header[0];
                ip.payload += 8 + 8 * usize::from(header[1]);
                if ip.payload > end {
                    return Packet::Drop(Reason::Malformed);
                }
            }
            FRAGMENT => return Packet::Fragment(ip),
            _ => return transport(frame, ip),
        }
    }
    Packet::Drop(Reason::Foreign)
}

/// What a whole packet carries.
#[inline(always)]
pub(crate) fn transport(frame: &Frame, ip: Ip) -> Packet {
    match ip.protocol {
        PROTOCOL_TCP if ip.to_us => tcp(frame, ip),
        PROTOCOL_UDP => udp(frame, ip),
        PROTOCOL_ICMP | PROTOCOL_IGMP if !ip.is_v6 => Packet::Control(ip),
        PROTOCOL_ICMPV6 if ip.is_v6 => Packet::Control(ip),
        _ => Packet::Drop(Reason::Foreign),
    }
}

#[inline(always)]
fn tcp(frame: &Frame, ip: Ip) -> Packet {
    let bytes: &[u8] = frame;
    let Some(tcp) = bytes.get(ip.payload..).and_then(|rest| rest.first_chunk::<TCP_HEADER_LEN>()) else {
        return Packet::Drop(Reason::Malformed);
    };
    let data = ip.payload + usize::from(tcp[12] >> 4) * 4;
    if data < ip.payload + TCP_HEADER_LEN || data > ip.end.min(bytes.len()) {
        return Packet::Drop(Reason::Malformed);
    }
    if frame.checksum != Checksum::Valid && !is_intact(frame, ip, &bytes[ip.payload..ip.end.min(bytes.len())]) {
        return Packet::Drop(Reason::Checksum);
    }
    Packet::Tcp(Segment {
        key: key(frame, ip),
        tcp: ip.payload,
        data,
        end: ip.end,
        sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
        acknowledgement: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
        window: u16::from_be_bytes([tcp[14], tcp[15]]),
        flags: tcp[13],
    })
}

fn udp(frame: &Frame, ip: Ip) -> Packet {
    // Datagrams come in one part: only TCP is merged.
    if ip.end > frame.len() {
        return Packet::Drop(Reason::Malformed);
    }
    let udp = &frame[ip.payload..ip.end];
    if udp.len() < UDP_HEADER_LEN {
        return Packet::Drop(Reason::Malformed);
    }
    let len = usize::from(be16(udp, 4));
    if len < UDP_HEADER_LEN || len > udp.len() {
        return Packet::Drop(Reason::Malformed);
    }
    let is_summed = be16(udp, 6) != 0;
    // Over IPv4 it may go without (RFC 768), over IPv6 not (RFC 8200, 8.1).
    let is_sound = if is_summed { is_intact(frame, ip, &udp[..len]) } else { !ip.is_v6 };
    if frame.checksum != Checksum::Valid && !is_sound {
        return Packet::Drop(Reason::Checksum);
    }
    let (data, end) = (ip.payload + UDP_HEADER_LEN, ip.payload + len);
    Packet::Udp(Datagram { key: key(frame, ip), data, end, ip })
}

/// Whether a message of ICMP or IGMP has the sum it should have. What is longer than a part is not.
pub(crate) fn is_control_intact(frame: &Frame, ip: Ip) -> bool {
    let Some(message) = frame.get(ip.payload..ip.end) else { return false };
    frame.checksum == Checksum::Valid
        || match ip.is_v6 {
            true => is_intact(frame, ip, message),
            false => Sum::default().add(message).is_intact(),
        }
}

fn is_intact(frame: &Frame, ip: Ip, transport: &[u8]) -> bool {
    let header = &frame[ETHERNET_HEADER_LEN..];
    // The length fits: it came out of a 16-bit field.
    let len = transport.len() as u16;
    let pseudo = match ip.is_v6 {
        true => pseudo_header6(header, ip.protocol, len),
        false => pseudo_header4(header, len),
    };
    pseudo.add(transport).is_intact()
}

/// Who sends to whom.
#[inline(always)]
fn key(frame: &[u8], ip: Ip) -> FlowKey {
    let ports = be32(frame, ip.payload).rotate_left(16);
    match frame[ETHERNET_HEADER_LEN..].first_chunk::<IPV4_HEADER_LEN>() {
        Some(&[.., a, b, c, d, e, f, g, h]) if !ip.is_v6 => {
            FlowKey::v4(u32::from_be_bytes([e, f, g, h]), u32::from_be_bytes([a, b, c, d]), ports)
        }
        _ => {
            let header = &frame[ETHERNET_HEADER_LEN..];
            FlowKey::v6(address6(header, 24), address6(header, 8), ports)
        }
    }
}

fn address6(header: &[u8], at: usize) -> Address {
    Address::from_octets(header[at..at + 16].try_into().expect("sixteen bytes"))
}

#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Segment {
    /// The first of a connection: SYN alone.
    pub(crate) fn opens(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.flags & RST != 0
    }

    /// How much of the space of sequence numbers it takes (RFC 9293, 3.4).
    pub(crate) fn sequence_len(&self) -> u32 {
        let control = u32::from(self.flags & FIN != 0) + u32::from(self.flags & SYN != 0);
        (self.end - self.data) as u32 + control
    }
}
