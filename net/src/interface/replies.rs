//! What a host says to whoever asks it or makes a mistake (ICMP).

use super::Interface;
use crate::{
    address::packet::{Path, icmp6, ipv4},
    checksum::Sum,
    header::HOPS,
    packet::{Datagram, ETHERNET_HEADER_LEN, Ip, Mac, PROTOCOL_ICMP},
};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};
use unikernel_rt::device::Frame;

/// A complaint over IPv4 stays this short (RFC 1812, 4.3.2.3), one over IPv6 within the smallest MTU (RFC 4443, 2.4).
const QUOTE_MAX: usize = 576 - 20 - 8;
const QUOTE6_MAX: usize = 1280 - 40 - 8;

impl Interface {
    /// Answers a ping, back to where it came from.
    pub(crate) fn echo(&mut self, to: Mac, frame: &Frame, ip: Ip) {
        let mut message = frame[ip.payload..ip.end].to_vec();
        // Echo reply (RFC 792; RFC 4443, 4.2).
        message[0] = if ip.is_v6 { 129 } else { 0 };
        self.reply(to, frame, ip.is_v6, message);
    }

    /// Tells that nobody listens on the port of a datagram.
    pub(crate) fn port_unreachable(&mut self, to: Mac, frame: &Frame, datagram: &Datagram) {
        let is_v6 = datagram.ip.is_v6;
        let (kind, code, max) = if is_v6 { (1, 4, QUOTE6_MAX) } else { (3, 3, QUOTE_MAX) };
        let quote = &frame[ETHERNET_HEADER_LEN..datagram.ip.end];
        let mut message = Vec::from([kind, code, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&quote[..quote.len().min(max)]);
        self.reply(to, frame, is_v6, message);
    }

    /// Sends an ICMP message to the sender of a packet, from the address it was for.
    fn reply(&mut self, to: Mac, frame: &Frame, is_v6: bool, mut message: Vec<u8>) {
        let macs = (self.link.mac(), to);
        let header = &frame[ETHERNET_HEADER_LEN..];
        let reply = if is_v6 {
            let at = |from: usize| Ipv6Addr::from_octets(header[from..from + 16].try_into().expect("sixteen bytes"));
            icmp6(Path { macs, source: at(24), destination: at(8) }, HOPS, &[], &mut message)
        } else {
            let at = |from: usize| Ipv4Addr::from_octets(header[from..from + 4].try_into().expect("four bytes"));
            message[2..4].fill(0);
            let sum = Sum::default().add(&message).finish();
            message[2..4].copy_from_slice(&sum);
            ipv4(Path { macs, source: at(16), destination: at(12) }, PROTOCOL_ICMP, HOPS, &[], &message)
        };
        if reply.len() <= ETHERNET_HEADER_LEN + self.link.mtu() {
            self.link.send(reply);
        }
    }
}
