//! The values of boot arguments, and how those of one port belong together.

use super::{Addressing, Addressing6, Ipv4Cidr, Ipv6Cidr, PortConfig};
use alloc::{boxed::Box, format, vec::Vec};
use core::{
    fmt::Display,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};
use unikernel_rt::{Error, Result, args};

/// What the arguments say about a port.
pub(super) fn port(index: usize) -> Result<PortConfig> {
    Ok(PortConfig { v4: v4(index)?, v6: v6(index)? })
}

fn v4(index: usize) -> Result<Addressing> {
    let ip: Option<Arg4> = take(index, "ip")?;
    let (key, gateway) = gateway(index)?;
    match (ip, gateway) {
        (None | Some(Arg4::Dhcp), None) => Ok(Addressing::Dhcp),
        (Some(Arg4::Off), None) => Ok(Addressing::Off),
        (None | Some(Arg4::Dhcp | Arg4::Off), Some(gateway)) => {
            Err(alone(key, gateway, "ip=ADDR/LEN", "and DHCP finds the gateway"))
        }
        (Some(Arg4::Static { address, gateway: inline }), gateway) => match gateway.or(inline) {
            Some(gateway) if !address.contains(gateway) || gateway == address.address() => {
                Err(outside(key, gateway, "ip", address))
            }
            gateway => Ok(Addressing::Static { address, gateway }),
        },
    }
}

/// The gateway, and what it was called. urunc says `gateway=`; what the machine's owner says counts before.
fn gateway(index: usize) -> Result<(&'static str, Option<Ipv4Addr>)> {
    let own: Option<Host<Ipv4Addr>> = take(index, "gw")?;
    let other: Option<Host<Ipv4Addr>> = if index == 0 { args::take("gateway")? } else { None };
    Ok(match (own, other) {
        (None, Some(Host(gateway))) => ("gateway", Some(gateway)),
        (own, _) => ("gw", own.map(|Host(gateway)| gateway)),
    })
}

fn v6(index: usize) -> Result<Addressing6> {
    let ip: Option<Arg6> = take(index, "ip6")?;
    let gateway: Option<Host<Ipv6Addr>> = take(index, "gw6")?;
    match (ip, gateway.map(|Host(gateway)| gateway)) {
        (None | Some(Arg6::Auto), None) => Ok(Addressing6::Auto),
        (Some(Arg6::Off), None) => Ok(Addressing6::Off),
        (None | Some(Arg6::Auto | Arg6::Off), Some(gateway)) => {
            Err(alone("gw6", gateway, "ip6=ADDR/LEN", "and router advertisements tell the gateway"))
        }
        (Some(Arg6::Static(address)), Some(gateway))
            if !(address.contains(gateway) || gateway.is_unicast_link_local()) || gateway == address.address() =>
        {
            Err(outside("gw6", gateway, "ip6", address))
        }
        (Some(Arg6::Static(address)), gateway) => Ok(Addressing6::Static { address, gateway }),
    }
}

fn alone(key: &str, gateway: impl Display, missing: &str, otherwise: &str) -> Error {
    Error::msg(format!(
        "boot argument `{key}={gateway}`: it goes with a static address; add `{missing}`, or leave it out {otherwise}"
    ))
}

fn outside(key: &str, gateway: impl Display, ip: &str, address: impl Display) -> Error {
    Error::msg(format!("boot argument `{key}={gateway}`: expected another host of the network of `{ip}={address}`"))
}

/// A number over zero.
pub(super) fn count(key: &'static str) -> Result<Option<usize>> {
    Ok(args::take::<Count>(key)?.map(|Count(count)| count))
}

/// The argument `netN.key=`, and for the first port also `key=`.
fn take<T: FromStr<Err: Display>>(index: usize, key: &'static str) -> Result<Option<T>> {
    // There are a few ports, and the runtime remembers the names for its error message.
    let long = args::take(Box::leak(format!("net{index}.{key}").into_boxed_str()))?;
    let short = if index == 0 { args::take(key)? } else { None };
    Ok(long.or(short))
}

/// Values with commas between; none when the argument is absent.
pub(super) fn list<T: FromStr>(key: &'static str) -> Result<Vec<T>> {
    Ok(args::take::<List<T>>(key)?.map_or(Vec::new(), |List(items)| items))
}

enum Arg4 {
    Dhcp,
    Off,
    Static { address: Ipv4Cidr, gateway: Option<Ipv4Addr> },
}

impl FromStr for Arg4 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Arg4, &'static str> {
        const FORM: &str = "expected a host's ADDR/LEN, such as 192.168.1.2/24, or dhcp, or off";
        let (address, gateway) = match text.split_once(',') {
            None => (text, None),
            Some((address, rest)) => {
                let gateway = rest.strip_prefix("gw=").ok_or("after the comma, expected gw=ADDR")?;
                (address, Some(gateway.parse::<Host<Ipv4Addr>>()?.0))
            }
        };
        match address {
            "dhcp" => Ok(Arg4::Dhcp),
            "off" => Ok(Arg4::Off),
            address => Ok(Arg4::Static { address: address.parse().map_err(|_| FORM)?, gateway }),
        }
    }
}

enum Arg6 {
    Auto,
    Off,
    Static(Ipv6Cidr),
}

impl FromStr for Arg6 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Arg6, &'static str> {
        match text {
            "auto" => Ok(Arg6::Auto),
            "off" => Ok(Arg6::Off),
            address => address
                .parse()
                .map(Arg6::Static)
                .map_err(|_| "expected a host's ADDR/LEN, such as 2001:db8::2/64, or auto, or off"),
        }
    }
}

struct Host<A>(A);

impl<A: FromStr> FromStr for Host<A> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Host<A>, &'static str> {
        text.parse().map(Host).map_err(|_| "expected ADDR, such as 192.168.1.1 or fe80::1")
    }
}

struct List<T>(Vec<T>);

impl<T: FromStr> FromStr for List<T> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<List<T>, &'static str> {
        let items = text.split(',').map(|item| if item.is_empty() { None } else { item.parse().ok() });
        items
            .collect::<Option<Vec<T>>>()
            .map(List)
            .ok_or("expected values with commas between, such as 10.0.0.1,10.0.0.2")
    }
}

struct Count(usize);

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Count, &'static str> {
        let count = text.parse().ok().filter(|count| *count > 0);
        count.map(Count).ok_or("expected a number, 1 or more")
    }
}
