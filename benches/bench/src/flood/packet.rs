//! The flood's packets: IPv4 and TCP headers with right checksums (RFC 791, RFC 9293).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::chance::Random;
use crate::namespace::GUEST;

/// What the packets are, and who they claim to come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Requests for connections, from random public addresses.
    SynFromAnywhere,
    /// Requests for connections from any port of four addresses.
    SynFromFew,
    /// Acknowledgements that belong to no connection, from random public addresses. A server that uses cookies has to
    /// check whether they bring one.
    AckFromAnywhere,
    /// Resets with random sequence numbers from the address and port of a client with a connection. Of 100,000, some
    /// fall into its window; only the exact next number may end it (RFC 5961, 3.2).
    ResetInTheNameOfAClient,
}

/// The addresses of [`Kind::SynFromFew`]: TEST-NET-2 (RFC 5737), which nobody has.
const FEW: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(198, 51, 100, 2),
    Ipv4Addr::new(198, 51, 100, 3),
    Ipv4Addr::new(198, 51, 100, 4),
];

const IP_LEN: usize = 20;
const TCP_LEN: usize = 20;
/// Maximum segment size: the one option that every SYN has.
const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const TCP: u8 = 6;

/// A source of packets.
pub struct Packets {
    kind: Kind,
    port: u16,
    /// The client that resets are sent in the name of.
    victim: SocketAddrV4,
    random: Random,
}

impl Packets {
    /// Packets to this server.
    pub fn new(kind: Kind, server: SocketAddr, victim: SocketAddrV4) -> Packets {
        Packets { kind, port: server.port(), victim, random: Random::new(u64::from(victim.port())) }
    }

    /// The next packet, from the IP header on.
    pub fn next(&mut self) -> Vec<u8> {
        let ports = 1024..=u16::MAX;
        let any_port = ports.start() + self.random.below(ports.len()) as u16;
        let (source, port, flags) = match self.kind {
            Kind::SynFromAnywhere => (self.anywhere(), any_port, SYN),
            Kind::SynFromFew => (FEW[self.random.below(FEW.len())], any_port, SYN),
            Kind::AckFromAnywhere => (self.anywhere(), any_port, ACK),
            Kind::ResetInTheNameOfAClient => (*self.victim.ip(), self.victim.port(), RST),
        };
        self.build(source, port, flags)
    }

    /// A public address: no server may leave one without an answer because of where it is.
    fn anywhere(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from(self.word());
            let first = address.octets()[0];
            let special = address.is_private() || address.is_loopback() || address.is_link_local();
            if (1..=223).contains(&first) && !special {
                return address;
            }
        }
    }

    fn word(&mut self) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.random.bytes(4));
        u32::from_ne_bytes(word)
    }

    fn build(&mut self, source: Ipv4Addr, port: u16, flags: u8) -> Vec<u8> {
        let options: &[u8] = if flags == SYN { &MSS } else { &[] };
        let tcp_len = TCP_LEN + options.len();
        let mut packet = Vec::with_capacity(IP_LEN + tcp_len);
        // Version and header length, service, total length, identification, don't fragment, time to live, protocol.
        packet.extend([0x45, 0, 0, (IP_LEN + tcp_len) as u8, 0, 0, 0x40, 0, 64, TCP, 0, 0]);
        packet.extend(source.octets());
        packet.extend(GUEST.octets());
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum);
        packet.extend(port.to_be_bytes());
        packet.extend(self.port.to_be_bytes());
        packet.extend(self.word().to_be_bytes());
        let acknowledged = if flags == ACK { self.word() } else { 0 };
        packet.extend(acknowledged.to_be_bytes());
        // Header length in words, flags, window, checksum, urgent pointer.
        packet.extend([(tcp_len as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(options);
        let sum = tcp_checksum(&packet);
        packet[IP_LEN + 16..IP_LEN + 18].copy_from_slice(&sum);
        packet
    }
}

/// Over the addresses, the protocol, the length and the segment (RFC 9293, 3.1).
fn tcp_checksum(packet: &[u8]) -> [u8; 2] {
    let mut summed = packet[12..IP_LEN].to_vec();
    summed.extend([0, TCP, 0, (packet.len() - IP_LEN) as u8]);
    summed.extend(&packet[IP_LEN..]);
    checksum(&summed)
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let (words, _) = bytes.as_chunks::<2>();
    let mut sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, len: usize, flags: u8) {
        let server = SocketAddr::from((GUEST, 80));
        let mut packets = Packets::new(kind, server, SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 5_000));
        let (one, other) = (packets.next(), packets.next());
        assert_ne!(one, other);
        for packet in [one, other] {
            assert_eq!((packet.len(), packet[33]), (len, flags));
            // A right checksum makes the sum over all zero.
            assert_eq!(checksum(&packet[..IP_LEN]), [0, 0]);
            assert_eq!(tcp_checksum(&packet), [0, 0]);
            assert_eq!(packet[22..24], 80u16.to_be_bytes());
        }
    }

    #[test]
    fn a_request_from_anywhere() {
        check(Kind::SynFromAnywhere, 44, SYN);
    }

    #[test]
    fn a_request_from_few() {
        check(Kind::SynFromFew, 44, SYN);
    }

    #[test]
    fn an_acknowledgement() {
        check(Kind::AckFromAnywhere, 40, ACK);
    }

    #[test]
    fn a_reset() {
        check(Kind::ResetInTheNameOfAClient, 40, RST);
    }

    /// A header as it was captured: UDP from 192.168.0.1 to 192.168.0.199.
    #[test]
    fn a_known_checksum() {
        let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(checksum(&header), [0xb8, 0x61]);
    }
}
