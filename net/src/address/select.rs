//! Which of our IPv6 addresses a packet comes from: the rules of RFC 6724, section 5, that apply to a machine without
//! mobility, temporary addresses and several ports of one network.

use super::{Address6, State6};
use core::{cmp::Reverse, net::Ipv6Addr};

/// The best of `own` for packets to `destination`. Tentative addresses must not be among them.
pub(super) fn source<'a>(own: impl Iterator<Item = &'a Address6>, destination: Ipv6Addr) -> Option<Ipv6Addr> {
    own.max_by_key(|own| rank(own, destination)).map(|own| own.cidr.address())
}

/// Compares like the rules 1, 2, 3, 6 and 8, in this order. RFC 4429, 3.1 ranks optimistic addresses with deprecated
/// ones.
fn rank(own: &Address6, destination: Ipv6Addr) -> impl Ord + use<> {
    let address = own.cidr.address();
    let (own_scope, wanted) = (scope(address), scope(destination));
    // The smallest scope that is large enough; if none is, the largest.
    let fitting = (own_scope >= wanted, if own_scope >= wanted { Reverse(own_scope) } else { Reverse(16 - own_scope) });
    let common = (address.to_bits() ^ destination.to_bits()).leading_zeros().min(own.cidr.prefix_len().into());
    let same_label = label(address) == label(destination);
    (address == destination, fitting, own.state == State6::Preferred, same_label, common)
}

/// How far an address is known (RFC 4291, 2.7; RFC 6724, 3.1): 2 the link, 5 the site, 14 the world.
fn scope(address: Ipv6Addr) -> u8 {
    let octets = address.octets();
    match octets {
        [0xff, flags, ..] => flags & 0x0f,
        [0xfe, b, ..] if b & 0xc0 == 0x80 => 2,
        [0xfe, b, ..] if b & 0xc0 == 0xc0 => 5,
        _ if address.is_loopback() => 2,
        _ => 14,
    }
}

/// The default policy table (RFC 6724, 2.1), as far as these addresses are still in use.
fn label(address: Ipv6Addr) -> u8 {
    match address.segments() {
        [0x2002, ..] => 2,
        [0x2001, 0, ..] => 5,
        [a, ..] if a & 0xfe00 == 0xfc00 => 13,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn check(own: &[(&str, State6)], destination: &str, expected: &str) {
        let own = own.iter().map(|(cidr, state)| Address6 { cidr: cidr.parse().unwrap(), state: *state });
        let own: Vec<Address6> = own.collect();
        for own in [own.clone(), own.into_iter().rev().collect()] {
            let source = source(own.iter(), destination.parse().unwrap());
            assert_eq!(source, expected.parse().ok(), "to {destination}");
        }
    }

    use State6::*;

    #[test]
    fn nothing() {
        check(&[], "2001:db8::1", "");
    }

    /// Examples of RFC 6724, 10.1, and more.
    #[test]
    fn scopes() {
        let own = &[("2001:db8:3::1/64", Preferred), ("fe80::1/64", Preferred)];
        check(own, "2001:db8:1::1", "2001:db8:3::1");
        check(own, "ff05::1", "2001:db8:3::1");
        check(own, "ff02::1", "fe80::1");
        check(own, "fe80::2", "fe80::1");
        check(&[("fe80::1/64", Preferred)], "2001:db8::1", "fe80::1");
    }

    #[test]
    fn ourselves() {
        check(&[("2001:db8:1::1/64", Deprecated), ("2001:db8:2::1/64", Preferred)], "2001:db8:1::1", "2001:db8:1::1");
    }

    #[test]
    fn deprecated_and_optimistic() {
        check(&[("2001:db8:1::2/64", Deprecated), ("2001:db8:9::1/64", Preferred)], "2001:db8:1::1", "2001:db8:9::1");
        check(&[("2001:db8:1::2/64", Optimistic), ("2001:db8:9::1/64", Preferred)], "2001:db8:1::1", "2001:db8:9::1");
        check(&[("2001:db8:1::2/64", Deprecated), ("fe80::1/64", Preferred)], "2001:db8:1::1", "2001:db8:1::2");
    }

    #[test]
    fn labels_and_prefixes() {
        check(
            &[("2002:c633:6401::1/48", Preferred), ("2001:db8:1::1/64", Preferred)],
            "2002:c633:6402::2",
            "2002:c633:6401::1",
        );
        check(&[("fd00:1::1/64", Preferred), ("2a00:1::1/64", Preferred)], "2001:db8::1", "2a00:1::1");
        check(&[("fd00:1::1/64", Preferred), ("2a00:1::1/64", Preferred)], "fd00:2::1", "fd00:1::1");
        check(&[("2001:db8:1::2/64", Preferred), ("2001:db8:3::2/64", Preferred)], "2001:db8:1::1", "2001:db8:1::2");
    }
}
