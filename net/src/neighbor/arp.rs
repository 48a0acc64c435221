//! The address resolution protocol (RFC 826).

use super::Neighbors;
use crate::address::{
    Addresses, Turn,
    packet::{BROADCAST, ETHERNET_LEN, Mac, TYPE_ARP, ethernet, is_host},
};
use core::net::{IpAddr, Ipv4Addr};
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};
use unikernel_rt::device::Frame;

pub(crate) use smoltcp::wire::ArpOperation as Operation;

/// Ethernet over IPv4: 28 bytes.
const ARP_LEN: usize = 28;

/// An ARP packet for Ethernet and IPv4 from a host that is not us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) operation: Operation,
    pub(crate) sender: (Mac, Ipv4Addr),
    pub(crate) target: (Mac, Ipv4Addr),
}

impl Arp {
    /// Reads a whole Ethernet frame. `None`: not ARP, malformed, from nobody, or our own come back.
    pub(crate) fn parse(frame: &[u8], own: Mac) -> Option<Arp> {
        let packet = ArpPacket::new_checked(frame.get(ETHERNET_LEN..)?).ok()?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_hardware_addr,
            target_protocol_addr,
        } = ArpRepr::parse(&packet).ok()?
        else {
            return None;
        };
        let sender = (source_hardware_addr.0, source_protocol_addr);
        let target = (target_hardware_addr.0, target_protocol_addr);
        let sane = is_host(sender.0) && sender.0 != own && !sender.1.is_multicast() && !sender.1.is_broadcast();
        (sane && frame[12..ETHERNET_LEN] == TYPE_ARP).then_some(Arp { operation, sender, target })
    }

    fn frame(&self, to: Mac) -> Frame {
        let mut frame = ethernet((self.sender.0, to), TYPE_ARP, ARP_LEN);
        let repr = ArpRepr::EthernetIpv4 {
            operation: self.operation,
            source_hardware_addr: EthernetAddress(self.sender.0),
            source_protocol_addr: self.sender.1,
            target_hardware_addr: EthernetAddress(self.target.0),
            target_protocol_addr: self.target.1,
        };
        repr.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET_LEN..]));
        frame
    }
}

/// Asks everybody whether somebody has `ip`, without claiming it (RFC 5227, 1.1).
pub(crate) fn probe(mac: Mac, ip: Ipv4Addr) -> Frame {
    request(mac, Ipv4Addr::UNSPECIFIED, ip, None)
}

/// Tells everybody that `ip` is ours (RFC 5227, 1.1).
pub(crate) fn announcement(mac: Mac, ip: Ipv4Addr) -> Frame {
    request(mac, ip, ip, None)
}

/// Asks everybody, or one Ethernet address, who has `ip`.
pub(super) fn request(mac: Mac, source: Ipv4Addr, ip: Ipv4Addr, to: Option<Mac>) -> Frame {
    let target = (to.unwrap_or([0; 6]), ip);
    Arp { operation: ArpOperation::Request, sender: (mac, source), target }.frame(to.unwrap_or(BROADCAST))
}

impl Neighbors {
    /// Answers a question for our address, and learns from an answer to one of ours.
    pub(crate) fn on_arp(&mut self, arp: &Arp, own: &Addresses, turn: &mut Turn<'_>) {
        let (mac, ip) = (arp.sender.0, IpAddr::V4(arp.sender.1));
        let for_us = own.is_ours(arp.target.1.into());
        match arp.operation {
            Operation::Request if for_us => {
                let answer = Arp { operation: Operation::Reply, sender: (self.mac, arp.target.1), target: arp.sender };
                (turn.out)(answer.frame(mac));
                self.heard(ip, mac, own, turn);
            }
            Operation::Reply if for_us && arp.target.0 == self.mac => self.answered(ip, mac, own, turn),
            _ => self.heard(ip, mac, own, turn),
        }
    }
}
