//! What is configured for a port now. The stack asks it for every packet; the machines write it.

use super::{
    Ipv6Cidr,
    limits::{SEARCH_MAX, SERVERS_MAX},
};
use crate::config::Ipv4Cidr;
use alloc::{string::String, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of a port, the ways out, and what servers said about the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Addresses {
    pub(crate) v4: Option<Ipv4Cidr>,
    /// All of them, usable or not.
    pub(crate) v6: Vec<Address6>,
    /// Longest prefix first, then in order of preference.
    pub(crate) routes4: Vec<Route>,
    /// The same for IPv6.
    pub(crate) routes6: Vec<Route>,
    /// Groups that packets are taken for: what the user joined, and what belongs to our addresses.
    pub(crate) groups: Vec<IpAddr>,
    pub(crate) dns: Vec<IpAddr>,
    /// Domains to complete short names with, in order.
    pub(crate) search: Vec<String>,
    pub(crate) ntp: Vec<IpAddr>,
    /// What the network says its MTU is, where it says so: for both families, for IPv6 only.
    pub(crate) mtu: Option<u16>,
    /// See `mtu`.
    pub(crate) mtu6: Option<u16>,
    /// The hop limit routers ask for.
    pub(crate) hop_limit: Option<u8>,
}

/// An IPv6 address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address6 {
    pub(crate) cidr: Ipv6Cidr,
    pub(crate) state: State6,
}

/// What an IPv6 address may be used for (RFC 4862, section 2; RFC 4429).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State6 {
    /// Not before it is known that nobody else has it.
    Tentative,
    /// Nobody else seems to have it; it is used where that does no harm if somebody has.
    Optimistic,
    Preferred,
    /// For what began with it.
    Deprecated,
}

/// Where packets to a network go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    prefix: IpAddr,
    len: u8,
    /// The router; none when the network is on the link.
    pub(crate) via: Option<IpAddr>,
}

impl Route {
    /// `None` for a prefix that is too long or a router of the other family.
    pub(crate) fn new(prefix: IpAddr, len: u8, via: Option<IpAddr>) -> Option<Route> {
        let prefix: IpAddr = match prefix {
            IpAddr::V4(_) if len > 32 => return None,
            IpAddr::V4(prefix) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Ipv4Addr::from_bits(prefix.to_bits() & mask).into()
            }
            IpAddr::V6(prefix) => Ipv6Cidr::network(prefix, len)?.address().into(),
        };
        let same = via.is_none_or(|via| via.is_ipv4() == prefix.is_ipv4());
        same.then_some(Route { prefix, len, via })
    }

    /// The way to everything.
    pub(crate) fn default_via(router: IpAddr) -> Route {
        let prefix = match router {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Route { prefix, len: 0, via: Some(router) }
    }

    #[inline]
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        match (self.prefix, address) {
            (IpAddr::V4(prefix), IpAddr::V4(address)) => {
                let differ = prefix.to_bits() ^ address.to_bits();
                differ.checked_shr(32 - u32::from(self.len)).unwrap_or(0) == 0
            }
            (IpAddr::V6(prefix), IpAddr::V6(address)) => {
                let differ = prefix.to_bits() ^ address.to_bits();
                differ.checked_shr(128 - u32::from(self.len)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Addresses {
    /// Whether a packet to this unicast address is for us.
    #[inline]
    pub(crate) fn is_ours(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.is_some_and(|own| own.address() == address),
            IpAddr::V6(address) => self.usable6().any(|own| own.cidr.address() == address),
        }
    }

    /// Whether a packet to this address is for us, groups and broadcasts included.
    pub(crate) fn accepts(&self, address: IpAddr) -> bool {
        self.is_ours(address) || self.is_broadcast(address) || self.groups.contains(&address)
    }

    /// Whether this is everybody's address on the link, in IPv4.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        address.is_broadcast() || self.v4.is_some_and(|own| own.broadcast() == Some(address))
    }

    /// The address that packets to `destination` come from; `None` when there is none of that family.
    #[inline]
    pub(crate) fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        match destination {
            IpAddr::V4(_) => self.v4.map(|own| own.address().into()),
            IpAddr::V6(destination) => self.source6(destination).map(IpAddr::V6),
        }
    }

    fn source6(&self, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        super::select::source(self.usable6(), destination)
    }

    /// Who gets a packet to `destination` next: itself, or a router. `None`: there is no way.
    #[inline]
    pub(crate) fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        // The network of our own address comes first in most tables; this saves the walk.
        if let (IpAddr::V4(v4), Some(own)) = (destination, self.v4)
            && self.routes4.first().is_none_or(|route| route.len <= own.prefix_len())
            && own.contains(v4)
        {
            return Some(destination);
        }
        self.routed(destination)
    }

    /// How many leading bits of `destination` decide the way to it.
    pub(crate) fn exactness(&self, destination: IpAddr) -> u8 {
        let own = self.v4.filter(|own| matches!(destination, IpAddr::V4(ip) if own.contains(ip)));
        let route = self
            .routes4
            .iter()
            .chain(&self.routes6)
            .find(|route| route.covers(destination))
            .map_or(0, |route| route.len);
        route.max(own.map_or(0, |own| own.prefix_len()))
    }

    fn routed(&self, destination: IpAddr) -> Option<IpAddr> {
        if destination.is_multicast() || self.is_broadcast(destination) {
            return Some(destination);
        }
        let routes = if destination.is_ipv4() { &self.routes4 } else { &self.routes6 };
        match routes.iter().find(|route| route.covers(destination)) {
            Some(route) => Some(route.via.unwrap_or(destination)),
            // RFC 3927, 2.6.2: link-local addresses are on the link, which a metadata service counts on where there is no
            // gateway. Where there is one it gets what is for them, as with other systems.
            None => matches!(destination, IpAddr::V4(ip) if ip.is_link_local()).then_some(destination),
        }
    }

    /// Puts the routes in their order; of those with the same prefix, the first added is preferred.
    pub(crate) fn sort_routes(&mut self) {
        for routes in [&mut self.routes4, &mut self.routes6] {
            routes.sort_by_key(|route| core::cmp::Reverse(route.len));
            routes.dedup();
        }
    }

    /// The routers of all routes.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        self.routes4.iter().chain(&self.routes6).filter_map(|route| route.via)
    }

    pub(crate) fn usable6(&self) -> impl Iterator<Item = &Address6> {
        self.v6.iter().filter(|own| own.state != State6::Tentative)
    }

    pub(crate) fn state6(&self, address: Ipv6Addr) -> Option<State6> {
        self.v6.iter().find(|own| own.cidr.address() == address).map(|own| own.state)
    }
}

/// Adds what is new, up to [`SERVERS_MAX`].
pub(crate) fn add_servers(servers: &mut Vec<IpAddr>, more: impl IntoIterator<Item = IpAddr>) {
    for server in more {
        if servers.len() < SERVERS_MAX && !servers.contains(&server) {
            servers.push(server);
        }
    }
}

/// Adds a domain that is new, up to [`SEARCH_MAX`].
pub(crate) fn add_search(search: &mut Vec<String>, name: &String) {
    if search.len() < SEARCH_MAX && !search.contains(name) {
        search.push(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(prefix: &str, len: u8, via: Option<&str>) -> Option<Route> {
        Route::new(prefix.parse().unwrap(), len, via.map(|via| via.parse().unwrap()))
    }

    #[test]
    fn what_a_route_covers() {
        for (prefix, len, inside, outside) in [
            ("10.0.0.9", 24, "10.0.0.1", "10.0.1.1"),
            ("10.0.0.9", 32, "10.0.0.9", "10.0.0.8"),
            ("0.0.0.0", 0, "8.8.8.8", "::1"),
            ("2001:db8::1", 64, "2001:db8::9", "2001:db8:0:1::9"),
            ("::", 0, "2001:db8::9", "10.0.0.1"),
            ("2001:db8::1", 128, "2001:db8::1", "2001:db8::2"),
        ] {
            let route = route(prefix, len, None).unwrap();
            assert!(route.covers(inside.parse().unwrap()), "{prefix}/{len} {inside}");
            assert!(!route.covers(outside.parse().unwrap()), "{prefix}/{len} {outside}");
        }
    }

    #[test]
    fn what_is_no_route() {
        assert_eq!(route("10.0.0.0", 33, None), None);
        assert_eq!(route("2001:db8::", 129, None), None);
        assert_eq!(route("10.0.0.0", 8, Some("fe80::1")), None);
        assert_eq!(route("10.0.0.9", 8, None), route("10.0.0.0", 8, None));
    }

    #[test]
    fn the_longest_prefix_counts() {
        let routes = [("10.0.0.0", 8, "10.1.0.1"), ("10.2.0.0", 16, "10.1.0.2"), ("0.0.0.0", 0, "10.1.0.3")];
        let mut own = Addresses { v4: Ipv4Cidr::new(Ipv4Addr::new(10, 1, 0, 9), 24), ..Addresses::default() };
        own.routes4.extend(routes.iter().filter_map(|(prefix, len, via)| route(prefix, *len, Some(via))));
        own.routes4.extend(route("10.1.0.0", 24, None));
        own.sort_routes();
        for (to, via) in [
            ("10.1.0.77", "10.1.0.77"),
            ("10.2.0.1", "10.1.0.2"),
            ("10.3.0.1", "10.1.0.1"),
            ("8.8.8.8", "10.1.0.3"),
            ("224.0.0.9", "224.0.0.9"),
            ("255.255.255.255", "255.255.255.255"),
        ] {
            assert_eq!(own.next_hop(to.parse().unwrap()), via.parse().ok(), "{to}");
        }
    }

    #[test]
    fn link_local_addresses_are_on_the_link_unless_a_route_says_otherwise() {
        let mut own = Addresses { v4: Ipv4Cidr::new(Ipv4Addr::new(10, 1, 0, 9), 24), ..Addresses::default() };
        let check = |own: &Addresses, to: &str, via: Option<&str>| {
            assert_eq!(own.next_hop(to.parse().unwrap()), via.map(|via| via.parse().unwrap()), "{to}");
        };
        check(&own, "169.254.169.254", Some("169.254.169.254"));
        check(&own, "169.253.169.254", None);
        own.routes4.extend(route("0.0.0.0", 0, Some("10.1.0.1")));
        check(&own, "169.254.169.254", Some("10.1.0.1"));
    }
}
