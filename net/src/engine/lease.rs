//! The machine's address from a DHCP server (RFC 2131): smoltcp's client.

use super::{Engine, Link, Port, Sent, due, engine_time, send};
use crate::config::Ipv4Cidr;
use alloc::vec;
use core::net::Ipv4Addr;
use smoltcp::{
    iface::{SocketHandle, SocketSet},
    socket::dhcpv4::{Event, Socket},
};
use unikernel_rt::time::Instant;

pub(crate) struct Lease {
    set: SocketSet<'static>,
    handle: SocketHandle,
}

/// What the server gave or took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseChange {
    Given { address: Ipv4Cidr, gateway: Option<Ipv4Addr> },
    Lost,
}

impl Lease {
    pub(crate) fn new() -> Lease {
        let mut set = SocketSet::new(vec::Vec::with_capacity(1));
        let handle = set.add(Socket::new());
        Lease { set, handle }
    }

    /// Takes a frame from the server.
    pub(crate) fn receive(&mut self, engine: &mut Engine, link: &mut Link, frame: &[u8], now: Instant) {
        let mut port = Port::ethernet(link, frame);
        engine.ether.poll_ingress_single(engine_time(now), &mut port, &mut self.set);
    }

    /// Sends what is due and says when to come again.
    pub(crate) fn poll(&mut self, engine: &mut Engine, link: &mut Link, now: Instant) -> Instant {
        while send(&mut engine.ether, Port::new(link, None), &mut self.set, now) == Sent::One {}
        due(&mut engine.ether, &self.set, now)
    }

    /// What changed since the last call.
    pub(crate) fn change(&mut self) -> Option<LeaseChange> {
        match self.set.get_mut::<Socket>(self.handle).poll()? {
            Event::Deconfigured => Some(LeaseChange::Lost),
            Event::Configured(config) => {
                // The server is a stranger: what no host can have as its address is no lease.
                match Ipv4Cidr::new(config.address.address(), config.address.prefix_len()) {
                    Some(address) => {
                        let gateway = config.router.filter(|router| address.contains(*router));
                        Some(LeaseChange::Given { address, gateway })
                    }
                    None => Some(LeaseChange::Lost),
                }
            }
        }
    }
}
