//! Reads the headers of a received frame, once, and copies the few fields by which it is sorted.

use crate::{checksum, checksum::Sum, flow_map::FlowKey};
use core::net::{Ipv4Addr, SocketAddrV4};
use unikernel_rt::device::{Checksum, Frame};

/// Destination, source, type.
pub(crate) const ETHERNET_HEADER_LEN: usize = 14;
pub(crate) const IPV4_HEADER_LEN: usize = 20;
const TCP_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;
/// Where a TCP header has its checksum.
pub(crate) const TCP_CHECKSUM_OFFSET: usize = 16;
const UDP_CHECKSUM_OFFSET: usize = 6;

pub(crate) const PROTOCOL_ICMP: u8 = 1;
pub(crate) const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

const DHCP_CLIENT_PORT: u16 = 68;

pub(crate) type Mac = [u8; 6];
const BROADCAST: Mac = [0xff; 6];

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Arp,
    Dhcp,
    /// To whom, and where the IP packet ends in the frame.
    Icmp(Ipv4Addr, usize),
    Tcp(Segment),
    Drop(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Foreign,
    Malformed,
    Fragment,
    Checksum,
}

/// Where things are in a frame that holds TCP, and who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) key: FlowKey,
    /// Where the TCP header begins.
    tcp: usize,
    /// Where the IP packet ends.
    pub(crate) end: usize,
    flags: u8,
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Sorts a frame that came to `mac`. TCP and UDP are whole and intact when this says so.
#[inline]
pub(crate) fn classify(frame: &Frame, mac: Mac) -> Packet {
    let bytes: &[u8] = frame;
    if bytes.len() < ETHERNET_HEADER_LEN {
        return Packet::Drop(Reason::Malformed);
    }
    let to_us = bytes[..6] == mac;
    if !to_us && bytes[..6] != BROADCAST {
        return Packet::Drop(Reason::Foreign);
    }
    match [bytes[12], bytes[13]] {
        [0x08, 0x00] => ipv4(&bytes[ETHERNET_HEADER_LEN..], frame.checksum, to_us),
        [0x08, 0x06] => Packet::Arp,
        _ => Packet::Drop(Reason::Foreign),
    }
}

#[inline]
fn ipv4(ip: &[u8], state: Checksum, to_us: bool) -> Packet {
    if ip.len() < IPV4_HEADER_LEN {
        return Packet::Drop(Reason::Malformed);
    }
    let header_len = usize::from(ip[0] & 0x0f) * 4;
    let total_len = usize::from(be16(ip, 2));
    if ip[0] >> 4 != 4 || header_len < IPV4_HEADER_LEN || total_len < header_len || total_len > ip.len() {
        return Packet::Drop(Reason::Malformed);
    }
    if !Sum::default().add(&ip[..header_len]).is_intact() {
        return Packet::Drop(Reason::Checksum);
    }
    // More fragments, or an offset.
    if be16(ip, 6) & 0x3fff != 0 {
        return Packet::Drop(Reason::Fragment);
    }
    let packet = &ip[..total_len];
    match ip[9] {
        PROTOCOL_TCP if to_us => tcp(state, packet, header_len),
        PROTOCOL_UDP => udp(state, packet, header_len),
        // Pings to everybody are not answered: one question must not make many answers.
        PROTOCOL_ICMP if to_us => Packet::Icmp(Ipv4Addr::from_bits(be32(packet, 16)), ETHERNET_HEADER_LEN + total_len),
        _ => Packet::Drop(Reason::Foreign),
    }
}

#[inline]
fn tcp(state: Checksum, packet: &[u8], header_len: usize) -> Packet {
    let tcp = &packet[header_len..];
    if tcp.len() < TCP_HEADER_LEN || data_offset(tcp) < TCP_HEADER_LEN || data_offset(tcp) > tcp.len() {
        return Packet::Drop(Reason::Malformed);
    }
    if state != Checksum::Valid && !is_intact(packet, tcp) {
        return Packet::Drop(Reason::Checksum);
    }
    Packet::Tcp(Segment {
        key: FlowKey::of_received(packet, tcp),
        tcp: ETHERNET_HEADER_LEN + header_len,
        end: ETHERNET_HEADER_LEN + packet.len(),
        flags: tcp[13],
    })
}

fn udp(state: Checksum, packet: &[u8], header_len: usize) -> Packet {
    let udp = &packet[header_len..];
    if udp.len() < UDP_HEADER_LEN || usize::from(be16(udp, 4)) > udp.len() {
        return Packet::Drop(Reason::Malformed);
    }
    if be16(udp, 2) != DHCP_CLIENT_PORT {
        return Packet::Drop(Reason::Foreign);
    }
    // UDP may go without a checksum (RFC 768).
    let summed = be16(udp, UDP_CHECKSUM_OFFSET) != 0;
    let udp = &udp[..usize::from(be16(udp, 4))];
    if state != Checksum::Valid && summed && !is_intact(packet, udp) {
        return Packet::Drop(Reason::Checksum);
    }
    Packet::Dhcp
}

fn is_intact(packet: &[u8], transport: &[u8]) -> bool {
    // The length fits: it came out of a 16-bit field.
    checksum::pseudo_header(packet, transport.len() as u16).add(transport).is_intact()
}

fn data_offset(tcp: &[u8]) -> usize {
    usize::from(tcp[12] >> 4) * 4
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
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

    pub(crate) fn is_fin(&self) -> bool {
        self.flags & FIN != 0
    }

    pub(crate) fn sequence(&self, frame: &[u8]) -> u32 {
        be32(frame, self.tcp + 4)
    }

    pub(crate) fn acknowledgement(&self, frame: &[u8]) -> u32 {
        be32(frame, self.tcp + 8)
    }

    /// Neither data nor anything but ACK.
    pub(crate) fn is_bare_acknowledgement(&self, frame: &[u8]) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == ACK && self.payload_len(frame) == 0
    }

    /// Whether the peer can take no more.
    #[inline]
    pub(crate) fn closes_window(&self, frame: &[u8]) -> bool {
        be16(frame, self.tcp + 14) == 0
    }

    /// The same segment with the smallest window that is not closed.
    ///
    /// When a peer acknowledges some data and closes its window while more is in flight, smoltcp 0.14 replaces the
    /// retransmission timer by the probing timer, and stops that one when the window opens: what was lost in between
    /// is never sent again. Shown an open window it keeps retransmitting, which probes as well as a probe does
    /// (RFC 9293, 3.8.6.1).
    #[cold]
    pub(crate) fn with_window_ajar(&self, frame: &[u8]) -> Frame {
        let mut ajar = Frame::from_bytes(frame);
        // Its checksum has been checked, and nobody looks at it again.
        ajar[self.tcp + 14..self.tcp + 16].copy_from_slice(&1_u16.to_be_bytes());
        ajar
    }

    pub(crate) fn payload_len(&self, frame: &[u8]) -> usize {
        self.end - self.tcp - data_offset(&frame[self.tcp..])
    }

    /// The sequence number after this segment (RFC 9293, 3.4).
    pub(crate) fn next_sequence(&self, frame: &[u8]) -> u32 {
        let control = u32::from(self.is_fin()) + u32::from(self.flags & SYN != 0);
        self.sequence(frame).wrapping_add(self.payload_len(frame) as u32).wrapping_add(control)
    }

    /// An empty ACK back to where `frame` came from. Its checksums are not yet there.
    pub(crate) fn acknowledge(&self, frame: &[u8], sequence: u32, acknowledgement: u32) -> Frame {
        const LEN: usize = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN + TCP_HEADER_LEN;
        let mut reply = Frame::with_capacity(LEN);
        reply.resize(LEN);
        reply[..6].copy_from_slice(&frame[6..12]);
        reply[6..12].copy_from_slice(&frame[..6]);
        reply[12..14].copy_from_slice(&[0x08, 0x00]);
        let (ip, tcp) = reply[ETHERNET_HEADER_LEN..].split_at_mut(IPV4_HEADER_LEN);
        // Version and length; total length 40; not to be fragmented; TTL 64.
        ip[..12].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0]);
        ip[12..16].copy_from_slice(&self.key.local().ip().octets());
        ip[16..20].copy_from_slice(&self.key.peer().ip().octets());
        tcp[..2].copy_from_slice(&self.key.local().port().to_be_bytes());
        tcp[2..4].copy_from_slice(&self.key.peer().port().to_be_bytes());
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        tcp[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
        // Five words of header; no window, because there is no buffer any more.
        tcp[12..20].copy_from_slice(&[0x50, ACK, 0, 0, 0, 0, 0, 0]);
        reply
    }
}

/// What a flow has sent so far.
///
/// smoltcp 0.14 goes back to the first unacknowledged byte after a retransmission timeout, and then also writes that
/// old number into segments without data. A peer who has seen more finds those outside of its window and
/// drops them with the acknowledgement in them; when that happens on both sides at once, the connection
/// stands still for good. So such segments get the number they should have, that after everything sent, as
/// BSD does (`th_seq = snd_max`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sending {
    /// The sequence number after everything sent.
    max: Option<u32>,
    /// The peer's window is closed: what is sent now are probes, which it may well throw away.
    pub(crate) is_probing: bool,
    /// Bytes sent for the first time, since the last look.
    pub(crate) new_len: usize,
    /// Segments sent again, ever.
    pub(crate) repeats: u32,
}

impl Sending {
    /// Whether something sent is still in flight after the peer acknowledged up to here.
    pub(crate) fn awaits_more_than(&self, acknowledgement: u32) -> bool {
        self.max.is_some_and(|max| after(max, acknowledgement) > 0)
    }

    /// Whether exactly one thing was sent after `acknowledgement`: the FIN, when there is no data.
    pub(crate) fn ends_after(&self, acknowledgement: u32) -> bool {
        self.max == Some(acknowledgement.wrapping_add(1))
    }

    /// Notes a segment and corrects it.
    #[inline]
    fn pass(&mut self, tcp: &mut [u8]) {
        let flags = tcp[13];
        let sequence = be32(tcp, 4);
        let control = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let len = (tcp.len() - data_offset(tcp)) as u32 + control;
        if len > 0 {
            self.note(sequence, len);
        } else if let Some(max) = self.max
            && flags & ACK != 0
            && after(max, sequence) > 0
        {
            tcp[4..8].copy_from_slice(&max.to_be_bytes());
        }
    }

    fn note(&mut self, sequence: u32, len: u32) {
        let end = sequence.wrapping_add(len);
        let new_len = self.max.map_or(len as i32, |max| after(end, max));
        if new_len <= 0 {
            self.repeats = self.repeats.wrapping_add(1);
        } else if !self.is_probing {
            self.max = Some(end);
            self.new_len += new_len as usize;
        }
    }
}

/// How far `a` is after `b` in the circle of sequence numbers.
fn after(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// Completes an IPv4 frame that is ready but for the checksums of IP and TCP; the latter is left to the device if
/// `device_sums`. Other frames stay as they are. The frame was built by us: its IP header has no options.
#[inline]
pub(crate) fn finish(frame: &mut Frame, device_sums: bool, sending: Option<&mut Sending>) {
    const TCP: usize = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN;
    let bytes: &mut [u8] = frame;
    if bytes.len() < TCP || bytes[12..14] != [0x08, 0x00] {
        return;
    }
    let (headers, tcp) = bytes.split_at_mut(TCP);
    let ip = &mut headers[ETHERNET_HEADER_LEN..];
    ip[10..12].fill(0);
    let sum = Sum::default().add(ip).finish();
    ip[10..12].copy_from_slice(&sum);
    if ip[9] != PROTOCOL_TCP || tcp.len() < TCP_HEADER_LEN {
        return;
    }
    if let Some(sending) = sending {
        sending.pass(tcp);
    }
    let pseudo = checksum::pseudo_header(ip, tcp.len() as u16);
    let field = TCP_CHECKSUM_OFFSET..TCP_CHECKSUM_OFFSET + 2;
    if device_sums {
        tcp[field].copy_from_slice(&pseudo.partial());
        frame.checksum = Checksum::Partial { start: TCP as u16, offset: TCP_CHECKSUM_OFFSET as u16 };
    } else {
        tcp[field.clone()].fill(0);
        let sum = pseudo.add(tcp).finish();
        tcp[field].copy_from_slice(&sum);
    }
}

impl FlowKey {
    fn of_received(packet: &[u8], tcp: &[u8]) -> FlowKey {
        FlowKey::new(
            SocketAddrV4::new(Ipv4Addr::from_bits(be32(packet, 16)), be16(tcp, 2)),
            SocketAddrV4::new(Ipv4Addr::from_bits(be32(packet, 12)), be16(tcp, 0)),
        )
    }
}
