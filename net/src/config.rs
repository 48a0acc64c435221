//! How the machine gets its address: [`Config`], read from the boot arguments `ip=`, `gw=` and
//! `net.connections=`.

use crate::limits;
use alloc::format;
use core::{fmt, net::Ipv4Addr, str::FromStr};
use unikernel_rt::{Error, Result, args};

/// What [`Stack::new`](crate::Stack::new) wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the address comes from.
    pub addressing: Addressing,
    /// Connections allowed in all; `None`: what the heap has room for.
    pub connections: Option<usize>,
    /// Connections per listener that wait for `accept`.
    pub backlog: usize,
}

/// Where the machine's address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// A DHCP server (RFC 2131).
    Dhcp,
    /// It is given.
    Static {
        /// The machine's address and network.
        address: Ipv4Cidr,
        /// The router to everything outside of it.
        gateway: Option<Ipv4Addr>,
    },
}

impl Default for Config {
    fn default() -> Config {
        Config { addressing: Addressing::Dhcp, connections: None, backlog: limits::BACKLOG }
    }
}

impl Config {
    /// A fixed address, without a gateway.
    pub fn fixed(address: Ipv4Cidr) -> Config {
        Config { addressing: Addressing::Static { address, gateway: None }, ..Config::default() }
    }

    /// Takes `ip=ADDR/LEN`, `gw=ADDR` (also as `ip=ADDR/LEN,gw=ADDR`) and `net.connections=N`.
    ///
    /// # Errors
    ///
    /// A value is malformed, or `gw=` stands alone or names a host outside of the network.
    pub fn from_boot_args() -> Result<Config> {
        let ip: Option<StaticArg> = args::take("ip")?;
        let gateway: Option<HostArg> = args::take("gw")?;
        let connections: Option<CountArg> = args::take("net.connections")?;
        let addressing = match (ip, gateway) {
            (None, None) => Addressing::Dhcp,
            (None, Some(HostArg(gateway))) => {
                return Err(Error::msg(format!(
                    "boot argument `gw={gateway}`: it goes with a static address; add `ip=ADDR/LEN`, or leave it out \
                     and DHCP finds the gateway"
                )));
            }
            (Some(ip), gateway) => ip.with_gateway(gateway.map(|HostArg(gateway)| gateway))?,
        };
        Ok(Config { addressing, connections: connections.map(|CountArg(count)| count), ..Config::default() })
    }
}

/// An IPv4 address and the length of its network's prefix, written `192.168.1.2/24`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Cidr {
    address: Ipv4Addr,
    prefix_len: u8,
}

impl Ipv4Cidr {
    /// A host's address; `None` when no host can have it: a multicast, broadcast, unspecified or loopback
    /// address, the network itself, or a prefix over 32 bits.
    pub fn new(address: Ipv4Addr, prefix_len: u8) -> Option<Ipv4Cidr> {
        let cidr = Ipv4Cidr { address, prefix_len };
        let host_mask = !mask(prefix_len);
        let host = address.to_bits() & host_mask;
        // In networks of one or two addresses both belong to hosts (RFC 3021).
        let is_host = prefix_len >= 31 || (host != 0 && host != host_mask);
        let unicast =
            !(address.is_multicast() || address.is_unspecified() || address.is_loopback()) && address.octets()[0] < 240;
        (prefix_len <= 32 && prefix_len > 0 && is_host && unicast).then_some(cidr)
    }

    /// The host's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// How many leading bits of the address name the network.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether `address` is in the same network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & mask(self.prefix_len) == 0
    }

    /// The address of all hosts of the network (RFC 919), where there is one.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        (self.prefix_len < 31).then(|| Ipv4Addr::from_bits(self.address.to_bits() | !mask(self.prefix_len)))
    }
}

fn mask(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0)
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl fmt::Debug for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not an [`Ipv4Cidr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseCidrError;

impl fmt::Display for ParseCidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a host's ADDR/LEN, such as 192.168.1.2/24")
    }
}

impl core::error::Error for ParseCidrError {}

impl FromStr for Ipv4Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Ipv4Cidr, ParseCidrError> {
        let (address, prefix_len) = text.split_once('/').ok_or(ParseCidrError)?;
        let address = address.parse().map_err(|_| ParseCidrError)?;
        let prefix_len = prefix_len.parse().map_err(|_| ParseCidrError)?;
        Ipv4Cidr::new(address, prefix_len).ok_or(ParseCidrError)
    }
}

/// The value of `ip=`: an address, and perhaps `,gw=ADDR`.
struct StaticArg {
    address: Ipv4Cidr,
    gateway: Option<Ipv4Addr>,
}

impl StaticArg {
    fn with_gateway(self, gateway: Option<Ipv4Addr>) -> Result<Addressing> {
        let StaticArg { address, gateway: inline } = self;
        let gateway = gateway.or(inline);
        match gateway {
            Some(gateway) if !address.contains(gateway) || gateway == address.address() => Err(Error::msg(format!(
                "boot argument `gw={gateway}`: expected another host of the network of `ip={address}`"
            ))),
            _ => Ok(Addressing::Static { address, gateway }),
        }
    }
}

impl FromStr for StaticArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<StaticArg, &'static str> {
        const FORM: &str = "expected a host's ADDR/LEN, such as 192.168.1.2/24";
        let (address, gateway) = match text.split_once(',') {
            None => (text, None),
            Some((address, rest)) => {
                let gateway = rest.strip_prefix("gw=").ok_or("after the comma, expected gw=ADDR")?;
                (address, Some(gateway.parse::<HostArg>()?.0))
            }
        };
        Ok(StaticArg { address: address.parse().map_err(|_| FORM)?, gateway })
    }
}

struct HostArg(Ipv4Addr);

impl FromStr for HostArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<HostArg, &'static str> {
        text.parse().map(HostArg).map_err(|_| "expected ADDR, such as 192.168.1.1")
    }
}

struct CountArg(usize);

impl FromStr for CountArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<CountArg, &'static str> {
        let count = text.parse().ok().filter(|count| *count > 0);
        count.map(CountArg).ok_or("expected how many connections to allow, 1 or more")
    }
}
