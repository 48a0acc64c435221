//! How the machine gets its addresses, and its other network settings: [`Config`], read from boot arguments.

mod boot;

pub use crate::address::Ipv6Cidr;
use crate::limits::{self, Bounds};
use alloc::{string::String, vec, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};
use unikernel_rt::{Result, args};

/// What [`Stack::new`](crate::Stack::new) wants to know.
///
/// A fixed address with a gateway on the first port; [`Config::fixed`] is the short form without one, and
/// [`Config::from_boot_args`] is what a [`Stack`](crate::Stack) in `main` does:
///
/// ```
/// use unikernel_net::{Addressing, Addressing6, Config, PortConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let v4 = Addressing::Static { address: "192.168.1.2/24".parse()?, gateway: Some("192.168.1.1".parse()?) };
/// let first = PortConfig { v4, v6: Addressing6::Off };
/// let config = Config { ports: vec![first], dns: vec!["192.168.1.1".parse()?], ..Config::default() };
///
/// assert_eq!(config.port(0).v4, v4);
/// assert_eq!(config.port(1).v4, Addressing::Dhcp, "a port that is not configured asks");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The network ports, in order. A port that is not here is configured as [`PortConfig::default`] says.
    pub ports: Vec<PortConfig>,
    /// DNS servers, asked before those that the network names.
    pub dns: Vec<IpAddr>,
    /// Domains that short names are completed with, before those that the network names.
    pub search: Vec<String>,
    /// Time servers, by name or address, asked before those that the network names.
    pub ntp: Vec<String>,
    /// The machine's name, for DHCP servers that register it.
    pub hostname: Option<String>,
    /// Bounds that do not follow from the machine's memory.
    pub bounds: Bounds,
    /// Connections per listener that wait for `accept`.
    pub backlog: usize,
}

/// Where the addresses of a network port come from. See [`Config`] for an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortConfig {
    /// Its IPv4 address.
    pub v4: Addressing,
    /// Its IPv6 addresses.
    pub v6: Addressing6,
}

impl PortConfig {
    /// Whether it asks others for addresses.
    pub(crate) fn asks(&self) -> bool {
        self.v4 == Addressing::Dhcp || self.v6 == Addressing6::Auto
    }
}

/// Where an IPv4 address comes from. See [`Config`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// A DHCP server (RFC 2131).
    #[default]
    Dhcp,
    /// It is given.
    Static {
        /// The machine's address and network.
        address: Ipv4Cidr,
        /// The router to everything outside of it.
        gateway: Option<Ipv4Addr>,
    },
    /// There is none: the port does not speak IPv4.
    Off,
}

/// Where IPv6 addresses come from. Unless it is off, there is always a link-local one, too. See [`Config`] for an
/// example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing6 {
    /// Routers and, when they say so, a DHCPv6 server (RFC 4862, RFC 8415).
    #[default]
    Auto,
    /// It is given.
    Static {
        /// The machine's address and network.
        address: Ipv6Cidr,
        /// The router to everything outside of it.
        gateway: Option<Ipv6Addr>,
    },
    /// There is none: the port does not speak IPv6.
    Off,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            ports: Vec::new(),
            dns: Vec::new(),
            search: Vec::new(),
            ntp: Vec::new(),
            hostname: None,
            bounds: Bounds::default(),
            backlog: limits::BACKLOG,
        }
    }
}

impl Config {
    /// A fixed IPv4 address, without a gateway, and no IPv6.
    pub fn fixed(address: Ipv4Cidr) -> Config {
        let v4 = Addressing::Static { address, gateway: None };
        Config { ports: vec![PortConfig { v4, v6: Addressing6::Off }], ..Config::default() }
    }

    /// A fixed IPv6 address, without a gateway, and no IPv4.
    pub fn fixed6(address: Ipv6Cidr) -> Config {
        let v6 = Addressing6::Static { address, gateway: None };
        Config { ports: vec![PortConfig { v4: Addressing::Off, v6 }], ..Config::default() }
    }

    /// How a port is configured.
    pub fn port(&self, index: usize) -> PortConfig {
        self.ports.get(index).cloned().unwrap_or_default()
    }

    /// Takes the boot arguments of a machine with so many network ports:
    ///
    /// | argument | value |
    /// |---|---|
    /// | `ip=` | `ADDR/LEN`, also with `,gw=ADDR`; `dhcp` (the default); `off` |
    /// | `gw=` | the router of `ip=`; also `gateway=` |
    /// | `ip6=` | `ADDR/LEN`; `auto` (the default); `off` |
    /// | `gw6=` | the router of `ip6=` |
    /// | `net1.ip=` … | the same for the second port; `net0.ip=` is `ip=` |
    /// | `dns=` | `ADDR[,ADDR…]` |
    /// | `ntp=` | `HOST[,HOST…]`, names or addresses |
    /// | `search=` | `DOMAIN[,DOMAIN…]` |
    /// | `hostname=` | the machine's name |
    /// | `net.connections=`, `net.per-source=`, `net.half-open=`, `net.window-memory=` | see [`Bounds`] |
    ///
    /// # Errors
    ///
    /// A value is malformed, or a router stands alone or is no other host of the network.
    ///
    /// With `ip=192.168.1.2/24,gw=192.168.1.1 hostname=web1 net.connections=100`:
    ///
    /// ```
    /// # unikernel_rt::sim::run("ip=192.168.1.2/24,gw=192.168.1.1 hostname=web1 net.connections=100", async {
    /// use unikernel_net::{Addressing, Config};
    ///
    /// let config = Config::from_boot_args(1)?;
    /// let address = "192.168.1.2/24".parse()?;
    /// assert_eq!(config.port(0).v4, Addressing::Static { address, gateway: Some("192.168.1.1".parse()?) });
    /// assert_eq!(config.bounds.connections, Some(100));
    /// assert_eq!(config.hostname.as_deref(), Some("web1"));
    /// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
    /// ```
    pub fn from_boot_args(ports: usize) -> Result<Config> {
        Ok(Config {
            ports: (0..ports.max(1)).map(boot::port).collect::<Result<_>>()?,
            dns: boot::list("dns")?,
            ntp: boot::list("ntp")?,
            search: boot::list("search")?,
            hostname: args::take("hostname")?,
            bounds: Bounds {
                connections: boot::count("net.connections")?,
                per_source: boot::count("net.per-source")?,
                half_open: boot::count("net.half-open")?,
                window_memory: boot::count("net.window-memory")?,
            },
            ..Config::default()
        })
    }
}

/// An IPv4 address and the length of its network's prefix, written `192.168.1.2/24`.
///
/// ```
/// use unikernel_net::Ipv4Cidr;
/// use std::net::Ipv4Addr;
///
/// let cidr: Ipv4Cidr = "192.168.1.2/24".parse().unwrap();
/// assert!(cidr.contains(Ipv4Addr::new(192, 168, 1, 200)));
/// assert!(!cidr.contains(Ipv4Addr::new(192, 168, 2, 2)));
/// assert_eq!(cidr.broadcast(), Some(Ipv4Addr::new(192, 168, 1, 255)));
/// assert!("192.168.1.0/24".parse::<Ipv4Cidr>().is_err(), "the network itself is no host");
/// ```
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
