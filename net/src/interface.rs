//! A network port: its device, and the machines that look after its addresses and neighbours.

mod replies;

use crate::{
    address::{self, Addresses, Event, Turn, V4, V6},
    config::{Addressing, Addressing6, Config, PortConfig},
    limits::{PUT_ASIDE_MAX, RECEIVE_WINDOW_MAX, SEND_BUFFER_MAX, UNRESOLVED_MAX, USER_TIMEOUT},
    link::Link,
    neighbor::Via,
    packet::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, Ip, PROTOCOL_ICMPV6, PROTOCOL_IGMP, PROTOCOL_UDP, TCP_HEADER_LEN},
    tcp::Settings,
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::{net::IpAddr, ops::Range};
use unikernel_rt::{
    device::{Frame, NetDevice},
    time::Instant,
};

/// A packet, and where what it carries is; for ARP there is no such place.
type Aside = (Frame, Option<(Ip, Range<usize>)>);

pub(crate) struct Interface {
    pub(crate) link: Link,
    machines: address::Interface,
    /// Whether it asks others for addresses.
    asks: bool,
    /// Received packets that the machines have not seen, and where what they carry is.
    aside: VecDeque<Aside>,
    /// Packets that need a neighbour's Ethernet address.
    unresolved: VecDeque<(IpAddr, Frame)>,
}

impl Interface {
    pub(crate) fn new(
        device: Box<dyn NetDevice>,
        port: &PortConfig,
        config: &Config,
        now: Instant,
        random: &mut dyn FnMut() -> u64,
    ) -> Interface {
        let mut link = Link::new(device);
        let machines = address::PortConfig {
            mac: link.mac(),
            mtu: link.mtu().min(u16::MAX.into()) as u16,
            v4: match port.v4 {
                Addressing::Dhcp => V4::Dhcp,
                Addressing::Static { address, gateway } => V4::Static { address, gateway },
                Addressing::Off => V4::Off,
            },
            v6: match port.v6 {
                Addressing6::Auto => V6::Automatic,
                Addressing6::Static { address, gateway } => V6::Static { address, gateway },
                Addressing6::Off => V6::Off,
            },
            // A server's address should be known before it boots, and the same after.
            ids: address::Ids::Eui64,
            uuid: None,
            hostname: config.hostname.clone(),
            dns: config.dns.clone(),
            search: config.search.clone(),
            // Those of the boot arguments may be names: see `Names`.
            ntp: Vec::new(),
        };
        let mut frames = Vec::new();
        let machines =
            address::Interface::new(machines, &mut Turn { now, random, out: &mut |frame| frames.push(frame) });
        frames.into_iter().for_each(|frame| link.send(frame));
        Interface { link, machines, asks: port.asks(), aside: VecDeque::new(), unresolved: VecDeque::new() }
    }

    /// Lets a machine have a packet in the next [`run`](Self::run). Beyond a bound it is lost, as on any full network.
    pub(crate) fn put_aside(&mut self, frame: &Frame, content: Option<(Ip, Range<usize>)>) {
        if self.aside.len() < PUT_ASIDE_MAX {
            self.aside.push_back((Frame::from_bytes(frame), content));
        }
    }

    /// Sends an IP packet to a neighbour, in the next [`run`](Self::run).
    pub(crate) fn send_via(&mut self, next_hop: IpAddr, frame: Frame) {
        if self.unresolved.len() < UNRESOLVED_MAX {
            self.unresolved.push_back((next_hop, frame));
        } else {
            self.link.dropped += 1;
        }
    }

    pub(crate) fn asks(&self) -> bool {
        self.asks
    }

    /// Whether [`run`](Self::run) has something to do now.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.unresolved.is_empty() || !self.aside.is_empty()
    }

    /// Lets the machines work.
    pub(crate) fn run(&mut self, now: Instant, random: &mut dyn FnMut() -> u64) {
        let mut frames = Vec::new();
        let mut turn = Turn { now, random, out: &mut |frame| frames.push(frame) };
        while let Some((frame, content)) = self.aside.pop_front() {
            hear(&mut self.machines, &frame, content, &mut turn);
        }
        self.machines.poll(&mut turn);
        while let Some((next_hop, frame)) = self.unresolved.pop_front() {
            let (neighbors, own) = self.machines.neighbors();
            if let Via::Ready(frame) = neighbors.send_via(next_hop, frame, own, &mut turn) {
                (turn.out)(frame);
            }
        }
        frames.into_iter().for_each(|frame| self.link.send(frame));
    }

    /// When [`run`](Self::run) wants to be called even if nothing happens.
    pub(crate) fn next_moment(&self) -> Instant {
        self.machines.next_moment()
    }

    /// What changed, oldest first.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        self.machines.take_event()
    }

    #[inline]
    pub(crate) fn addresses(&self) -> &Addresses {
        self.machines.addresses()
    }

    /// Whether packets to this unicast address are for this port.
    #[inline]
    pub(crate) fn is_ours(&self, address: IpAddr) -> bool {
        self.addresses().is_ours(address)
    }

    /// The same, groups and broadcasts included.
    pub(crate) fn accepts(&self, address: IpAddr) -> bool {
        self.addresses().accepts(address)
    }

    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        self.addresses().is_broadcast(address)
    }

    /// All addresses it receives on.
    pub(crate) fn all_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.addresses().v4.iter().map(|own| IpAddr::V4(own.address()));
        v4.chain(self.addresses().usable6().map(|own| IpAddr::V6(own.cidr.address())))
    }

    /// Those that others beyond the link know.
    pub(crate) fn global_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.all_addresses().filter(|address| !matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local()))
    }

    /// The way to `destination`, if this port has one: the address to send from, whom to hand packets to, and how
    /// exact the route is.
    pub(crate) fn route(&self, destination: IpAddr) -> Option<(IpAddr, IpAddr, u8)> {
        let next_hop = self.addresses().next_hop(destination)?;
        let source = self.addresses().source_for(destination)?;
        Some((source, next_hop, self.addresses().exactness(destination)))
    }

    /// The longest IP packet of a family.
    pub(crate) fn mtu(&self, is_v4: bool) -> usize {
        self.machines.mtu(!is_v4).into()
    }

    /// What the connections of this port have in common.
    pub(crate) fn settings(&self, is_v4: bool) -> Settings {
        let headers = TCP_HEADER_LEN + if is_v4 { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN };
        let mss = |mtu: usize| (mtu - headers).min(u16::MAX.into()) as u16;
        Settings {
            mss_in: mss(self.link.mtu()),
            mss_out_max: mss(self.mtu(is_v4)),
            window_max: RECEIVE_WINDOW_MAX,
            send_max: SEND_BUFFER_MAX,
            user_timeout: Some(USER_TIMEOUT),
        }
    }

    /// Receives packets to a group from now on. Every join counts. False when there are too many groups.
    pub(crate) fn join(&mut self, group: IpAddr, now: Instant, random: &mut dyn FnMut() -> u64) -> bool {
        let mut frames = Vec::new();
        let mut turn = Turn { now, random, out: &mut |frame| frames.push(frame) };
        let joined = self.machines.join(group, &mut turn).is_ok();
        frames.into_iter().for_each(|frame| self.link.send(frame));
        joined
    }

    /// Takes back one [`join`](Self::join).
    pub(crate) fn leave(&mut self, group: IpAddr, now: Instant, random: &mut dyn FnMut() -> u64) {
        let mut frames = Vec::new();
        self.machines.leave(group, &mut Turn { now, random, out: &mut |frame| frames.push(frame) });
        frames.into_iter().for_each(|frame| self.link.send(frame));
    }
}

/// Hands a packet to the machine it is for.
fn hear(machines: &mut address::Interface, frame: &Frame, content: Option<(Ip, Range<usize>)>, turn: &mut Turn<'_>) {
    match content {
        None => machines.on_arp(frame, turn),
        Some((ip, data)) => match (ip.protocol, ip.is_v6) {
            (PROTOCOL_UDP, false) => machines.on_dhcp4(&frame[data], turn),
            (PROTOCOL_UDP, true) => machines.on_dhcp6(&frame[data], turn),
            (PROTOCOL_IGMP, false) => machines.on_igmp(frame, turn),
            (PROTOCOL_ICMPV6, true) => machines.on_icmp6(frame, turn),
            _ => {}
        },
    }
}
