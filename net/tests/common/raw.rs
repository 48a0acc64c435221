//! Frames by hand, for a peer that is no stack.
#![allow(dead_code)] // Every test file uses its own part of it.

use super::{CLIENT, SERVER};
use std::net::Ipv4Addr;
use unikernel_rt::device::Frame;

pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const BROADCAST_MAC: [u8; 6] = [0xff; 6];

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// RFC 1071, two bytes at a time: nothing is shared with the code under test.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

pub fn ethernet(to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &CLIENT_MAC, &kind.to_be_bytes(), payload].concat()
}

pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut header = vec![0x45, 0, (len >> 8) as u8, len as u8, 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let checksum = !sum(&[&header]);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&header[..], payload].concat()
}

fn pseudo(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, len: usize) -> Vec<u8> {
    [&from.octets()[..], &to.octets(), &[0, protocol], &(len as u16).to_be_bytes()].concat()
}

/// A TCP segment, as the client sends it.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub from: Ipv4Addr,
    pub source: u16,
    pub destination: u16,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
    pub data: Vec<u8>,
}

impl Tcp {
    pub fn syn(source: u16, destination: u16, sequence: u32) -> Tcp {
        let (from, data) = (CLIENT, Vec::new());
        Tcp { from, source, destination, sequence, acknowledgement: 0, flags: SYN, window: 8000, data }
    }

    pub fn frame(&self) -> Frame {
        let mut tcp = Vec::new();
        tcp.extend(self.source.to_be_bytes());
        tcp.extend(self.destination.to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledgement.to_be_bytes());
        tcp.extend([0x50, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(&self.data);
        let checksum = !sum(&[&pseudo(self.from, SERVER, 6, tcp.len()), &tcp]);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        Frame::from_bytes(&ethernet(SERVER_MAC, 0x0800, &ipv4(self.from, SERVER, 6, &tcp)))
    }

    /// Reads what the server sent, and checks its sums.
    pub fn parse(frame: &[u8]) -> Option<Tcp> {
        let ip = &frame[14..];
        if frame[12..14] != [8, 0] || ip[9] != 6 {
            return None;
        }
        assert_eq!(sum(&[&ip[..20]]), 0xffff, "sum of the IP header");
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = &ip[20..total];
        let to = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
        assert_eq!(sum(&[&pseudo(SERVER, to, 6, tcp.len()), tcp]), 0xffff, "sum of TCP");
        let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
        let half = |at: usize| u16::from_be_bytes(tcp[at..at + 2].try_into().unwrap());
        Some(Tcp {
            from: SERVER,
            source: half(0),
            destination: half(2),
            sequence: word(4),
            acknowledgement: word(8),
            flags: tcp[13],
            window: half(14),
            data: tcp[usize::from(tcp[12] >> 4) * 4..].to_vec(),
        })
    }
}

pub fn arp_request(for_whom: Ipv4Addr) -> Frame {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(CLIENT_MAC);
    arp.extend(CLIENT.octets());
    arp.extend([0; 6]);
    arp.extend(for_whom.octets());
    Frame::from_bytes(&ethernet(BROADCAST_MAC, 0x0806, &arp))
}

/// Tells the server where the client is.
pub fn arp_reply() -> Frame {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 2];
    for (mac, address) in [(CLIENT_MAC, CLIENT), (SERVER_MAC, SERVER)] {
        arp.extend(mac);
        arp.extend(address.octets());
    }
    Frame::from_bytes(&ethernet(SERVER_MAC, 0x0806, &arp))
}

pub fn ping(to: Ipv4Addr, data: &[u8]) -> Frame {
    let mut icmp = [&[8, 0, 0, 0, 1, 2, 3, 4], data].concat();
    let checksum = !sum(&[&icmp]);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    Frame::from_bytes(&ethernet(SERVER_MAC, 0x0800, &ipv4(CLIENT, to, 1, &icmp)))
}

pub fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), mac: [u8; 6], data: &[u8]) -> Frame {
    let len = (8 + data.len()) as u16;
    let mut udp = [&from.1.to_be_bytes()[..], &to.1.to_be_bytes(), &len.to_be_bytes(), &[0, 0], data].concat();
    let checksum = !sum(&[&pseudo(from.0, to.0, 17, udp.len()), &udp]);
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());
    Frame::from_bytes(&ethernet(mac, 0x0800, &ipv4(from.0, to.0, 17, &udp)))
}
