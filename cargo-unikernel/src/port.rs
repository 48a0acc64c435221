//! Forwarded ports: `HOST:GUEST`, checked before QEMU starts.

use std::{
    fmt, io,
    net::{Ipv4Addr, TcpListener},
    str::FromStr,
};

use anyhow::{Result, anyhow};
use serde::Serialize;

/// A TCP port of the workstation (on 127.0.0.1) that leads to a port of the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Where clients connect.
    pub host: u16,
    /// Where the app listens.
    pub guest: u16,
}

impl FromStr for Port {
    type Err = String;
    fn from_str(text: &str) -> Result<Port, String> {
        let (host, guest) = text.split_once(':').unwrap_or((text, text));
        let number = |word: &str| word.parse().ok().filter(|port| *port > 0);
        let (Some(host), Some(guest)) = (number(host), number(guest)) else {
            return Err(format!("`{text}` is no port; write HOST:GUEST, such as `8080:80`, each from 1 to 65535"));
        };
        Ok(Port { host, guest })
    }
}

impl Port {
    /// What QEMU's `hostfwd` takes.
    pub(crate) fn for_qemu(self) -> String {
        format!("tcp:127.0.0.1:{}-:{}", self.host, self.guest)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.guest)
    }
}

/// Tries each host port. QEMU would try again a moment later, but its message names no way out.
pub fn check_free(ports: &[Port]) -> Result<()> {
    for port in ports {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port.host)).map_err(|error| refused(*port, &error))?;
    }
    Ok(())
}

fn refused(port: Port, error: &io::Error) -> anyhow::Error {
    let Port { host, guest } = port;
    let other = if host < 1024 { host + 8000 } else { host.checked_add(1).unwrap_or(host - 1) };
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "is taken by another program".into(),
        io::ErrorKind::PermissionDenied => "needs root, as all below 1024 do".into(),
        _ => format!("cannot be used ({error})"),
    };
    anyhow!("port {host} on this machine {why}; choose another with `--port {other}:{guest}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_or_two_numbers() {
        let check = |text: &str, expected: Option<(u16, u16)>| {
            assert_eq!(text.parse::<Port>().ok(), expected.map(|(host, guest)| Port { host, guest }), "{text}");
        };
        check("8080:80", Some((8080, 80)));
        check("80", Some((80, 80)));
        check("0:80", None);
        check("8080:", None);
        check("65536:80", None);
        check("tcp:80", None);
    }

    #[test]
    fn a_taken_port_is_named_with_the_way_out() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = holder.local_addr().unwrap().port();
        let error = check_free(&[Port { host, guest: 80 }]).unwrap_err().to_string();
        let start = format!("port {host} on this machine is taken by another program; choose another with `--port ");
        assert!(error.starts_with(&start), "{error}");
        drop(holder);
        check_free(&[Port { host, guest: 80 }]).unwrap();
    }

    #[test]
    fn other_reasons_are_told() {
        let error = refused(Port { host: 80, guest: 80 }, &io::ErrorKind::PermissionDenied.into()).to_string();
        assert_eq!(
            error,
            "port 80 on this machine needs root, as all below 1024 do; choose another with `--port 8080:80`"
        );
    }
}
