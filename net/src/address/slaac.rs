//! IPv6 addresses without a server: from routers' advertisements (RFC 4861, 4862, 8106), or by hand.
//!
//! Start with [`Slaac::on_advertisement`]. A router's word counts when it comes from the link; how much of it is
//! kept is bounded, and what is kept is not pushed out by what comes later. New addresses of our own making are used
//! at once, with the care of RFC 4429, while another owner may still object; addresses by hand are tested first.
//!
//! Missing: redirects are ignored (RFC 4861, 8 lets a host do so; forged ones are a known way to steal traffic), so
//! are route information options (RFC 4191, 2.3), temporary addresses (RFC 8981), and advertisements of neighbours
//! that say they are no routers any more: a router that leaves is noticed when it stays silent.

mod advertisement;
mod ids;
mod own;
#[cfg(test)]
mod tests;

use super::{
    Address6, Addresses, Ipv6Cidr, Route, Turn,
    domains::{self, Form},
    limits::*,
    packet::Mac,
    table::add_servers,
    timed::Timed,
};
use crate::neighbor::{
    Neighbors,
    nd::{Discovery, Message},
};
pub(crate) use advertisement::Lifetime;
use advertisement::{Advertisement, Prefix, Said};
use alloc::string::String;
use core::net::Ipv6Addr;
pub(crate) use ids::Ids;
pub(crate) use own::Origin;
use own::Owns;
use unikernel_rt::time::{Duration, Instant};

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// A default router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Router {
    address: Ipv6Addr,
    preference: i8,
    /// It did not answer when it was used; forgiven with its next advertisement.
    absent: bool,
}

/// What routers say about DHCPv6 (RFC 4861, 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Managed {
    /// Addresses come from it.
    pub(crate) addresses: bool,
    /// Other things do.
    pub(crate) other: bool,
}

/// The IPv6 side of a port.
pub(crate) struct Slaac {
    mac: Mac,
    /// The largest packet the device takes.
    mtu_max: u16,
    /// Whether routers are asked and heard.
    automatic: bool,
    owns: Owns,
    routers: Timed<Router>,
    networks: Timed<Ipv6Cidr>,
    dns: Timed<Ipv6Addr>,
    search: Timed<String>,
    mtu: Option<u16>,
    hop_limit: Option<u8>,
    managed: Managed,
    solicit: Solicit,
}

/// Asking for routers, less and less often (RFC 7559).
struct Solicit {
    pause: Duration,
    due: Instant,
}

impl Solicit {
    const NOW: Solicit = Solicit { pause: Duration::ZERO, due: Instant::from_micros(0) };
    const NEVER: Solicit = Solicit { pause: Duration::ZERO, due: Instant::FOREVER };
}

impl Slaac {
    /// Begins with a link-local address; asks for routers when it is `automatic`.
    pub(crate) fn new(mac: Mac, mtu_max: u16, ids: Ids, automatic: bool, turn: &mut Turn<'_>) -> Slaac {
        let mut slaac = Slaac {
            mac,
            mtu_max,
            automatic,
            owns: Owns::new(mac, ids),
            routers: Timed::new(ROUTERS_MAX),
            networks: Timed::new(PREFIXES_MAX),
            dns: Timed::new(SERVERS_MAX),
            search: Timed::new(SEARCH_MAX),
            mtu: None,
            hop_limit: None,
            managed: Managed::default(),
            solicit: if automatic { Solicit::NOW } else { Solicit::NEVER },
        };
        if let Some(cidr) = slaac.owns.make(LINK_LOCAL, 0) {
            slaac.owns.add(cidr, Origin::LinkLocal, (Instant::FOREVER, Instant::FOREVER), turn);
        }
        slaac
    }

    /// Adds an address from elsewhere, or sets the ends of its preferred and its valid life when it is known. Says
    /// whether [`Addresses`] change.
    pub(crate) fn add(
        &mut self,
        cidr: Ipv6Cidr,
        origin: Origin,
        ends: (Instant, Instant),
        turn: &mut Turn<'_>,
    ) -> bool {
        if self.owns.add(cidr, origin, ends, turn) {
            return true;
        }
        self.owns.set_ends(cidr.address(), ends);
        self.owns.poll(turn.now)
    }

    /// Lets go of addresses from a DHCPv6 server that are not in `kept`; says whether there were some.
    pub(crate) fn keep_leased(&mut self, kept: &[Ipv6Addr]) -> bool {
        self.owns.retain(|own| own.origin != Origin::Dhcp || kept.contains(&own.cidr.address()))
    }

    /// What routers say about DHCPv6, all together.
    pub(crate) fn managed(&self) -> Managed {
        self.managed
    }

    pub(crate) fn link_local(&self) -> Option<Address6> {
        self.owns.link_local()
    }

    /// Takes an advertisement. Says whether [`Addresses`] change.
    pub(crate) fn on_advertisement(
        &mut self,
        message: &Message<'_>,
        own: &Addresses,
        neighbors: &mut Neighbors,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(said) = Advertisement::parse(message).filter(|_| self.automatic) else { return false };
        let mut changed = self.learn_router(&said, neighbors, turn.now);
        for said_more in said.said() {
            changed |= match said_more {
                Said::RouterMac(mac) => {
                    if self.routers.iter().any(|router| router.address == said.router) {
                        neighbors.introduce(said.router.into(), mac, own, turn);
                    }
                    false
                }
                Said::Mtu(mtu) => self.learn_mtu(mtu),
                Said::Prefix(prefix) => self.learn_prefix(&prefix, turn),
                Said::Dns(lifetime, servers) => self.learn_dns(lifetime, servers, turn.now),
                Said::Search(lifetime, names) => self.learn_search(lifetime, names, turn.now),
            };
        }
        changed
    }

    fn learn_router(&mut self, said: &Advertisement<'_>, neighbors: &mut Neighbors, now: Instant) -> bool {
        let mut changed = false;
        if said.hop_limit >= HOP_LIMIT_MIN {
            changed |= self.hop_limit.replace(said.hop_limit) != Some(said.hop_limit);
        }
        neighbors.set_times(said.reachable, said.pause);
        // RFC 4861, 6.3.4: the flags may come from any router; once seen, they stay.
        self.managed.addresses |= said.managed;
        self.managed.other |= said.other;
        let router = Router { address: said.router, preference: said.preference, absent: false };
        changed |= self.routers.set(router, now + said.lifetime, now, |known| known.address == said.router);
        // RFC 7559: until there is a default router.
        if !self.routers.is_empty() {
            self.solicit = Solicit::NEVER;
        }
        changed
    }

    fn learn_mtu(&mut self, mtu: u32) -> bool {
        match u16::try_from(mtu).ok().filter(|mtu| (MTU6_MIN..=self.mtu_max).contains(mtu)) {
            Some(mtu) => self.mtu.replace(mtu) != Some(mtu),
            None => false,
        }
    }

    fn learn_prefix(&mut self, prefix: &Prefix, turn: &mut Turn<'_>) -> bool {
        let Some(network) = Ipv6Cidr::network(prefix.address, prefix.len) else { return false };
        let mut changed = false;
        if prefix.on_link && prefix.len > 0 {
            let end = prefix.valid.end(turn.now);
            changed |= self.networks.set(network, end, turn.now, |known| *known == network);
        }
        // An identifier has 64 bits, and so has the network then (RFC 4862, 5.5.3 d).
        if prefix.autonomous && prefix.len == 64 {
            changed |= self.learn_address(network, prefix, turn);
        }
        changed
    }

    fn learn_address(&mut self, network: Ipv6Cidr, prefix: &Prefix, turn: &mut Turn<'_>) -> bool {
        let ends = (prefix.preferred.end(turn.now), prefix.valid.end(turn.now));
        if let Some(own) = self.owns.of_network(network) {
            own.preferred = ends.0;
            own.valid = own::extended(own.valid, ends.1, turn.now);
            return self.owns.poll(turn.now);
        }
        let cidr = self.owns.make(network.address(), 0).filter(|_| prefix.valid > Lifetime(0));
        cidr.is_some_and(|cidr| self.owns.add(cidr, Origin::Prefix, ends, turn))
    }

    fn learn_dns(&mut self, lifetime: Lifetime, servers: &[u8], now: Instant) -> bool {
        let mut changed = false;
        for octets in servers.as_chunks::<16>().0 {
            let server = Ipv6Addr::from_octets(*octets);
            if super::cidr6::is_unicast(server) {
                changed |= self.dns.set(server, lifetime.end(now), now, |known| *known == server);
            }
        }
        changed
    }

    fn learn_search(&mut self, lifetime: Lifetime, names: &[u8], now: Instant) -> bool {
        let mut changed = false;
        for name in domains::list(names, Form::Plain).unwrap_or_default() {
            changed |= self.search.set(name.clone(), lifetime.end(now), now, |known| *known == name);
        }
        changed
    }

    /// Somebody says something about an address that we may be testing: the address, if it is lost, and where it was
    /// from.
    pub(crate) fn on_discovery(&mut self, message: &Message<'_>, turn: &mut Turn<'_>) -> Option<(Ipv6Addr, Origin)> {
        use crate::neighbor::nd::{ADVERTISEMENT, SOLICITATION};
        let discovery = match *message.bytes.first()? {
            // From an address it asks for the owner; from nobody it wants to be the owner (RFC 4862, 5.4.3).
            SOLICITATION if message.source.is_unspecified() => Discovery::solicitation(message)?,
            ADVERTISEMENT => Discovery::advertisement(message)?,
            _ => return None,
        };
        let origin = self.owns.conflict(discovery.target, turn)?;
        Some((discovery.target, origin))
    }

    /// A neighbour did not answer; says whether it was a router in use.
    pub(crate) fn on_absent(&mut self, neighbor: Ipv6Addr) -> bool {
        let router = self.routers.iter_mut().find(|router| router.address == neighbor && !router.absent);
        router.map(|router| router.absent = true).is_some()
    }

    /// Does what is due; says whether [`Addresses`] change.
    pub(crate) fn poll(&mut self, turn: &mut Turn<'_>) -> bool {
        if turn.now < self.next_moment() {
            return false;
        }
        let mut changed = self.owns.poll(turn.now);
        let lost_router = self.routers.expire(turn.now);
        changed |= lost_router;
        changed |= self.networks.expire(turn.now);
        changed |= self.dns.expire(turn.now);
        changed |= self.search.expire(turn.now);
        if lost_router && self.routers.is_empty() {
            self.solicit = Solicit::NOW;
        }
        if self.solicit.due <= turn.now {
            self.ask_for_routers(turn);
        }
        changed
    }

    fn ask_for_routers(&mut self, turn: &mut Turn<'_>) {
        use super::State6::Preferred;
        let source = self.owns.link_local().filter(|own| own.state == Preferred).map(|own| own.cidr.address());
        (turn.out)(advertisement::solicitation(self.mac, source));
        let doubled = if self.solicit.pause.is_zero() { ROUTER_SOLICIT_FIRST } else { self.solicit.pause * 2 };
        self.solicit.pause = doubled.min(ROUTER_SOLICIT_MAX);
        self.solicit.due = turn.now + turn.jitter(self.solicit.pause);
    }

    /// When to call [`poll`](Self::poll) next.
    pub(crate) fn next_moment(&self) -> Instant {
        let lists = self.routers.next_end().min(self.networks.next_end()).min(self.dns.next_end());
        lists.min(self.search.next_end()).min(self.solicit.due).min(self.owns.next_moment())
    }

    /// Writes down what is known.
    pub(crate) fn tell(&self, own: &mut Addresses) {
        own.v6.extend(self.owns.list());
        own.mtu6 = own.mtu6.or(self.mtu);
        own.hop_limit = self.hop_limit;
        own.routes6.extend(Route::new(LINK_LOCAL.into(), 10, None));
        for network in self.networks.iter() {
            own.routes6.extend(Route::new(network.address().into(), network.prefix_len(), None));
        }
        // RFC 4861, 6.3.6: a router that does not answer is the last choice.
        let mut routers: alloc::vec::Vec<&Router> = self.routers.iter().collect();
        routers.sort_by_key(|router| (router.absent, -router.preference));
        own.routes6.extend(routers.iter().map(|router| Route::default_via(router.address.into())));
        add_servers(&mut own.dns, self.dns.iter().map(|server| (*server).into()));
        for name in self.search.iter() {
            super::table::add_search(&mut own.search, name);
        }
    }
}
