//! What keeps IP going: ARP, ICMP, neighbour discovery, address configuration, groups.

use super::{Net, ingress::source};
use crate::{
    address::Event,
    error::Error,
    flow::{Path, Stage},
    flow_map::{Address, FlowKey, Slot},
    interface::Interface,
    net::News,
    packet::{
        Datagram, ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, IPV6_HEADER_LEN, Ip, PROTOCOL_ICMP, PROTOCOL_ICMPV6,
        PROTOCOL_TCP, Reason, TCP_HEADER_LEN, be16, be32,
    },
    tcp::State,
};
use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use unikernel_rt::{device::Frame, time::Instant};

/// What every host must be able to send (RFC 791; RFC 8200, 5): less is not believed.
const MTU_MIN4: usize = 576;
const MTU_MIN6: usize = 1280;

/// What servers and boot arguments say about names and time.
#[derive(Default)]
pub(crate) struct Services {
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) ntp: Vec<IpAddr>,
}

impl Net {
    pub(super) fn arp(&mut self, index: usize, frame: &Frame, now: Instant) {
        self.interfaces[index].put_aside(frame, None);
        self.control_at = now;
    }

    pub(super) fn dhcp(&mut self, index: usize, frame: &Frame, datagram: &Datagram, now: Instant) {
        self.interfaces[index].put_aside(frame, Some((datagram.ip, datagram.data..datagram.end)));
        self.control_at = now;
    }

    /// ICMP, ICMPv6 or IGMP, with the right sum.
    pub(super) fn control(&mut self, index: usize, frame: &Frame, ip: Ip, now: Instant) {
        let message = &frame[ip.payload..ip.end];
        let (Some(&kind), Some(&code)) = (message.first(), message.get(1)) else {
            return self.count_drop(Reason::Malformed);
        };
        match (ip.protocol, kind) {
            (PROTOCOL_ICMP, 8) | (PROTOCOL_ICMPV6, 128) => self.echo(index, frame, ip, now),
            (PROTOCOL_ICMP, 3) | (PROTOCOL_ICMPV6, 1 | 2) => self.trouble(message, kind, code, now),
            (PROTOCOL_ICMP, _) => {}
            _ => {
                self.interfaces[index].put_aside(frame, Some((ip, ip.payload..ip.end)));
                self.control_at = now;
            }
        }
    }

    /// A ping (RFC 792; RFC 4443, 4.1). Those to everybody are not answered: one question must not make many answers.
    fn echo(&mut self, index: usize, frame: &Frame, ip: Ip, now: Instant) {
        let interface = &mut self.interfaces[index];
        let to = destination(frame, ip);
        if !ip.to_us || !interface.is_ours(to.into()) {
            return self.count_drop(Reason::Foreign);
        }
        if ip.end - ip.payload >= 8 && self.complaints.allow(now) {
            interface.echo(source(frame), frame, ip);
        }
    }

    /// A router or host could not deliver a packet of ours. It is quoted; anybody can quote, so only what names numbers
    /// in flight is believed (RFC 5927, 4.1).
    fn trouble(&mut self, message: &[u8], kind: u8, code: u8, now: Instant) {
        let is_v6 = message.len() > 8 && message[8] >> 4 == 6;
        let Some((key, sequence)) = quoted(&message[8.min(message.len())..]) else { return };
        let Some(Slot::Flow(id)) = self.map.get(&key) else { return };
        let flow = &mut self.flows[id as usize];
        let in_flight = flow.tcb.unacknowledged_len() as u32 + 1;
        if flow.tcb.snd_nxt().wrapping_sub(sequence) > in_flight {
            return;
        }
        let mtu = match (is_v6, kind, code) {
            (false, 3, 4) => Some(usize::from(be16(message, 6)).max(MTU_MIN4) - IPV4_HEADER_LEN),
            (true, 2, _) => Some((be32(message, 4) as usize).max(MTU_MIN6) - IPV6_HEADER_LEN),
            _ => None,
        };
        if let Some(packet_len) = mtu {
            let mss = (packet_len - TCP_HEADER_LEN).min(usize::from(u16::MAX)) as u16;
            flow.tcb.on_mtu(mss, now);
            return self.mark_dirty(id);
        }
        // An open connection outlives such news (RFC 1122, 4.2.3.9); one that does not exist yet need not wait
        // (RFC 5461, 4.1).
        if flow.tcb.state() == State::SynSent {
            flow.end = Some(Error::Unreachable);
            self.reset(id);
        }
    }

    /// Looks after addresses and neighbours.
    #[cold]
    pub(super) fn run_control(&mut self, now: Instant, random: &mut dyn FnMut() -> u64) {
        self.control_at = Instant::FOREVER;
        for index in 0..self.interfaces.len() {
            self.interfaces[index].run(now, random);
            while let Some(event) = self.interfaces[index].take_event() {
                self.happened(index, event);
            }
            self.control_at = self.control_at.min(self.interfaces[index].next_moment());
        }
        if now >= self.patience {
            self.patience = Instant::FOREVER;
            if !self.is_configured() {
                self.news.push_back(News::NoAddress);
            }
        }
    }

    /// What all ports were told, the first port first.
    pub(crate) fn services(&self) -> Services {
        let mut services = Services::default();
        for addresses in self.interfaces.iter().map(Interface::addresses) {
            services.dns.extend(&addresses.dns);
            services.search.extend(addresses.search.iter().cloned());
            services.ntp.extend(&addresses.ntp);
        }
        services
    }

    /// Whether addresses may still come by themselves.
    pub(crate) fn asks_for_addresses(&self) -> bool {
        self.interfaces.iter().any(Interface::asks)
    }

    fn happened(&mut self, index: usize, event: Event) {
        match event {
            Event::Gained(address) => self.news.push_back(News::Address(address)),
            Event::Lost(address) => {
                self.drop_address(index, address.into());
                self.news.push_back(News::AddressLost(address));
            }
            Event::Conflict(address) => self.news.push_back(News::Conflict(address)),
            Event::Changed => self.news.push_back(News::Services),
            Event::LeaseEnded(_) => {}
            Event::Absent(neighbor) => self.nobody_there(index, neighbor),
        }
    }

    /// Connections end with the address they were made with.
    fn drop_address(&mut self, index: usize, address: Address) {
        let is_lost = |key: &FlowKey| key.local == address;
        let gone: Vec<u32> = self
            .flows
            .iter()
            .filter(|(_, flow)| usize::from(flow.interface) == index && is_lost(&flow.key))
            .map(|(id, _)| id as u32)
            .collect();
        for id in gone {
            let flow = &mut self.flows[id as usize];
            flow.end.get_or_insert(Error::AddressLost);
            let _ = flow.tcb.abort();
            self.gone(id);
        }
    }

    /// A neighbour does not answer: connections that wait for it need not wait longer.
    fn nobody_there(&mut self, index: usize, neighbor: IpAddr) {
        let waiting: Vec<u32> = self
            .flows
            .iter()
            .filter(|(_, flow)| flow.stage == Stage::Connecting && usize::from(flow.interface) == index)
            .filter(|(_, flow)| flow.path == Path::Resolve(neighbor) && flow.tcb.state() == State::SynSent)
            .map(|(id, _)| id as u32)
            .collect();
        for id in waiting {
            self.flows[id as usize].end = Some(Error::Unreachable);
            self.reset(id);
        }
    }
}

/// To whom a packet is.
fn destination(frame: &[u8], ip: Ip) -> Address {
    let header = &frame[ETHERNET_HEADER_LEN..];
    match ip.is_v6 {
        false => Address::v4(be32(header, 16)),
        true => Address::from_octets(header[24..40].try_into().expect("sixteen bytes")),
    }
}

/// Which connection the TCP packet quoted in `ip` belongs to, and its sequence number.
fn quoted(ip: &[u8]) -> Option<(FlowKey, u32)> {
    let (header_len, local, peer) = match ip.first()? >> 4 {
        4 if ip.len() >= IPV4_HEADER_LEN && ip[9] == PROTOCOL_TCP => {
            (usize::from(ip[0] & 0x0f) * 4, Address::v4(be32(ip, 12)), Address::v4(be32(ip, 16)))
        }
        6 if ip.len() >= IPV6_HEADER_LEN && ip[6] == PROTOCOL_TCP => {
            let at = |from: usize| Address::from_octets(ip[from..from + 16].try_into().expect("sixteen bytes"));
            (IPV6_HEADER_LEN, at(8), at(24))
        }
        _ => return None,
    };
    let tcp = ip.get(header_len..header_len + 8)?;
    let ports = be32(tcp, 0);
    Some((FlowKey::v6(local, peer, ports), be32(tcp, 4)))
}
