//! What a network port of a machine leads to, as `--net` says it: `KIND[=NAME][,mac=ADDRESS]`.

use std::{fmt, str::FromStr};

/// A network port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Where it leads.
    pub kind: Kind,
    /// Its Ethernet address, where that was said.
    pub mac: Option<Mac>,
}

/// Where a network port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nowhere: there is no port.
    None,
    /// Behind QEMU's user-mode network: needs no privileges.
    User,
    /// To all machines of this user that name the same network, and to nobody else.
    Private(String),
    /// To this computer, by an interface of its own.
    Tap(Option<String>),
    /// To all that is on a bridge of this computer.
    Bridge(Option<String>),
    /// To a bridge in a network namespace, in which QEMU runs.
    Netns(Option<String>),
}

impl Net {
    /// One that is nothing but a kind.
    pub fn of(kind: Kind) -> Net {
        Net { kind, mac: None }
    }

    /// Whether other machines, or this computer, see its addresses.
    pub fn is_shared(&self) -> bool {
        !matches!(self.kind, Kind::None | Kind::User)
    }
}

/// Linux' IFNAMSIZ, without the zero at its end.
const INTERFACE_LEN_MAX: usize = 15;
/// Of networks and namespaces, whose names are names of files.
const NAME_LEN_MAX: usize = 32;

impl FromStr for Net {
    type Err = String;
    fn from_str(text: &str) -> Result<Net, String> {
        let (kind, options) = text.split_once(',').map_or((text, None), |(kind, options)| (kind, Some(options)));
        let kind: Kind = kind.parse()?;
        let Some(options) = options else { return Ok(Net::of(kind)) };
        let mac = options.strip_prefix("mac=").and_then(Mac::parse);
        let mac = mac.ok_or_else(|| {
            format!("`{options}` is no option of a network port; write `mac=02:00:00:00:00:01`, an address of one host")
        })?;
        match kind {
            Kind::None => Err("a machine without a network has no address; leave `mac=` away".into()),
            kind => Ok(Net { kind, mac: Some(mac) }),
        }
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Kind, String> {
        let (kind, name) = text.split_once('=').map_or((text, None), |(kind, name)| (kind, Some(name)));
        let interface = || name.map(|name| named(name, INTERFACE_LEN_MAX)).transpose();
        let other = || name.map(|name| named(name, NAME_LEN_MAX)).transpose();
        match (kind, name) {
            ("none", None) => Ok(Kind::None),
            ("user", None) => Ok(Kind::User),
            ("private", _) => Ok(Kind::Private(other()?.unwrap_or_else(|| "default".into()))),
            ("tap", _) => Ok(Kind::Tap(interface()?)),
            ("bridge", _) => Ok(Kind::Bridge(interface()?)),
            ("netns", _) => Ok(Kind::Netns(other()?)),
            _ => Err(format!(
                "`{text}` is no network; choose `user`, `none`, `private[=NAME]`, `tap[=NAME]`, `bridge[=NAME]` or `netns[=NAME]`"
            )),
        }
    }
}

/// A name that the kernel, a shell and a file system take as it is.
fn named(name: &str, len_max: usize) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts_well && name.len() <= len_max && name.bytes().all(is_plain) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "`{name}` is no name here; take 1 to {len_max} letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
    ))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Kind::None => ("none", None),
            Kind::User => ("user", None),
            Kind::Private(name) => ("private", Some(name)),
            Kind::Tap(name) => ("tap", name.as_ref()),
            Kind::Bridge(name) => ("bridge", name.as_ref()),
            Kind::Netns(name) => ("netns", name.as_ref()),
        };
        f.write_str(kind)?;
        name.map_or(Ok(()), |name| write!(f, "={name}"))
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        self.mac.map_or(Ok(()), |mac| write!(f, ",mac={mac}"))
    }
}

/// An Ethernet address of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    fn parse(text: &str) -> Option<Mac> {
        let mut mac = [0; 6];
        let mut words = text.split(':');
        for byte in &mut mac {
            let word =
                words.next().filter(|word| word.len() == 2 && word.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(word, 16).ok()?;
        }
        // The lowest bit is a group's.
        let is_host = words.next().is_none() && mac[0] & 1 == 0 && mac != [0; 6];
        is_host.then_some(Mac(mac))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_said_in_a_word() {
        let check = |text: &str, expected: Result<&str, &str>| match (text.parse::<Net>(), expected) {
            (Ok(net), Ok(expected)) => assert_eq!(net.to_string(), expected),
            (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
            other => panic!("{text}: {other:?}"),
        };
        for text in ["none", "user", "private=lan", "tap", "tap=uktap0", "bridge", "bridge=br0", "netns", "netns=lab"] {
            check(text, Ok(text));
        }
        check("private", Ok("private=default"));
        check("tap,mac=02:00:00:00:00:0A", Ok("tap,mac=02:00:00:00:00:0a"));
        check("user,mac=52:54:00:00:00:01", Ok("user,mac=52:54:00:00:00:01"));
        check("user=x", Err("`user=x` is no network; choose `user`, `none`, `private[=NAME]`"));
        check("vde", Err("`vde` is no network"));
        check("tap=", Err("`` is no name here"));
        check("tap=sixteen-letters0", Err("take 1 to 15 letters"));
        check("bridge=-x", Err("beginning with a letter or digit"));
        check("private=../x", Err("is no name here"));
        check("tap,mac=03:00:00:00:00:01", Err("an address of one host"));
        check("tap,mac=2:0:0:0:0:1", Err("`mac=2:0:0:0:0:1` is no option"));
        check("tap,mtu=9000", Err("`mtu=9000` is no option of a network port"));
        check("none,mac=02:00:00:00:00:01", Err("leave `mac=` away"));
    }
}
