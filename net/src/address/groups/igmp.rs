//! IGMP on the wire (RFC 3376, section 4; RFC 2236 for version 2).

use super::super::{
    Turn,
    packet::{ETHERNET_LEN, IPV4_LEN, Mac, Path, TYPE_IPV4, group_mac4, ipv4},
};
use super::{Query, Record};
use crate::checksum::Sum;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use unikernel_rt::{device::Frame, time::Duration};

const PROTOCOL: u8 = 2;
const QUERY: u8 = 0x11;
const REPORT_2: u8 = 0x16;
const LEAVE_2: u8 = 0x17;
const REPORT_3: u8 = 0x22;

/// RFC 2113: routers shall look at the packet.
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const REPORTS_3: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// Reads a query from a whole Ethernet frame.
pub(super) fn query(frame: &[u8]) -> Option<Query> {
    let ip = frame.get(ETHERNET_LEN..)?;
    let header_len = usize::from(ip.first()? & 0x0f) * 4;
    let head: &[u8; IPV4_LEN] = ip.first_chunk()?;
    let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let igmp = ip.get(header_len.max(IPV4_LEN)..total)?;
    // Queries never pass a router: their hops are 1.
    let sane = frame[12..ETHERNET_LEN] == TYPE_IPV4 && head[0] >> 4 == 4 && head[8] == 1 && head[9] == PROTOCOL;
    let &[QUERY, code, _, _, a, b, c, d, ref rest @ ..] = igmp else { return None };
    if !sane || !Sum::default().add(igmp).is_intact() {
        return None;
    }
    let old = rest.is_empty();
    let tenths = match code {
        // Version 1 asks for answers within ten seconds.
        0 if old => 100,
        // RFC 3376, 4.1.1: a floating-point number.
        128.. if !old => (u32::from(code & 0x0f) | 0x10) << ((code >> 4 & 7) + 3),
        _ => code.into(),
    };
    let group = Ipv4Addr::new(a, b, c, d);
    let group = (!group.is_unspecified()).then_some(group.into());
    Some(Query { group, wait: Duration::from_millis(100) * tenths, old })
}

/// Sends one report of version 3, or messages of version 2.
pub(super) fn report(
    mac: Mac,
    source: Option<Ipv4Addr>,
    old: bool,
    records: &[(Ipv4Addr, Record)],
    turn: &mut Turn<'_>,
) {
    let source = source.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let send = |destination: Ipv4Addr, message: Vec<u8>| -> Frame {
        ipv4(
            Path { macs: (mac, group_mac4(destination)), source, destination },
            PROTOCOL,
            1,
            &ROUTER_ALERT,
            &summed(message),
        )
    };
    if old {
        for (group, record) in records {
            let (kind, to) = if *record == Record::Leaves { (LEAVE_2, ALL_ROUTERS) } else { (REPORT_2, *group) };
            (turn.out)(send(to, [&[kind, 0, 0, 0][..], &group.octets()].concat()));
        }
    } else if !records.is_empty() {
        let mut message = [REPORT_3, 0, 0, 0, 0, 0, 0, records.len() as u8].to_vec();
        for (group, record) in records {
            message.extend([*record as u8, 0, 0, 0]);
            message.extend(group.octets());
        }
        (turn.out)(send(REPORTS_3, message));
    }
}

fn summed(mut message: Vec<u8>) -> Vec<u8> {
    let sum = Sum::default().add(&message).finish();
    message[2..4].copy_from_slice(&sum);
    message
}
