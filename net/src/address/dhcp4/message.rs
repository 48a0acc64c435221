//! DHCP messages (RFC 2131, 2132): what servers answer, checked, and what the client says.

use super::{
    super::{
        Route,
        domains::{self, Form},
        limits::{LEASE_MIN, MTU4_MIN, ROUTES_MAX, SERVERS_MAX},
        packet::Mac,
    },
    Lease4,
};
use crate::config::Ipv4Cidr;
use alloc::{vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};
pub(super) use smoltcp::wire::DhcpMessageType as Kind;
use smoltcp::wire::{DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};
use unikernel_rt::time::Duration;

const MAGIC: u32 = 0x6382_5363;
/// Where the old fields end that option 52 puts options into, and the options begin.
const SERVER_NAME: core::ops::Range<usize> = 44..108;
const FILE: core::ops::Range<usize> = 108..236;
const OPTIONS_START: usize = 240;

const MASK: u8 = 1;
const ROUTERS: u8 = 3;
const DNS: u8 = 6;
const HOSTNAME: u8 = 12;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const NTP: u8 = 42;
const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const RENEW_TIME: u8 = 58;
const REBIND_TIME: u8 = 59;
const SEARCH: u8 = 119;
const ROUTES: u8 = 121;

/// What we ask for. RFC 3442: the classless routes come before the routers.
const WANTED: &[u8] = &[MASK, ROUTES, ROUTERS, DNS, DOMAIN, MTU, NTP, LEASE_TIME, RENEW_TIME, REBIND_TIME, SEARCH];

/// The longest message we take: what fits an ordinary network.
const LEN_MAX: u16 = 1500;

/// BOOTP relays of old drop shorter messages (RFC 1542, 2.1).
const LEN_MIN: usize = 300;

/// Seconds that mean "for ever" (RFC 2131, 3.3).
const FOREVER: u32 = u32::MAX;

/// A server's message for us.
pub(super) struct Answer<'a> {
    pub(super) kind: Kind,
    pub(super) server: Ipv4Addr,
    address: Ipv4Addr,
    options: Options<'a>,
}

impl<'a> Answer<'a> {
    /// `None`: not for us, not from a server, or malformed.
    pub(super) fn parse(bytes: &'a [u8], mac: Mac, xid: u32) -> Option<Answer<'a>> {
        let packet = DhcpPacket::new_checked(bytes).ok()?;
        let ethernet = bytes[1] == 1 && packet.hardware_len() == 6;
        let ours = packet.transaction_id() == xid && packet.client_hardware_address().0 == mac;
        if bytes[0] != 2 || !ethernet || !ours || packet.magic_number() != MAGIC {
            return None;
        }
        let options = Options::new(bytes)?;
        let kind = Kind::from(options.fixed::<1>(KIND)?[0]);
        let server = Ipv4Addr::from_octets(options.fixed(SERVER)?);
        let host = !(server.is_unspecified() || server.is_multicast() || server.is_broadcast());
        host.then(|| Answer { kind, server, address: packet.your_ip(), options })
    }

    /// The lease it offers or gives; `None` when no host can live on it.
    pub(super) fn lease(&self) -> Option<Lease4> {
        let options = &self.options;
        let address = Ipv4Cidr::new(self.address, self.prefix_len()?)?;
        let seconds = u32::from_be_bytes(options.fixed(LEASE_TIME)?);
        let duration = (seconds != FOREVER).then(|| Duration::from_secs(seconds.into()));
        if duration.is_some_and(|duration| duration < LEASE_MIN) {
            return None;
        }
        let search = domains::list(&options.all(SEARCH), Form::Compressed).unwrap_or_default();
        let mut lease = Lease4 {
            address,
            server: self.server,
            routes: Vec::new(),
            dns: options.hosts(DNS),
            ntp: options.hosts(NTP),
            search,
            mtu: options.fixed(MTU).map(u16::from_be_bytes).filter(|mtu| *mtu >= MTU4_MIN),
            duration,
            renew: options.seconds(RENEW_TIME),
            rebind: options.seconds(REBIND_TIME),
        };
        lease.add_domain(domains::text(&options.all(DOMAIN)));
        lease.routes = self.routes(address);
        Some(lease)
    }

    /// From the mask, or the address's class where there is none. `None`: the mask has holes.
    fn prefix_len(&self) -> Option<u8> {
        let Some(mask) = self.options.fixed(MASK) else {
            return Some(match self.address.octets()[0] {
                0..128 => 8,
                128..192 => 16,
                _ => 24,
            });
        };
        let mask = u32::from_be_bytes(mask);
        let len = mask.leading_ones();
        (len + mask.trailing_zeros() == 32).then_some(len as u8)
    }

    /// RFC 3442: classless routes replace the routers of option 3.
    fn routes(&self, address: Ipv4Cidr) -> Vec<Route> {
        let mut routes = Vec::new();
        if address.prefix_len() < 32 {
            routes.extend(Route::new(address.address().into(), address.prefix_len(), None));
        }
        let classless = Some(self.options.all(ROUTES)).filter(|data| !data.is_empty());
        let more = match classless.and_then(|data| classless_routes(&data)) {
            Some(more) => more,
            None => self
                .options
                .hosts(ROUTERS)
                .first()
                .map(|router| Route::default_via((*router).into()))
                .into_iter()
                .collect(),
        };
        // Routes on the link first: routers may be reached by them.
        let (direct, indirect): (Vec<_>, Vec<_>) = more.into_iter().partition(|route| route.via.is_none());
        routes.extend(direct);
        for route in indirect {
            add_reachable(&mut routes, route, address);
        }
        routes.truncate(ROUTES_MAX);
        routes
    }
}

/// Adds a route whose router is on the link. Clouds hand out single addresses with a router outside of them: that is
/// on the link, too.
fn add_reachable(routes: &mut Vec<Route>, route: Route, address: Ipv4Cidr) {
    let Some(IpAddr::V4(router)) = route.via else { return };
    let direct = routes.iter().any(|known| known.via.is_none() && known.covers(router.into()));
    if router == address.address() || !(direct || address.prefix_len() == 32) {
        return;
    }
    if !direct {
        routes.extend(Route::new(router.into(), 32, None));
    }
    routes.push(route);
}

/// RFC 3442: prefix length, as many bytes of the prefix as it fills, router. `None`: malformed.
fn classless_routes(mut data: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [len, rest @ ..] = data {
        let significant = usize::from(*len).div_ceil(8);
        let (prefix, rest) = rest.split_at_checked(significant).filter(|_| *len <= 32)?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets[..significant].copy_from_slice(prefix);
        let router = Ipv4Addr::from_octets(*router);
        let via = (!router.is_unspecified()).then_some(IpAddr::V4(router));
        if routes.len() < ROUTES_MAX {
            routes.extend(Route::new(Ipv4Addr::from_octets(octets).into(), *len, via));
        }
        data = rest;
    }
    Some(routes)
}

/// The places where options are: their own field, and those of option 52. All are well-formed.
struct Options<'a>([&'a [u8]; 3]);

impl<'a> Options<'a> {
    fn new(bytes: &'a [u8]) -> Option<Options<'a>> {
        let own = Options([&bytes[OPTIONS_START..], &[], &[]]);
        let overload = own.fixed::<1>(OVERLOAD).map_or(0, |[overload]| overload);
        let part = |bit: u8, range| if overload & bit != 0 { &bytes[range] } else { &bytes[..0] };
        // In this order (RFC 3396, section 5).
        let all = Options([own.0[0], part(1, FILE), part(2, SERVER_NAME)]);
        all.0.iter().all(|area| Walk(area).is_whole()).then_some(all)
    }

    /// The data of an option, put together from all its parts (RFC 3396); empty when it is not there. Its length is
    /// bounded by the message's.
    fn all(&self, code: u8) -> Vec<u8> {
        let parts = self.0.iter().flat_map(|area| Walk(area)).filter(|(found, _)| *found == code);
        parts.flat_map(|(_, data)| data).copied().collect()
    }

    fn fixed<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.all(code).try_into().ok()
    }

    fn seconds(&self, code: u8) -> Option<Duration> {
        self.fixed(code).map(|bytes| Duration::from_secs(u32::from_be_bytes(bytes).into()))
    }

    /// A list of hosts' addresses; others in it are left out.
    fn hosts(&self, code: u8) -> Vec<Ipv4Addr> {
        let data = self.all(code);
        let hosts = data.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from_octets(*octets));
        let usable = |host: &Ipv4Addr| !host.is_unspecified() && !host.is_multicast() && !host.is_broadcast();
        hosts.filter(usable).take(SERVERS_MAX).collect()
    }
}

/// The options of one place.
#[derive(Clone)]
struct Walk<'a>(&'a [u8]);

impl Walk<'_> {
    fn is_whole(&self) -> bool {
        let mut rest = self.clone();
        while rest.next().is_some() {}
        rest.0.is_empty()
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        while let [0, rest @ ..] = self.0 {
            self.0 = rest;
        }
        if let [255, ..] = self.0 {
            self.0 = &[];
        }
        let [code, len, rest @ ..] = self.0 else { return None };
        let (data, rest) = rest.split_at_checked((*len).into())?;
        self.0 = rest;
        Some((*code, data))
    }
}

/// What the client says in one message.
pub(super) struct Question<'a> {
    pub(super) kind: Kind,
    pub(super) mac: Mac,
    pub(super) xid: u32,
    pub(super) secs: u16,
    /// Our address, while we have one.
    pub(super) client: Ipv4Addr,
    pub(super) requested: Option<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    pub(super) hostname: Option<&'a str>,
}

impl Question<'_> {
    /// The UDP payload.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let hostname = self.hostname.map(|name| DhcpOption { kind: HOSTNAME, data: name.as_bytes() });
        let wants = self.kind != Kind::Decline;
        let repr = DhcpRepr {
            message_type: self.kind,
            transaction_id: self.xid,
            secs: self.secs,
            client_hardware_address: EthernetAddress(self.mac),
            client_ip: self.client,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            // Without an address we would miss an answer to it where a switch or a host looks at IP.
            broadcast: self.client.is_unspecified(),
            requested_ip: self.requested,
            client_identifier: Some(EthernetAddress(self.mac)),
            server_identifier: self.server,
            parameter_request_list: wants.then_some(WANTED),
            dns_servers: None,
            max_size: wants.then_some(LEN_MAX),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: hostname.as_slice(),
        };
        let mut bytes = vec![0; repr.buffer_len().max(LEN_MIN)];
        repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).expect("the buffer is as long as asked for");
        bytes
    }
}
