//! IPv4 networks: which ones are free, and whose turn an address is.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// A host of it, or the network itself.
    pub host: Ipv4Addr,
    /// At most 32.
    pub prefix_len: u8,
}

/// Machines per network that get an address by themselves.
const HOSTS_MAX: u32 = 1024;

impl Subnet {
    /// `None` for a prefix that is too long.
    pub fn new(host: Ipv4Addr, prefix_len: u8) -> Option<Subnet> {
        (prefix_len <= 32).then_some(Subnet { host, prefix_len })
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0)
    }

    /// The two have addresses in common.
    pub fn overlaps(self, other: Subnet) -> bool {
        let mask = self.mask() & other.mask();
        self.host.to_bits() & mask == other.host.to_bits() & mask
    }

    /// The addresses for machines, in the order in which they are given: all but the first, which is a router's by custom,
    /// and this computer's.
    pub fn for_machines(self) -> impl Iterator<Item = Subnet> {
        let (base, broadcast) = (self.host.to_bits() & self.mask(), self.host.to_bits() | !self.mask());
        let last = broadcast.saturating_sub(1).min(base.saturating_add(HOSTS_MAX));
        let hosts = (base.saturating_add(2)..=last).map(Ipv4Addr::from_bits).filter(move |host| *host != self.host);
        hosts.map(move |host| Subnet { host, ..self })
    }
}

impl FromStr for Subnet {
    type Err = String;
    fn from_str(text: &str) -> Result<Subnet, String> {
        let (host, prefix_len) = text.split_once('/').unwrap_or((text, "32"));
        let parsed = host.parse().ok().zip(prefix_len.parse().ok());
        parsed
            .and_then(|(host, prefix_len)| Subnet::new(host, prefix_len))
            .ok_or_else(|| format!("`{text}` is no address with a prefix; write it as `10.213.0.1/24`"))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.prefix_len)
    }
}

/// Networks to take from, none of which is a common default of a home router, a VPN or Docker: their first two bytes.
pub type Pools = [[u8; 2]];
/// For networks with this computer on them.
pub const WITH_US: &Pools = &[[10, 213], [172, 29], [192, 168]];
/// For those without, which a machine may be on besides.
pub const PRIVATE: &Pools = &[[10, 214]];

/// The first network that overlaps with none of these, as the address of its first host.
pub fn free(pools: &Pools, taken: &[Subnet]) -> Option<Subnet> {
    let all = pools.iter().flat_map(|[a, b]| (0..=255).map(|c| Subnet { host: [*a, *b, c, 1].into(), prefix_len: 24 }));
    all.into_iter().find(|candidate| taken.iter().all(|taken| taken.prefix_len == 0 || !taken.overlaps(*candidate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_network_is_found() {
        let check = |taken: &str, expected: Option<&str>| {
            let taken: Vec<Subnet> = taken.split_whitespace().map(|text| text.parse().unwrap()).collect();
            assert_eq!(free(WITH_US, &taken).map(|subnet| subnet.to_string()).as_deref(), expected, "{taken:?}");
        };
        check("", Some("10.213.0.1/24"));
        check("0.0.0.0/0 192.168.1.7/24", Some("10.213.0.1/24"));
        check("10.213.0.1/24 10.213.1.128/25 10.213.2.9", Some("10.213.3.1/24"));
        check("10.0.0.0/8", Some("172.29.0.1/24"));
        check("10.0.0.0/8 172.16.0.0/12 192.168.0.0/23", Some("192.168.2.1/24"));
        check("10.0.0.0/8 172.16.0.0/12 192.168.0.0/16", None);
    }

    #[test]
    fn addresses_are_given_in_order() {
        let check = |subnet: &str, first: &[&str], count: usize| {
            let subnet: Subnet = subnet.parse().unwrap();
            let given: Vec<String> = subnet.for_machines().map(|address| address.to_string()).collect();
            assert_eq!(
                (&given[..first.len()], given.len()),
                (&first.iter().map(ToString::to_string).collect::<Vec<_>>()[..], count),
                "{subnet}"
            );
        };
        check("10.213.0.1/24", &["10.213.0.2/24", "10.213.0.3/24"], 253);
        check("10.213.0.2/24", &["10.213.0.3/24"], 252);
        check("10.0.0.1/30", &["10.0.0.2/30"], 1);
        check("10.0.0.0/31", &[], 0);
        check("10.0.0.1", &[], 0);
        check("10.0.0.1/8", &["10.0.0.2/8"], 1023);
        check("255.255.255.255/0", &["0.0.0.2/0"], 1023);
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for text in ["", "10.0.0.1/33", "10.0.0/8", "fd00::1/64", "10.0.0.1/-1"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }
}
