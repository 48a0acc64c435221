//! Multicast listener discovery on the wire (RFC 3810, section 5; RFC 2710 for version 1).

use super::super::{
    Turn,
    packet::{Mac, Path, group_mac6, icmp6},
};
use super::{Query, Record};
use crate::neighbor::nd::Message;
use core::net::Ipv6Addr;
use unikernel_rt::time::Duration;

pub(in super::super) const QUERY: u8 = 130;
const REPORT_1: u8 = 131;
const DONE_1: u8 = 132;
const REPORT_2: u8 = 143;

/// Hop-by-hop options: routers shall look at the packet (RFC 2711), padding.
const ROUTER_ALERT: [u8; 8] = [0, 0, 5, 2, 0, 0, 1, 0];

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const REPORTS_2: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// A query of version 1 has this length, others are longer (RFC 3810, 8.1).
const LEN_1: usize = 24;
const LEN_2: usize = 28;

pub(super) fn query(message: &Message<'_>) -> Option<Query> {
    let head: &[u8; LEN_1] = message.bytes.first_chunk()?;
    let len = message.bytes.len();
    let old = len == LEN_1;
    // RFC 3810, 5.1.14: from the link, and never past a router.
    let local = message.source.is_unicast_link_local() && message.hops == 1;
    if head[0] != QUERY || !local || !(old || len >= LEN_2) {
        return None;
    }
    let code = u16::from_be_bytes([head[4], head[5]]);
    let millis = match code {
        // RFC 3810, 5.1.3: a floating-point number.
        0x8000.. if !old => (u32::from(code & 0x0fff) | 0x1000) << ((code >> 12 & 7) + 3),
        _ => code.into(),
    };
    let group = Ipv6Addr::from_octets(*head[8..].first_chunk()?);
    let group = (!group.is_unspecified()).then_some(group.into());
    Some(Query { group, wait: Duration::from_millis(millis.into()), old })
}

/// Sends one report of version 2, or messages of version 1.
pub(super) fn report(
    mac: Mac,
    source: Option<Ipv6Addr>,
    old: bool,
    records: &[(Ipv6Addr, Record)],
    turn: &mut Turn<'_>,
) {
    // RFC 3810, 5.2.13: before there is a link-local address, from nobody.
    let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let path = |destination| Path { macs: (mac, group_mac6(destination)), source, destination };
    if old {
        for (group, record) in records {
            let (kind, to) = if *record == Record::Leaves { (DONE_1, ALL_ROUTERS) } else { (REPORT_1, *group) };
            let mut message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &group.octets()].concat();
            (turn.out)(icmp6(path(to), 1, &ROUTER_ALERT, &mut message));
        }
    } else if !records.is_empty() {
        let mut message = [REPORT_2, 0, 0, 0, 0, 0, 0, records.len() as u8].to_vec();
        for (group, record) in records {
            message.extend([*record as u8, 0, 0, 0]);
            message.extend(group.octets());
        }
        (turn.out)(icmp6(path(REPORTS_2), 1, &ROUTER_ALERT, &mut message));
    }
}
