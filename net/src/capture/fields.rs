//! What a filter asks of a frame. The frame may be anything: what it does not have is `None`.

use super::Filter;
use core::{fmt, net::IpAddr, str::FromStr};

/// A protocol that frames can be chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Protocol {
    Tcp,
    Udp,
    /// Of either family.
    Icmp,
    Arp,
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Protocol, &'static str> {
        match text {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "icmp" => Ok(Protocol::Icmp),
            "arp" => Ok(Protocol::Arp),
            _ => Err("a protocol is `tcp`, `udp`, `icmp` or `arp`"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
            Protocol::Arp => "arp",
        })
    }
}

const TYPE: usize = 12;
const PAYLOAD: usize = 14;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_ARP: u16 = 0x0806;
const TYPE_IPV6: u16 = 0x86dd;
const IPV6_HEADER_LEN: usize = 40;
/// Of the word with the flags: where in its packet a fragment belongs.
const FRAGMENT_OFFSET_MASK: u16 = 0x1fff;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    protocol: Option<Protocol>,
    hosts: Option<[IpAddr; 2]>,
    /// Later fragments have none.
    ports: Option<[u16; 2]>,
}

impl Fields {
    pub(super) fn of(frame: &[u8]) -> Fields {
        match word(frame, TYPE) {
            Some(TYPE_IPV4) => Fields::of_ipv4(frame),
            Some(TYPE_IPV6) => Fields::of_ipv6(frame),
            Some(TYPE_ARP) => {
                let hosts = ipv4(frame, PAYLOAD + 14).zip(ipv4(frame, PAYLOAD + 24)).map(<[_; 2]>::from);
                Fields { protocol: Some(Protocol::Arp), hosts, ports: None }
            }
            _ => Fields::default(),
        }
    }

    fn of_ipv4(frame: &[u8]) -> Fields {
        let header_len = frame.get(PAYLOAD).map_or(0, |byte| usize::from(byte & 0xf) * 4);
        let protocol = frame.get(PAYLOAD + 9).and_then(|number| transport(*number));
        let hosts = ipv4(frame, PAYLOAD + 12).zip(ipv4(frame, PAYLOAD + 16)).map(<[_; 2]>::from);
        let is_first = word(frame, PAYLOAD + 6).is_some_and(|word| word & FRAGMENT_OFFSET_MASK == 0);
        let ports = if is_first { ports(frame, PAYLOAD + header_len, protocol) } else { None };
        Fields { protocol, hosts, ports }
    }

    /// Extension headers are not walked through: such a packet has addresses only.
    fn of_ipv6(frame: &[u8]) -> Fields {
        let protocol = frame.get(PAYLOAD + 6).and_then(|number| transport(*number));
        let hosts = ipv6(frame, PAYLOAD + 8).zip(ipv6(frame, PAYLOAD + 24)).map(<[_; 2]>::from);
        Fields { protocol, hosts, ports: ports(frame, PAYLOAD + IPV6_HEADER_LEN, protocol) }
    }

    pub(super) fn fits(&self, filter: &Filter) -> bool {
        let has_host = |host| self.hosts.is_some_and(|hosts| hosts.contains(&host));
        let has_port = |port| self.ports.is_some_and(|ports| ports.contains(&port));
        filter.host.is_none_or(has_host)
            && filter.port.is_none_or(has_port)
            && filter.protocol.is_none_or(|protocol| self.protocol == Some(protocol))
            && !filter.except_port.is_some_and(has_port)
    }
}

fn transport(number: u8) -> Option<Protocol> {
    match number {
        1 | 58 => Some(Protocol::Icmp),
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        _ => None,
    }
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn ipv4(frame: &[u8], at: usize) -> Option<IpAddr> {
    frame.get(at..)?.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes))
}

fn ipv6(frame: &[u8], at: usize) -> Option<IpAddr> {
    frame.get(at..)?.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes))
}

fn ports(frame: &[u8], at: usize, protocol: Option<Protocol>) -> Option<[u16; 2]> {
    match protocol {
        Some(Protocol::Tcp | Protocol::Udp) => Some([word(frame, at)?, word(frame, at + 2)?]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String, vec, vec::Vec};

    /// 10.0.0.1:1000 to 10.0.0.2:80, over TCP, with options in the IP header.
    fn ipv4_frame() -> Vec<u8> {
        let mut frame = vec![0; PAYLOAD + 24 + 20];
        frame[TYPE..PAYLOAD].copy_from_slice(&[8, 0]);
        frame[PAYLOAD] = 0x46;
        frame[PAYLOAD + 9] = 6;
        frame[PAYLOAD + 12..PAYLOAD + 20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        frame[PAYLOAD + 24..PAYLOAD + 28].copy_from_slice(&[0x03, 0xe8, 0, 80]);
        frame
    }

    fn ipv6_frame() -> Vec<u8> {
        let mut frame = vec![0; PAYLOAD + 40 + 8];
        frame[TYPE..PAYLOAD].copy_from_slice(&[0x86, 0xdd]);
        frame[PAYLOAD + 6] = 17;
        (frame[PAYLOAD + 23], frame[PAYLOAD + 39]) = (1, 2);
        frame[PAYLOAD + 40..PAYLOAD + 44].copy_from_slice(&[0, 53, 0x03, 0xe8]);
        frame
    }

    fn arp_frame() -> Vec<u8> {
        let mut frame = vec![0; PAYLOAD + 28];
        frame[TYPE..PAYLOAD].copy_from_slice(&[8, 6]);
        frame[PAYLOAD + 14..PAYLOAD + 18].copy_from_slice(&[10, 0, 0, 1]);
        frame[PAYLOAD + 24..PAYLOAD + 28].copy_from_slice(&[10, 0, 0, 2]);
        frame
    }

    /// A filter as text: `host`, `port`, `protocol` and `except_port` with their values.
    fn filter(text: &str) -> Filter {
        let mut filter = Filter::default();
        for word in text.split_whitespace() {
            match word.split_once('=').unwrap() {
                ("host", host) => filter.host = Some(host.parse().unwrap()),
                ("port", port) => filter.port = Some(port.parse().unwrap()),
                ("protocol", protocol) => filter.protocol = Some(protocol.parse().unwrap()),
                (_, port) => filter.except_port = Some(port.parse().unwrap()),
            }
        }
        filter
    }

    #[test]
    fn frames_are_chosen() {
        for (text, expected) in [
            ("", "4 6 arp"),
            ("host=10.0.0.2", "4 arp"),
            ("host=::1", "6"),
            ("host=10.0.0.3", ""),
            ("port=80", "4"),
            ("port=1000", "4 6"),
            ("port=1000 protocol=udp", "6"),
            ("protocol=arp", "arp"),
            ("protocol=icmp", ""),
            ("except_port=80", "6 arp"),
            ("except_port=1000", "arp"),
            ("except_port=81", "4 6 arp"),
            ("port=1000 except_port=53", "4"),
        ] {
            let filter = filter(text);
            let all = [("4", ipv4_frame()), ("6", ipv6_frame()), ("arp", arp_frame())];
            let chosen = all.iter().filter(|(_, frame)| Fields::of(frame).fits(&filter)).map(|(name, _)| *name);
            assert_eq!(chosen.collect::<Vec<_>>().join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut frame = ipv4_frame();
        frame[PAYLOAD + 7] = 1;
        assert!(!Fields::of(&frame).fits(&filter("port=80")));
        assert!(Fields::of(&frame).fits(&filter("host=10.0.0.1")));
    }

    #[test]
    fn frames_may_end_anywhere() {
        for frame in [ipv4_frame(), ipv6_frame(), arp_frame()] {
            let shown: Vec<String> = (0..frame.len()).map(|len| format!("{:?}", Fields::of(&frame[..len]))).collect();
            assert_eq!(shown[0], format!("{:?}", Fields::default()));
        }
    }

    #[test]
    fn protocols_have_names() {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::Arp] {
            assert_eq!(format!("{protocol}").parse(), Ok(protocol));
        }
        assert!("TCP".parse::<Protocol>().is_err());
    }
}
