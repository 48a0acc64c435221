//! smoltcp, one flow at a time. This file and `engine/` are all that names it.
//!
//! smoltcp looks at every socket of a set for every packet, so each flow is a set of its own ([`Tcb`]).
//! There are two interfaces:
//! - `ip` has no link layer. Flows run on it: an answer goes to the Ethernet address that the flow's packets
//!   come from, which [`Port`] writes in front of it. So an answer never waits for ARP, and no table of
//!   neighbours is searched per packet. It takes packets to any address: `Net` has compared the addresses
//!   already, when it looked for the flow.
//! - `ether` speaks ARP and DHCP, and sends the first SYNs of outgoing connections, whose peer's Ethernet
//!   address is not known yet.

mod lease;
mod port;
mod tcb;

pub(crate) use lease::{Lease, LeaseChange};
pub(crate) use port::Link;
pub(crate) use smoltcp::socket::tcp::State;
pub(crate) use tcb::{NoData, Size, Tcb};

use crate::{
    config::Ipv4Cidr,
    flow::Flow,
    packet::{ETHERNET_HEADER_LEN, Mac},
};
use core::net::Ipv4Addr;
use port::Port;
use smoltcp::{
    iface::{Config, Interface, PollResult, SocketSet},
    time::Instant as EngineInstant,
    wire::{EthernetAddress, HardwareAddress, IpCidr},
};
use unikernel_rt::time::Instant;

pub(crate) struct Engine {
    ip: Interface,
    ether: Interface,
    /// What packets for nobody are shown to.
    nobody: SocketSet<'static>,
}

/// What came of asking a flow to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// One segment.
    One,
    /// It had nothing to send, or may not.
    Nothing,
    /// The port has no room now.
    NoRoom,
    /// The peer's Ethernet address is being asked for.
    Unresolved,
}

/// Which way a flow's packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// To this Ethernet address.
    Known(Mac),
    /// Wherever ARP says.
    Resolve,
}

impl Engine {
    pub(crate) fn new(link: &mut Link, seeds: [u64; 2], now: Instant) -> Engine {
        let interface = |link: &mut Link, address, seed, ethernet| {
            let mut config = Config::new(address);
            config.random_seed = seed;
            Interface::new(config, &mut Port::new(link, ethernet), engine_time(now))
        };
        let mac = HardwareAddress::Ethernet(EthernetAddress(link.mac()));
        let mut ip = interface(link, HardwareAddress::Ip, seeds[0], Some([0; ETHERNET_HEADER_LEN]));
        ip.set_any_ip(true);
        // A socket that first waited for ARP on `ether` asks here whether its neighbour is known; without a
        // link layer everybody with a route is.
        ip.routes_mut().add_default_ipv4_route(Ipv4Addr::UNSPECIFIED).expect("the route table has room for one");
        Engine { ip, ether: interface(link, mac, seeds[1], None), nobody: SocketSet::new([]) }
    }

    /// Sets the machine's address and router.
    pub(crate) fn configure(&mut self, address: Option<Ipv4Cidr>, gateway: Option<Ipv4Addr>) {
        self.ether.update_ip_addrs(|addresses| {
            addresses.clear();
            addresses.extend(address.map(|cidr| IpCidr::new(cidr.address().into(), cidr.prefix_len())));
        });
        let routes = self.ether.routes_mut();
        match gateway {
            Some(gateway) => {
                routes.add_default_ipv4_route(gateway).expect("the route table has room for one");
            }
            None => {
                routes.remove_default_ipv4_route();
            }
        }
    }

    /// Shows a flow a frame that is for it; `end` is where the IP packet in it ends.
    #[inline]
    pub(crate) fn receive(&mut self, link: &mut Link, flow: &mut Flow, frame: &[u8], end: usize, now: Instant) {
        let mut port = Port::answering(link, frame, end).of(&mut flow.sending);
        self.ip.poll_ingress_single(engine_time(now), &mut port, flow.tcb.set());
    }

    /// Answers a frame that no flow knows: a reset to a segment, an echo to a ping.
    pub(crate) fn receive_for_nobody(&mut self, link: &mut Link, frame: &[u8], end: usize, now: Instant) {
        let mut port = Port::answering(link, frame, end);
        self.ip.poll_ingress_single(engine_time(now), &mut port, &mut self.nobody);
    }

    /// Takes a frame of ARP.
    pub(crate) fn receive_arp(&mut self, link: &mut Link, frame: &[u8], now: Instant) {
        let mut port = Port::ethernet(link, frame);
        self.ether.poll_ingress_single(engine_time(now), &mut port, &mut self.nobody);
    }

    /// Lets a flow send one segment.
    #[inline]
    pub(crate) fn send(&mut self, link: &mut Link, flow: &mut Flow, now: Instant) -> Sent {
        let set = flow.tcb.set();
        match flow.path {
            Path::Known(mac) => send(&mut self.ip, Port::to(link, mac).of(&mut flow.sending), set, now),
            Path::Resolve => send(&mut self.ether, Port::new(link, None).of(&mut flow.sending), set, now),
        }
    }

    /// When a flow wants to send or has to be looked at.
    #[inline]
    pub(crate) fn due(&mut self, flow: &mut Flow, now: Instant) -> Instant {
        let interface = match flow.path {
            Path::Known(_) => &mut self.ip,
            Path::Resolve => &mut self.ether,
        };
        due(interface, flow.tcb.set(), now)
    }
}

#[inline]
fn send(interface: &mut Interface, mut port: Port<'_>, set: &mut SocketSet<'static>, now: Instant) -> Sent {
    let result = interface.poll_egress(engine_time(now), &mut port, set);
    match result {
        PollResult::SocketStateChanged => Sent::One,
        PollResult::None if port.refused => Sent::NoRoom,
        // It wanted to send, and did not, or only asked for an address.
        PollResult::None if port.offered => Sent::Unresolved,
        PollResult::None => Sent::Nothing,
    }
}

#[inline]
fn due(interface: &mut Interface, set: &SocketSet<'static>, now: Instant) -> Instant {
    match interface.poll_at(engine_time(now), set) {
        None => Instant::FOREVER,
        Some(at) => Instant::from_micros(at.total_micros() as u64),
    }
}

#[inline]
fn engine_time(now: Instant) -> EngineInstant {
    EngineInstant::from_micros(now.as_micros() as i64)
}

fn engine_duration(duration: unikernel_rt::time::Duration) -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_micros(duration.as_micros().min(u64::MAX as u128) as u64)
}
