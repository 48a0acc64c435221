//! Where lines are sent to: [`Collector`].

use alloc::string::String;
use core::{fmt, str::FromStr};

/// A collector's address, as in `syslog=udp:HOST:PORT`.
///
/// ```
/// use unikernel_syslog::{Collector, Transport};
///
/// let collector: Collector = "udp:logs.example.org".parse()?;
/// assert_eq!((collector.transport, collector.port), (Transport::Udp, 514));
/// assert_eq!("tls:[2001:db8::1]".parse::<Collector>()?.to_string(), "tls:[2001:db8::1]:6514");
/// assert!("logs.example.org".parse::<Collector>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// How to reach it.
    pub transport: Transport,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// How lines travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram a line (RFC 5426). Nobody knows whether it arrives.
    Udp,
    /// A connection; each line after its length (RFC 6587, 3.4.1).
    Tcp,
    /// The same, encrypted (RFC 5425).
    Tls,
}

impl Transport {
    const ALL: [(&'static str, Transport); 3] =
        [("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];

    /// The port where it is not given: by RFC 5426 and RFC 5425; for TCP, rsyslog and syslog-ng use 601 (RFC 3195).
    fn default_port(self) -> u16 {
        match self {
            Transport::Udp => 514,
            Transport::Tcp => 601,
            Transport::Tls => 6514,
        }
    }
}

/// Why a text is no collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseCollectorError(&'static str);

impl fmt::Display for ParseCollectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT, an IPv6 address in brackets", self.0)
    }
}

impl core::error::Error for ParseCollectorError {}

impl FromStr for Collector {
    type Err = ParseCollectorError;

    fn from_str(text: &str) -> Result<Collector, ParseCollectorError> {
        let (word, place) = text.split_once(':').ok_or(ParseCollectorError("there is no transport before a colon"))?;
        let transport = Transport::ALL.iter().find(|(name, _)| *name == word).map(|(_, transport)| *transport);
        let transport = transport.ok_or(ParseCollectorError("the transport is not known"))?;
        let (host, port) = split_place(place)?;
        if host.is_empty() {
            return Err(ParseCollectorError("there is no host"));
        }
        let port = match port {
            None => transport.default_port(),
            Some(port) => {
                port.parse().ok().filter(|port| *port > 0).ok_or(ParseCollectorError("the port is no port"))?
            }
        };
        Ok(Collector { transport, host: host.into(), port })
    }
}

/// Host and port.
fn split_place(place: &str) -> Result<(&str, Option<&str>), ParseCollectorError> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(ParseCollectorError("a bracket is not closed"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(ParseCollectorError("something stands behind the bracket")),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(ParseCollectorError("there are too many colons")),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            Transport::ALL.iter().find(|(_, transport)| *transport == self.transport).map_or("", |(name, _)| name);
        match self.host.contains(':') {
            true => write!(f, "{name}:[{}]:{}", self.host, self.port),
            false => write!(f, "{name}:{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Collector>() {
            Ok(collector) => collector.to_string(),
            Err(error) => error.0.to_string(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn collectors_are_read_and_shown() {
        check("udp:10.0.0.1:5514", "udp:10.0.0.1:5514");
        check("tcp:logs.example.org:601", "tcp:logs.example.org:601");
        check("tls:[2001:db8::1]:6514", "tls:[2001:db8::1]:6514");
        check("udp:logs", "udp:logs:514");
        check("tcp:logs", "tcp:logs:601");
        check("tls:[::1]", "tls:[::1]:6514");
    }

    #[test]
    fn what_is_no_collector_is_explained() {
        check("", "there is no transport before a colon");
        check("logs", "there is no transport before a colon");
        check("relp:logs:20514", "the transport is not known");
        check("UDP:logs", "the transport is not known");
        check("udp:", "there is no host");
        check("udp::514", "there is no host");
        check("tls:[]:1", "there is no host");
        for port in ["", "0", "65536", "-1", "x"] {
            check(&alloc::format!("udp:logs:{port}"), "the port is no port");
        }
        check("udp:2001:db8::1", "there are too many colons");
        check("udp:[2001:db8::1", "a bracket is not closed");
        check("udp:[::1]x", "something stands behind the bracket");
    }
}
