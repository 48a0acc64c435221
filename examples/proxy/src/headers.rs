//! Which header fields are passed on, and which are the proxy's own (RFC 9110, 7.6.1; RFC 7239).

use alloc::{format, string::String, vec::Vec};
use core::net::{IpAddr, SocketAddr};
use unikernel_http::Headers;

/// Fields about one connection, and not about the message; those that `Connection` names come on top. The body's framing
/// and `Expect` are decided for each side by itself.
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What clients say about the way a request took. Nobody in front of this proxy is trusted, so it says it anew.
const FORWARDING: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// The fields of a request that the backend gets as they are.
pub fn of_request(headers: &Headers) -> impl Iterator<Item = (&str, &[u8])> {
    end_to_end(headers).filter(|(name, _)| !is_one_of(&FORWARDING, name))
}

/// The fields of a response that the client gets. `Date` is written by this server.
pub fn of_response(headers: &Headers) -> impl Iterator<Item = (&str, &[u8])> {
    end_to_end(headers).filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
}

fn end_to_end(headers: &Headers) -> impl Iterator<Item = (&str, &[u8])> {
    let named = named_by_connection(headers);
    headers.iter().filter(move |(name, _)| {
        !is_one_of(&HOP_BY_HOP, name) && !named.iter().any(|known| known.eq_ignore_ascii_case(name.as_bytes()))
    })
}

fn named_by_connection(headers: &Headers) -> Vec<&[u8]> {
    let fields = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    fields.flat_map(|(_, value)| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)).collect()
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What the backend is told about the client.
pub fn forwarding(peer: Option<SocketAddr>, host: &str, proto: &str) -> Vec<(&'static str, String)> {
    let mut fields = Vec::from([("X-Forwarded-Proto", proto.into()), ("Via", "1.1 unikernel-proxy".into())]);
    let mut forwarded = format!("proto={proto}");
    if !host.is_empty() {
        fields.push(("X-Forwarded-Host", host.into()));
        forwarded = format!("host=\"{host}\";{forwarded}");
    }
    if let Some(peer) = peer {
        let address = peer.ip().to_canonical();
        fields.push(("X-Forwarded-For", format!("{address}")));
        forwarded = format!("for={};{forwarded}", node(address));
    }
    fields.push(("Forwarded", forwarded));
    fields
}

/// RFC 7239, 6: an IPv6 address is in brackets, and therefore in quotes.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}"),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}
