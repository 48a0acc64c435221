//! Router advertisements (RFC 4861, 4.2; RFC 4191; RFC 8106), and the question for them.

use super::super::limits::ADVERTISEMENT_OPTIONS_MAX;
use super::super::packet::{Mac, Path, group_mac6, icmp6, is_host};
use crate::neighbor::nd::{HOPS, Message, Options};
use core::net::Ipv6Addr;
use unikernel_rt::{
    device::Frame,
    time::{Duration, Instant},
};

const SOLICITATION: u8 = 133;
/// The length of an advertisement before its options.
const HEAD_LEN: usize = 16;
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A valid advertisement.
pub(super) struct Advertisement<'a> {
    pub(super) router: Ipv6Addr,
    pub(super) hop_limit: u8,
    /// Addresses come from DHCPv6.
    pub(super) managed: bool,
    /// Other things do.
    pub(super) other: bool,
    /// Higher is better (RFC 4191, 2.2).
    pub(super) preference: i8,
    pub(super) lifetime: Duration,
    /// Zero: says nothing.
    pub(super) reachable: Duration,
    /// Zero: says nothing.
    pub(super) pause: Duration,
    options: Options<'a>,
}

/// One thing an advertisement says.
pub(super) enum Said<'a> {
    RouterMac(Mac),
    Mtu(u32),
    Prefix(Prefix),
    Dns(Lifetime, &'a [u8]),
    Search(Lifetime, &'a [u8]),
}

/// A network (RFC 4861, 4.6.2).
pub(super) struct Prefix {
    pub(super) address: Ipv6Addr,
    pub(super) len: u8,
    pub(super) on_link: bool,
    pub(super) autonomous: bool,
    pub(super) valid: Lifetime,
    pub(super) preferred: Lifetime,
}

/// Seconds; all ones are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lifetime(pub(crate) u32);

impl Lifetime {
    pub(crate) fn end(self, now: Instant) -> Instant {
        match self.0 {
            u32::MAX => Instant::FOREVER,
            seconds => now + Duration::from_secs(seconds.into()),
        }
    }
}

impl<'a> Advertisement<'a> {
    /// `None`: malformed, or not from the link (RFC 4861, 6.1.2). Hop limit and checksum were checked before.
    pub(super) fn parse(message: &Message<'a>) -> Option<Advertisement<'a>> {
        let (head, options) = message.bytes.split_first_chunk::<HEAD_LEN>()?;
        let options = Options(options);
        if !message.source.is_unicast_link_local() || head[1] != 0 || !options.is_whole() {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Some(Advertisement {
            router: message.source,
            hop_limit: head[4],
            managed: head[5] & 0x80 != 0,
            other: head[5] & 0x40 != 0,
            preference: match head[5] & 0x18 {
                0x08 => 1,
                0x18 => -1,
                _ => 0,
            },
            lifetime: Duration::from_secs(u16::from_be_bytes([head[6], head[7]]).into()),
            reachable: Duration::from_millis(word(8).into()),
            pause: Duration::from_millis(word(12).into()),
            options,
        })
    }

    /// What its options say; unknown ones are skipped.
    pub(super) fn said(&self) -> impl Iterator<Item = Said<'a>> + use<'a> {
        self.options.clone().take(ADVERTISEMENT_OPTIONS_MAX).filter_map(|(kind, data)| match kind {
            1 => data.first_chunk().copied().filter(|mac| is_host(*mac)).map(Said::RouterMac),
            3 => prefix(data).map(Said::Prefix),
            5 => Some(Said::Mtu(u32::from_be_bytes(data.get(2..6)?.try_into().ok()?))),
            25 => timed(data).map(|(lifetime, servers)| Said::Dns(lifetime, servers)),
            31 => timed(data).map(|(lifetime, names)| Said::Search(lifetime, names)),
            _ => None,
        })
    }
}

fn prefix(data: &[u8]) -> Option<Prefix> {
    let data: &[u8; 30] = data.try_into().ok()?;
    let lifetime = |at: usize| Lifetime(u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]));
    let prefix = Prefix {
        address: Ipv6Addr::from_octets(data[14..].try_into().ok()?),
        len: data[0],
        on_link: data[1] & 0x80 != 0,
        autonomous: data[1] & 0x40 != 0,
        valid: lifetime(2),
        preferred: lifetime(6),
    };
    // RFC 4862, 5.5.3: a network of the link itself needs no router, and nothing is preferred when it is not valid.
    let sane = !prefix.address.is_unicast_link_local() && !prefix.address.is_multicast() && prefix.len <= 128;
    (sane && prefix.preferred <= prefix.valid).then_some(prefix)
}

/// Two reserved bytes, a lifetime, a list.
fn timed(data: &[u8]) -> Option<(Lifetime, &[u8])> {
    let (lifetime, list) = data.get(2..)?.split_first_chunk::<4>()?;
    Some((Lifetime(u32::from_be_bytes(*lifetime)), list))
}

/// Asks routers to advertise themselves, from one of our addresses or from nobody.
pub(super) fn solicitation(mac: Mac, source: Option<Ipv6Addr>) -> Frame {
    let mut message = [0; 16];
    message[0] = SOLICITATION;
    message[8..10].copy_from_slice(&[1, 1]);
    message[10..].copy_from_slice(&mac);
    let len = if source.is_some() { 16 } else { 8 };
    let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let path = Path { macs: (mac, group_mac6(ALL_ROUTERS)), source, destination: ALL_ROUTERS };
    icmp6(path, HOPS, &[], &mut message[..len])
}
