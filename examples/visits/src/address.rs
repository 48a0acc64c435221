//! The value of `redis=`: where the server is.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Address, Self::Err> {
        const FORM: &str = "expected HOST:PORT, such as 10.0.2.2:6379, redis.lan:6379 or [fd00::1]:6379";
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        // Without brackets nobody can tell the address from the port.
        let host = bare.or((!host.contains(':')).then_some(host)).filter(|host| !host.is_empty()).ok_or(FORM)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(FORM)?;
        Ok(Address { host: host.to_string(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}
