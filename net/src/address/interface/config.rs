//! What a port is told at the start, and what it tells.

use crate::{
    address::{Ids, Ipv6Cidr, dhcp4::Loss, packet::Mac},
    config::Ipv4Cidr,
};
use alloc::{string::String, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a port is configured.
#[derive(Clone)]
pub(crate) struct PortConfig {
    pub(crate) mac: Mac,
    /// The largest IP packet of the device.
    pub(crate) mtu: u16,
    pub(crate) v4: V4,
    pub(crate) v6: V6,
    pub(crate) ids: Ids,
    /// Told to DHCP servers.
    pub(crate) hostname: Option<String>,
    /// The machine's, by which DHCPv6 servers know it; otherwise they know its Ethernet address.
    pub(crate) uuid: Option<[u8; 16]>,
    /// Given by hand; these come before what servers say.
    pub(crate) dns: Vec<IpAddr>,
    /// See `dns`.
    pub(crate) search: Vec<String>,
    /// See `dns`.
    pub(crate) ntp: Vec<IpAddr>,
}

/// Where IPv4 addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum V4 {
    Off,
    Dhcp,
    Static { address: Ipv4Cidr, gateway: Option<Ipv4Addr> },
}

/// Where IPv6 addresses come from. But for `Off` there is a link-local one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum V6 {
    Off,
    /// Routers, and DHCPv6 servers if routers say so.
    Automatic,
    /// Routers are not heard.
    Static {
        address: Ipv6Cidr,
        gateway: Option<Ipv6Addr>,
    },
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An address can be used.
    Gained(IpAddr),
    /// It cannot any more; what was connected with it is cut off.
    Lost(IpAddr),
    /// Routes, servers, the MTU or the state of an address.
    Changed,
    /// The DHCP lease ended.
    LeaseEnded(Loss),
    /// Another host uses this address.
    Conflict(IpAddr),
    /// A neighbour does not answer.
    Absent(IpAddr),
}
