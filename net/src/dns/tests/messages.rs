//! Messages from text.

use crate::dns::{
    message::{CLASS_INTERNET, Kind, Question, TYPE_A, TYPE_AAAA, TYPE_CNAME, TYPE_NS, TYPE_OPT, TYPE_SOA},
    name::Name,
};
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    string::{String, ToString},
    vec::Vec,
};

pub(crate) const RESPONSE: u16 = 0x8180;
pub(crate) const TRUNCATED: u16 = 0x0200;
pub(crate) const FORMAT_ERROR: u16 = 1;
pub(crate) const SERVER_FAILURE: u16 = 2;
pub(crate) const NAME_ERROR: u16 = 3;
pub(crate) const REFUSED: u16 = 5;

/// A question written as `name A` or `name AAAA`.
pub(crate) fn question(text: &str) -> Question {
    let (name, kind) = text.split_once(' ').unwrap();
    Question { name: Name::parse(name).unwrap(), kind: if kind == "A" { Kind::A } else { Kind::Aaaa } }
}

/// What a server reads in a question: id, question, and whether EDNS is offered.
pub(crate) fn parse_question(message: &[u8]) -> (u16, Question, bool) {
    assert_eq!(message[2..10], [1, 0, 0, 1, 0, 0, 0, 0], "recursion is desired for one question");
    let end = 12 + message[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let (labels, _) = crate::dns::name::Labels::check(message, 12).unwrap();
    let kind = if message[end + 1] == 1 { Kind::A } else { Kind::Aaaa };
    assert_eq!(message[end..end + 4], [0, kind.code() as u8, 0, 1]);
    let edns = message[11] == 1;
    // RFC 6891, 6.1.2: root, type 41, 1232 bytes, nothing else.
    let option: &[u8] = if edns { &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0] } else { &[] };
    assert_eq!(&message[end + 4..], option);
    (u16::from_be_bytes([message[0], message[1]]), Question { name: labels.to_name().unwrap(), kind }, edns)
}

/// A response. `sections` are answers, authorities and additionals between `|`, the records of each between `;`, each
/// record `owner TYPE ttl data`.
pub(crate) fn response(id: u16, flags: u16, question: &Question, sections: &str) -> Vec<u8> {
    let sections: Vec<Vec<&str>> = sections.split('|').map(records_of).collect();
    let count = |index: usize| sections.get(index).map_or(0, Vec::len) as u16;
    let mut message = Vec::new();
    for word in [id, RESPONSE | flags, 1, count(0), count(1), count(2)] {
        message.extend(word.to_be_bytes());
    }
    message.extend(question.name.wire());
    message.extend(question.kind.code().to_be_bytes());
    message.extend(CLASS_INTERNET.to_be_bytes());
    sections.concat().into_iter().for_each(|text| record(&mut message, text));
    message
}

fn records_of(section: &str) -> Vec<&str> {
    section.split(';').map(str::trim).filter(|text| !text.is_empty()).collect()
}

fn record(message: &mut Vec<u8>, text: &str) {
    let [owner, kind, ttl, data] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text:?}") };
    let (kind, data) = match kind {
        "A" => (TYPE_A, data.parse::<Ipv4Addr>().unwrap().octets().to_vec()),
        "AAAA" => (TYPE_AAAA, data.parse::<Ipv6Addr>().unwrap().octets().to_vec()),
        "CNAME" => (TYPE_CNAME, wire(data)),
        "NS" => (TYPE_NS, wire(data)),
        "TXT" => (16, data.as_bytes().to_vec()),
        "OPT" => (TYPE_OPT, Vec::new()),
        // The data is the minimum; the other numbers do not matter here.
        "SOA" => (TYPE_SOA, [&[0; 2 + 16][..], &data.parse::<u32>().unwrap().to_be_bytes()].concat()),
        _ => panic!("{text:?}"),
    };
    message.extend(wire(owner));
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_INTERNET.to_be_bytes());
    message.extend(ttl.parse::<u32>().unwrap().to_be_bytes());
    message.extend((data.len() as u16).to_be_bytes());
    message.extend(data);
}

/// `.` is the root, and `^` a pointer to the name of the question.
fn wire(name: &str) -> Vec<u8> {
    match name {
        "." => Vec::from([0]),
        "^" => Vec::from([0xc0, 12]),
        name => Name::parse(name).unwrap().wire().to_vec(),
    }
}

/// An error or the addresses, as text.
pub(crate) fn shown<E: core::fmt::Debug>(result: Result<Vec<std::net::IpAddr>, E>) -> String {
    match result {
        Ok(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => std::format!("{error:?}"),
    }
}
