//! The machine's address from a DHCP server (RFC 2131): smoltcp's client.

use super::{Engine, Link, Port, Sent, due, engine_time, send};
use crate::{
    config::Ipv4Cidr,
    limits::{DHCP_BURST, DHCP_PAUSE},
};
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
    /// Messages it may still send before `pause_ends`: smoltcp begins anew at once after a refusal, and with a
    /// server that always refuses the two would keep the network busy.
    allowance: u32,
    pause_ends: Instant,
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
        Lease { set, handle, allowance: 0, pause_ends: Instant::from_micros(0) }
    }

    /// Takes a frame from the server.
    pub(crate) fn receive(&mut self, engine: &mut Engine, link: &mut Link, frame: &[u8], now: Instant) {
        let mut port = Port::ethernet(link, frame);
        engine.ether.poll_ingress_single(engine_time(now), &mut port, &mut self.set);
    }

    /// Sends what is due and says when to come again.
    pub(crate) fn poll(&mut self, engine: &mut Engine, link: &mut Link, now: Instant) -> Instant {
        if now >= self.pause_ends {
            self.allowance = DHCP_BURST;
            self.pause_ends = now + DHCP_PAUSE;
        }
        while self.allowance > 0 && send(&mut engine.ether, Port::new(link, None), &mut self.set, now) == Sent::One {
            self.allowance -= 1;
        }
        let due = due(&mut engine.ether, &self.set, now);
        if self.allowance == 0 { due.max(self.pause_ends) } else { due }
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
