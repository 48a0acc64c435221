//! DHCPv6 messages (RFC 8415, sections 8 and 21): what servers answer, checked, and what the client says.

use super::{
    super::{
        cidr6::is_unicast,
        domains::{self, Form},
        limits::{DHCP6_OPTIONS_MAX, DUID_LEN_MAX, LEASED6_MAX, SERVERS_MAX},
        slaac::Lifetime,
    },
    Info,
};
use alloc::vec::Vec;
use core::net::Ipv6Addr;

/// The kinds of messages.
pub(super) mod kind {
    pub(in super::super) const SOLICIT: u8 = 1;
    pub(in super::super) const ADVERTISE: u8 = 2;
    pub(in super::super) const REQUEST: u8 = 3;
    pub(in super::super) const RENEW: u8 = 5;
    pub(in super::super) const REBIND: u8 = 6;
    pub(in super::super) const REPLY: u8 = 7;
    pub(in super::super) const DECLINE: u8 = 9;
    pub(in super::super) const INFORMATION_REQUEST: u8 = 11;
}

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_NA: u16 = 3;
const IA_ADDRESS: u16 = 5;
const WANTED: u16 = 6;
const ELAPSED: u16 = 8;
const STATUS: u16 = 13;
const RAPID_COMMIT: u16 = 14;
const DNS: u16 = 23;
const SEARCH: u16 = 24;
const SNTP: u16 = 31;
const REFRESH: u16 = 32;
const NTP: u16 = 56;
const SOL_MAX_RT: u16 = 82;
const INF_MAX_RT: u16 = 83;

/// A server's address in option 56 (RFC 5908, 4.1).
const NTP_ADDRESS: u16 = 1;

/// What a server says about a request as a whole, or about one association (RFC 8415, 21.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    /// Try again.
    Failed,
    NoBinding,
    /// There are no addresses, or ours do not belong here.
    Refused,
}

impl Status {
    fn of(options: Options<'_>) -> Status {
        let code = options.find(STATUS).map(|data| data.first_chunk().map(|code| u16::from_be_bytes(*code)));
        match code {
            None | Some(Some(0)) => Status::Success,
            Some(Some(2 | 4)) => Status::Refused,
            Some(Some(3)) => Status::NoBinding,
            Some(_) => Status::Failed,
        }
    }
}

/// A server's message for us.
pub(super) struct Answer<'a> {
    pub(super) kind: u8,
    pub(super) server: &'a [u8],
    options: Options<'a>,
}

/// The addresses of one association.
pub(super) struct Association {
    pub(super) status: Status,
    /// When to renew and to rebind; zero: the client's choice.
    pub(super) renew: Lifetime,
    pub(super) rebind: Lifetime,
    /// With preferred and valid life.
    pub(super) addresses: Vec<(Ipv6Addr, Lifetime, Lifetime)>,
}

impl<'a> Answer<'a> {
    /// `None`: not an answer to exchange `xid` of `client`, or malformed.
    pub(super) fn parse(bytes: &'a [u8], xid: u32, client: &[u8]) -> Option<Answer<'a>> {
        let (head, options) = bytes.split_first_chunk::<4>()?;
        let options = Options(options);
        let ours = u32::from_be_bytes([0, head[1], head[2], head[3]]) == xid && options.find(CLIENT_ID) == Some(client);
        let server = options.find(SERVER_ID).filter(|server| (3..=DUID_LEN_MAX).contains(&server.len()))?;
        (ours && options.is_whole()).then_some(Answer { kind: head[0], server, options })
    }

    pub(super) fn status(&self) -> Status {
        Status::of(self.options)
    }

    /// The answer is final, without a request (RFC 8415, 21.14).
    pub(super) fn is_rapid(&self) -> bool {
        self.options.find(RAPID_COMMIT).is_some()
    }

    pub(super) fn association(&self, id: [u8; 4]) -> Option<Association> {
        let data = self.options.all(IA_NA).find(|data| data.starts_with(&id))?;
        let (head, options) = data.split_first_chunk::<12>()?;
        let options = Options(options);
        let (renew, rebind) = (lifetime(&head[4..])?, lifetime(&head[8..])?);
        // RFC 8415, 21.4.
        let sane = rebind == Lifetime(0) || renew <= rebind;
        let addresses = options.all(IA_ADDRESS).filter_map(leased).take(LEASED6_MAX).collect();
        let status = Status::of(options);
        (sane && options.is_whole()).then_some(Association { status, renew, rebind, addresses })
    }

    /// What is not about addresses.
    pub(super) fn info(&self) -> Info {
        let search = self.options.find(SEARCH).and_then(|data| domains::list(data, Form::Plain)).unwrap_or_default();
        let ntp = self.options.find(NTP).map(|data| Options(data).all(NTP_ADDRESS).flat_map(hosts).collect::<Vec<_>>());
        let ntp = ntp.unwrap_or_else(|| self.options.find(SNTP).into_iter().flat_map(hosts).collect());
        let dns = self.options.find(DNS).into_iter().flat_map(hosts).take(SERVERS_MAX).collect();
        Info { dns, search, ntp: ntp.into_iter().take(SERVERS_MAX).collect() }
    }

    pub(super) fn refresh(&self) -> Option<Lifetime> {
        self.options.find(REFRESH).and_then(lifetime)
    }

    /// The longest pause between questions, for Solicit or for Information-request.
    pub(super) fn max_rt(&self, stateful: bool) -> Option<u32> {
        let code = if stateful { SOL_MAX_RT } else { INF_MAX_RT };
        Some(lifetime(self.options.find(code)?)?.0)
    }
}

fn lifetime(data: &[u8]) -> Option<Lifetime> {
    data.first_chunk().map(|seconds| Lifetime(u32::from_be_bytes(*seconds)))
}

/// An address that a host can have, whose lifetimes make sense (RFC 8415, 21.6).
fn leased(data: &[u8]) -> Option<(Ipv6Addr, Lifetime, Lifetime)> {
    let (octets, rest) = data.split_first_chunk::<16>()?;
    let address = Ipv6Addr::from_octets(*octets);
    let (preferred, valid) = (lifetime(rest)?, lifetime(rest.get(4..)?)?);
    let sane = is_unicast(address) && !address.is_unicast_link_local() && preferred <= valid;
    sane.then_some((address, preferred, valid))
}

fn hosts(data: &[u8]) -> impl Iterator<Item = Ipv6Addr> {
    data.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from_octets(*octets)).filter(|host| is_unicast(*host))
}

/// Options one after the other; ends at the first broken one.
#[derive(Clone, Copy)]
struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    fn all(self, code: u16) -> impl Iterator<Item = &'a [u8]> {
        self.take(DHCP6_OPTIONS_MAX).filter(move |(found, _)| *found == code).map(|(_, data)| data)
    }

    fn find(self, code: u16) -> Option<&'a [u8]> {
        self.all(code).next()
    }

    fn is_whole(mut self) -> bool {
        while self.next().is_some() {}
        self.0.is_empty()
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let (&[a, b, c, d], rest) = self.0.split_first_chunk::<4>()?;
        let (data, rest) = rest.split_at_checked(u16::from_be_bytes([c, d]).into())?;
        self.0 = rest;
        Some((u16::from_be_bytes([a, b]), data))
    }
}

/// What the client says in one message.
pub(super) struct Question<'a> {
    pub(super) kind: u8,
    pub(super) xid: u32,
    pub(super) client: &'a [u8],
    pub(super) server: Option<&'a [u8]>,
    /// Hundredths of a second since the exchange began.
    pub(super) elapsed: u16,
    /// The association and its addresses, where the message is about them.
    pub(super) association: Option<([u8; 4], &'a [Ipv6Addr])>,
}

impl Question<'_> {
    /// The UDP payload.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.xid.to_be_bytes().to_vec();
        bytes[0] = self.kind;
        option(&mut bytes, CLIENT_ID, self.client);
        if let Some(server) = self.server {
            option(&mut bytes, SERVER_ID, server);
        }
        option(&mut bytes, ELAPSED, &self.elapsed.to_be_bytes());
        if let Some((id, addresses)) = self.association {
            option(&mut bytes, IA_NA, &association(id, addresses));
        }
        if self.kind == kind::SOLICIT {
            option(&mut bytes, RAPID_COMMIT, &[]);
        }
        if self.kind != kind::DECLINE {
            let max_rt = if self.association.is_some() { SOL_MAX_RT } else { INF_MAX_RT };
            let wanted = [DNS, SEARCH, SNTP, REFRESH, NTP, max_rt].map(u16::to_be_bytes);
            option(&mut bytes, WANTED, wanted.as_flattened());
        }
        bytes
    }
}

/// Identifier, no wishes for times, addresses without wishes for lifetimes.
fn association(id: [u8; 4], addresses: &[Ipv6Addr]) -> Vec<u8> {
    let mut data = id.to_vec();
    data.extend([0; 8]);
    for address in addresses {
        option(&mut data, IA_ADDRESS, &[&address.octets()[..], &[0; 8]].concat());
    }
    data
}

/// Ours are all short.
fn option(bytes: &mut Vec<u8>, code: u16, data: &[u8]) {
    bytes.extend(code.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend_from_slice(data);
}
