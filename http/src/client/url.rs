//! URLs a client can ask for: strict, and nothing but `http` and `https` (RFC 3986; RFC 9110, 4.2).

use crate::parse::class::{self, PATH, QUERY};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// Longer ones are refused: servers take about 8 KiB of them (RFC 9112, 3), ours as well.
const URL_LEN_MAX: usize = 8 * 1024;
/// The longest name the domain name system has (RFC 1035, 2.3.4), as text.
const HOST_LEN_MAX: usize = 253;

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not start with `http://` or `https://`.
    Scheme,
    /// The host is no name, no IPv4 address and no IPv6 address in brackets.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// There is a user name or a password in it.
    UserInfo,
    /// The path or query holds a byte that has to be percent-encoded.
    Character,
    /// It is too long to be sent.
    TooLong,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlError::Scheme => "a URL starts with `http://` or `https://`",
            UrlError::Host => {
                "the host of a URL is a name of ASCII letters, digits, `-` and `.`, an IPv4 address or an IPv6 address \
                 in brackets; write other names in their `xn--` form"
            }
            UrlError::Port => "the port of a URL is a number from 1 to 65535",
            UrlError::UserInfo => "a URL holds no user name here; use `basic_auth` of the request",
            UrlError::Character => {
                "the path or query of a URL holds a space or another byte that has to be percent-encoded"
            }
            UrlError::TooLong => "the URL is longer than 8 KiB; send the data in the body",
        })
    }
}

impl core::error::Error for UrlError {}

/// An absolute URL: scheme, host, port, path and query. A fragment is dropped, as it never leaves the client.
///
/// ```
/// use unikernel_http::client::{Url, UrlError};
///
/// let url = Url::parse("http://Example.org/a/b?c#d")?;
/// assert_eq!((url.host(), url.port(), url.path_and_query()), ("example.org", 80, "/a/b?c"));
/// assert_eq!(url.join("../x")?.to_string(), "http://example.org/x");
/// assert_eq!(Url::parse("http://us:secret@example.org/"), Err(UrlError::UserInfo));
/// # Ok::<(), UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    is_https: bool,
    /// In lower case; an IPv6 address without its brackets.
    host: String,
    is_ipv6: bool,
    port: u16,
    /// Path and query.
    target: String,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        if text.len() > URL_LEN_MAX {
            return Err(UrlError::TooLong);
        }
        let (is_https, rest) = split_scheme(text).ok_or(UrlError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, is_ipv6, port) = parse_authority(authority)?;
        let port = port.unwrap_or(default_port(is_https));
        Ok(Url { is_https, host, is_ipv6, port, target: parse_target(target)? })
    }

    /// What `reference`, the value of a `Location` field, means where this URL was asked for (RFC 3986, 5.2).
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn join(&self, reference: &str) -> Result<Url, UrlError> {
        if has_scheme(reference) {
            return Url::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme()));
        }
        if reference.len() > URL_LEN_MAX {
            return Err(UrlError::TooLong);
        }
        let path = self.target.split('?').next().unwrap_or("/");
        let merged = match reference.as_bytes().first() {
            None | Some(b'#') => self.target.clone(),
            Some(b'?') => format!("{path}{reference}"),
            Some(b'/') => reference.to_owned(),
            Some(_) => format!("{}{reference}", &path[..=path.rfind('/').unwrap_or(0)]),
        };
        Ok(Url { target: without_dots(&parse_target(&merged)?), ..self.clone() })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    /// Whether it is to be asked for over TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host in lower case: a name or an address; IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, that of the scheme if the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query; starts with `/`.
    pub fn path_and_query(&self) -> &str {
        &self.target
    }

    /// Host and port as the `Host` field has them (RFC 9110, 7.2): the port only where it is not the scheme's.
    pub(super) fn authority(&self) -> String {
        match self.port == default_port(self.is_https) {
            true => self.bracketed(),
            false => self.host_and_port(),
        }
    }

    /// Host and port as `CONNECT` has them (RFC 9110, 9.3.6).
    pub(super) fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.is_ipv6 { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Whether both are of one origin (RFC 6454, 4): credentials for one are for the other.
    pub(super) fn has_origin_of(&self, other: &Url) -> bool {
        self.is_https == other.is_https && self.port == other.port && self.host == other.host
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.target)
    }
}

impl core::str::FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        Url::parse(text)
    }
}

const fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

fn split_scheme(text: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some((false, rest)),
        _ if scheme.eq_ignore_ascii_case("https") => Some((true, rest)),
        _ => None,
    }
}

/// Whether a reference is absolute: letters, digits, `+`, `-` or `.`, then a colon (RFC 3986, 3.1).
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Host, whether it is an IPv6 address, and the port if there is one.
fn parse_authority(authority: &str) -> Result<(String, bool, Option<u16>), UrlError> {
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
        let port = match port {
            "" => None,
            port => Some(parse_port(port.strip_prefix(':').ok_or(UrlError::Host)?)?),
        };
        return Ok((format!("{address}"), true, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (authority, None),
    };
    if is_host(host) { Ok((host.to_ascii_lowercase(), false, port)) } else { Err(UrlError::Host) }
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(UrlError::Port)
}

/// A name, or an IPv4 address as four decimal numbers. A name that ends in a number is neither: resolvers disagree
/// about `127.1` and `0x7f.1` (URL Standard, 3.5).
fn is_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or("");
    let is_numeric = last.starts_with(|first: char| first.is_ascii_digit())
        && (last.bytes().all(|byte| byte.is_ascii_digit()) || last[1..].starts_with(['x', 'X']));
    if is_numeric {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    name.len() <= HOST_LEN_MAX
        && name.split('.').all(|label| {
            // `_` is in no host name, but in names of services that resolve all the same.
            let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(is_label_byte)
        })
}

/// Path and query, without the fragment.
fn parse_target(text: &str) -> Result<String, UrlError> {
    let text = text.split('#').next().unwrap_or("");
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let fits = |text: &str, class| text.is_empty() || class::all(text.as_bytes(), class);
    if !fits(path, PATH) || !fits(query.unwrap_or(""), QUERY) {
        return Err(UrlError::Character);
    }
    let slash = if path.is_empty() { "/" } else { "" };
    Ok(format!("{slash}{text}"))
}

/// The path without `.` and `..` segments (RFC 3986, 5.2.4); the query as it is.
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Url::parse(text).unwrap().to_string(), expected);
    }

    #[test]
    fn urls_and_how_they_are_written() {
        check("http://a", "http://a/");
        check("HTTP://Host.Example:80/A?b=c#d", "http://host.example/A?b=c");
        check("https://host:443?q", "https://host/?q");
        check("https://host:80/", "https://host:80/");
        check("http://10.0.2.2:8000/x", "http://10.0.2.2:8000/x");
        check("http://[FE80:0::1]:81/", "http://[fe80::1]:81/");
        check("http://a/b|c[d]{e}^f%20", "http://a/b|c[d]{e}^f%20");
        check("http://_srv.host.", "http://_srv.host./");
        check("http://4host.example", "http://4host.example/");
    }

    #[test]
    fn what_is_no_url() {
        use UrlError::*;
        let long = alloc::format!("http://a/{}", "x".repeat(URL_LEN_MAX));
        let name = alloc::format!("http://{}/", "x.".repeat(140));
        for (text, expected) in [
            ("", Scheme),
            ("ftp://a/", Scheme),
            ("http:/a", Scheme),
            ("//a/b", Scheme),
            (" http://a/", Scheme),
            ("http://", Host),
            ("http:///x", Host),
            ("http://a..b/", Host),
            ("http://a b/", Host),
            ("http://ü/", Host),
            ("http://a%41/", Host),
            ("http://127.1/", Host),
            ("http://0x7f.0.0.1/", Host),
            ("http://1.2.3.0x4/", Host),
            ("http://010.0.0.1/", Host),
            ("http://4294967295/", Host),
            ("http://[::1/", Host),
            ("http://[::1]x/", Host),
            ("http://[1.2.3.4]/", Host),
            ("http://::1/", Port),
            (&name, Host),
            ("http://a:/", Port),
            ("http://a:0/", Port),
            ("http://a:65536/", Port),
            ("http://a:+80/", Port),
            ("http://a:8 0/", Port),
            ("http://user@a/", UserInfo),
            ("http://user:word@a/", UserInfo),
            ("http://a/b c", Character),
            ("http://a/\r\nX: y", Character),
            ("http://a/?q=\"", Character),
            ("http://a/ü", Character),
            ("http://a\\b/", Host),
            (&long, TooLong),
        ] {
            assert_eq!(Url::parse(text), Err(expected), "{text}");
        }
    }

    /// The examples of RFC 3986, 5.4, as far as they are for this scheme.
    #[test]
    fn references_and_what_they_mean() {
        let base = Url::parse("http://a/b/c/d;p?q").unwrap();
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("//g:81/x", "http://g:81/x"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://b", "https://b/"),
            ("a/b:c", "http://a/b/c/a/b:c"),
        ] {
            assert_eq!(base.join(reference).map(|url| url.to_string()), Ok(expected.into()), "{reference}");
        }
        for (reference, expected) in [
            ("javascript:1", UrlError::Scheme),
            ("mailto:a@b", UrlError::Scheme),
            ("//u@b/", UrlError::UserInfo),
            ("/a b", UrlError::Character),
            ("x\r\n", UrlError::Character),
        ] {
            assert_eq!(base.join(reference), Err(expected), "{reference}");
        }
    }
}
