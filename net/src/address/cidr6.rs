//! An IPv6 address with the length of its network's prefix.

use core::{fmt, net::Ipv6Addr, str::FromStr};

/// An IPv6 address and the length of its network's prefix, written `2001:db8::2/64`.
///
/// ```
/// use unikernel_net::Ipv6Cidr;
///
/// let cidr: Ipv6Cidr = "2001:db8::2/64".parse().unwrap();
/// assert!(cidr.contains("2001:db8::ffff".parse().unwrap()));
/// assert!(!cidr.contains("2001:db8:0:1::2".parse().unwrap()));
/// assert!("ff02::1/64".parse::<Ipv6Cidr>().is_err(), "a group is no host");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv6Cidr {
    address: Ipv6Addr,
    prefix_len: u8,
}

impl Ipv6Cidr {
    /// A host's address; `None` when no host can have it: a multicast, unspecified, loopback or IPv4-mapped
    /// address, a prefix of 0 or over 128 bits, or the address all routers of the network share (RFC 4291, 2.6.1).
    pub fn new(address: Ipv6Addr, prefix_len: u8) -> Option<Ipv6Cidr> {
        let host = address.to_bits() & !mask(prefix_len);
        let is_host = prefix_len >= 127 || host != 0;
        (is_unicast(address) && is_host && (1..=128).contains(&prefix_len)).then_some(Ipv6Cidr { address, prefix_len })
    }

    /// A network: the bits after the prefix are cleared. `None` for a prefix over 128 bits.
    pub(crate) fn network(address: Ipv6Addr, prefix_len: u8) -> Option<Ipv6Cidr> {
        let address = Ipv6Addr::from_bits(address.to_bits() & mask(prefix_len));
        (prefix_len <= 128).then_some(Ipv6Cidr { address, prefix_len })
    }

    /// The host's address.
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// How many leading bits of the address name the network.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether `address` is in the same network.
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & mask(self.prefix_len) == 0
    }
}

/// Whether a host may have this address.
pub(crate) fn is_unicast(address: Ipv6Addr) -> bool {
    let mapped = address.to_ipv4_mapped().is_some();
    !(address.is_multicast() || address.is_unspecified() || address.is_loopback() || mapped)
}

fn mask(prefix_len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix_len.min(128))).unwrap_or(0)
}

impl fmt::Display for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl fmt::Debug for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv6Cidr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Ipv6Cidr, &'static str> {
        const FORM: &str = "expected a host's ADDR/LEN, such as 2001:db8::2/64";
        let (address, prefix_len) = text.split_once('/').ok_or(FORM)?;
        let address = address.parse().map_err(|_| FORM)?;
        Ipv6Cidr::new(address, prefix_len.parse().map_err(|_| FORM)?).ok_or(FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn hosts() {
        for text in ["2001:db8::2/64", "fe80::1/10", "fd00::1/128", "2001:db8::/127", "::2/1"] {
            assert_eq!(text.parse::<Ipv6Cidr>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn no_hosts() {
        for text in
            ["", "/", "::/64", "::1/64", "ff02::1/64", "::ffff:1.2.3.4/96", "2001:db8::/64", "fe80::1/0", "fe80::1/129"]
        {
            assert!(text.parse::<Ipv6Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks() {
        let net = "2001:db8::2/64".parse::<Ipv6Cidr>().unwrap();
        assert!(net.contains("2001:db8::ffff:0:0:1".parse().unwrap()));
        assert!(!net.contains("2001:db8:0:1::1".parse().unwrap()));
        assert!(Ipv6Cidr::network("::".parse().unwrap(), 0).unwrap().contains("2001:db8::1".parse().unwrap()));
    }
}
