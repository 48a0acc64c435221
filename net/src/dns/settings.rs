//! Whom to ask, and which names a text may mean.

use super::{
    limits::{NDOTS, SEARCH_DOMAINS_MAX, SERVERS_MAX},
    name::Name,
};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What boot arguments, leases and advertisements said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
}

impl Settings {
    /// Takes the first servers and domains, each once. Domains that are none are left out: a lease wrote them.
    pub(crate) fn new<'a>(
        servers: impl IntoIterator<Item = SocketAddr>,
        search: impl IntoIterator<Item = &'a str>,
    ) -> Settings {
        let mut settings = Settings::default();
        for server in servers {
            if !settings.servers.contains(&server) && settings.servers.len() < SERVERS_MAX {
                settings.servers.push(server);
            }
        }
        for domain in search.into_iter().filter_map(Name::parse) {
            if !settings.search.contains(&domain) && settings.search.len() < SEARCH_DOMAINS_MAX {
                settings.search.push(domain);
            }
        }
        settings
    }

    pub(crate) fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// The names that `host` may mean, in the order to try them (resolv.conf(5), `search`). A dot at its end leaves one.
    pub(crate) fn candidates(&self, host: &str, name: Name) -> Vec<Name> {
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        let mut candidates: Vec<Name> = match host.ends_with('.') {
            true => Vec::new(),
            false => self.search.iter().filter_map(|domain| name.under(domain)).collect(),
        };
        let at = if dots >= NDOTS { 0 } else { candidates.len() };
        candidates.insert(at, name);
        candidates
    }
}

/// What needs no server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    Addresses([Option<IpAddr>; 2]),
    /// It is known that there is no such name.
    NoName,
}

/// Addresses written as text, in brackets too, as a URL has them.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(address) => address.parse().map(IpAddr::V6).ok(),
        None => host.parse().ok(),
    }
}

/// Names with a meaning of their own (RFC 6761, 6.3 and 6.4).
pub(crate) fn special(name: &Name) -> Option<Local> {
    if name.ends_with("localhost") {
        let (v6, v4) = (Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into());
        return Some(Local::Addresses([Some(v6), Some(v4)]));
    }
    name.ends_with("invalid").then_some(Local::NoName)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn check(host: &str, expected: &str) {
        let settings = Settings::new([], ["corp.example", "b%d", "lab", "Lab.", ""]);
        let candidates = settings.candidates(host, Name::parse(host).unwrap());
        let texts: Vec<_> = candidates.iter().map(ToString::to_string).collect();
        assert_eq!(texts.join(" "), expected, "{host}");
    }

    #[test]
    fn names_to_try() {
        check("db", "db.corp.example db.lab db");
        check("db.", "db");
        check("www.example.com", "www.example.com www.example.com.corp.example www.example.com.lab");
        check("www.example.com.", "www.example.com");
        let long = ["a"; 126].join(".");
        // 253 bytes on the wire: neither domain fits behind it.
        check(&long, &long);
    }

    #[test]
    fn servers_are_few_and_different() {
        let server = |last| SocketAddr::from(([10, 0, 0, last], 53));
        let settings = Settings::new([1, 1, 2, 1, 3, 4, 5, 6].map(server), []);
        assert_eq!(settings.servers(), [1, 2, 3, 4].map(server));
    }

    fn check_literal(host: &str, expected: Option<&str>) {
        assert_eq!(literal(host), expected.map(|address| address.parse().unwrap()), "{host}");
    }

    #[test]
    fn addresses_as_text() {
        check_literal("10.0.0.1", Some("10.0.0.1"));
        check_literal("::1", Some("::1"));
        check_literal("[fd00::1]", Some("fd00::1"));
        for host in ["[10.0.0.1]", "[::1", "::1]", "10.1", "0x7f000001", "010.0.0.1", "[]", "", "fe80::1%eth0"] {
            check_literal(host, None);
        }
    }

    #[test]
    fn names_with_a_meaning() {
        let special = |name| special(&Name::parse(name).unwrap());
        assert!(matches!(special("LOCALHOST."), Some(Local::Addresses([Some(_), Some(_)]))));
        assert!(matches!(special("a.localhost"), Some(Local::Addresses(_))));
        assert_eq!(special("a.invalid"), Some(Local::NoName));
        assert_eq!(special("localhost.example"), None);
    }
}
