//! Forwarded ports: `[ADDRESS:]HOST:GUEST[/udp]`, checked and chosen before QEMU starts.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    str::FromStr,
};

use anyhow::{Result, anyhow, ensure};
use serde::Serialize;

/// A port of the workstation that leads to a port of the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Where clients connect; 127.0.0.1 if nothing else is said.
    pub address: Ipv4Addr,
    /// The port there. 0 stands for any that is free, until [`settle`] has chosen it.
    pub host: u16,
    /// Where the app listens.
    pub guest: u16,
    /// What goes through it.
    pub protocol: Protocol,
}

/// What goes through a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// As QEMU and users write it.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

const FORM: &str = "write HOST:GUEST, such as `8080:80`, each from 1 to 65535; `0:80` takes a free port of this machine, \
                    `0.0.0.0:8080:80` serves at all of its addresses, and `5353:53/udp` is one for datagrams";

impl FromStr for Port {
    type Err = String;
    fn from_str(text: &str) -> Result<Port, String> {
        let wrong = || format!("`{text}` is no port; {FORM}");
        let (numbers, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((numbers, "tcp")) => (numbers, Protocol::Tcp),
            Some((numbers, "udp")) => (numbers, Protocol::Udp),
            Some((_, other)) => return Err(format!("`{text}` is no port: `/{other}` is neither `/tcp` nor `/udp`")),
        };
        if numbers.starts_with('[') {
            return Err(format!(
                "`{text}` is no port: QEMU forwards from IPv4 addresses only; leave the address away, or give one such as \
                 `0.0.0.0`"
            ));
        }
        let words: Vec<&str> = numbers.split(':').collect();
        let (address, host, guest) = match words[..] {
            [port] => (Ok(Ipv4Addr::LOCALHOST), port, port),
            [host, guest] => (Ok(Ipv4Addr::LOCALHOST), host, guest),
            [address, host, guest] => (address.parse(), host, guest),
            _ => return Err(wrong()),
        };
        match (address, host.parse(), guest.parse()) {
            (Ok(address), Ok(host), Ok(guest @ 1..)) => Ok(Port { address, host, guest, protocol }),
            _ => Err(wrong()),
        }
    }
}

impl Port {
    /// What QEMU's `hostfwd` takes.
    pub(crate) fn for_qemu(self) -> String {
        format!("{}:{}:{}-:{}", self.protocol.word(), self.address, self.host, self.guest)
    }

    /// Where clients on this machine find it.
    pub(crate) fn near(self) -> SocketAddr {
        let address = if self.address.is_unspecified() { Ipv4Addr::LOCALHOST } else { self.address };
        SocketAddr::new(IpAddr::V4(address), self.host)
    }

    /// The same in words for people, with `/udp` where it is that.
    pub(crate) fn place(self) -> String {
        let host = if self.address == Ipv4Addr::LOCALHOST { "localhost".into() } else { self.address.to_string() };
        format!("{host}:{}{}", self.host, self.suffix())
    }

    fn suffix(self) -> &'static str {
        match self.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "/udp",
        }
    }
}

/// As it was written; what nobody has to write is left away.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address != Ipv4Addr::LOCALHOST {
            write!(f, "{}:", self.address)?;
        }
        write!(f, "{}:{}{}", self.host, self.guest, self.suffix())
    }
}

/// Tries each host port, and chooses free ones for those that are 0. QEMU would try again a moment later, but its message
/// names no way out.
pub fn settle(ports: &[Port]) -> Result<Vec<Port>> {
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| port.host != 0) {
        let is_same = |other: &Port| {
            (other.host, other.protocol) == (port.host, port.protocol) && is_overlap(other.address, port.address)
        };
        ensure!(
            !ports[..index].iter().any(is_same),
            "port {} on this machine is asked for twice; leave one `--port` away, or choose another",
            port.host
        );
    }
    let mut settled = ports.to_vec();
    // All are held until the end, those with a number first, so that nothing is chosen twice.
    let mut holders = Vec::new();
    let (mut fixed, mut free): (Vec<_>, Vec<_>) = settled.iter_mut().partition(|port| port.host != 0);
    for port in fixed.iter_mut().chain(&mut free) {
        let holder = Holder::of(**port).map_err(|error| refused(**port, &error))?;
        port.host = holder.port().map_err(|error| refused(**port, &error))?;
        holders.push(holder);
    }
    Ok(settled)
}

/// Whether both serve at one address.
fn is_overlap(one: Ipv4Addr, other: Ipv4Addr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

/// A port that nobody else can have meanwhile.
enum Holder {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Holder {
    fn of(port: Port) -> io::Result<Holder> {
        let place = (port.address, port.host);
        match port.protocol {
            Protocol::Tcp => TcpListener::bind(place).map(Holder::Tcp),
            Protocol::Udp => UdpSocket::bind(place).map(Holder::Udp),
        }
    }

    fn port(&self) -> io::Result<u16> {
        let place = match self {
            Holder::Tcp(listener) => listener.local_addr(),
            Holder::Udp(socket) => socket.local_addr(),
        };
        place.map(|place| place.port())
    }
}

fn refused(port: Port, error: &io::Error) -> anyhow::Error {
    let Port { address, host, .. } = port;
    if error.kind() == io::ErrorKind::AddrNotAvailable {
        return anyhow!(
            "{address} is no address of this machine; leave it away in `--port {port}`, or give one that `ip address` lists"
        );
    }
    if host == 0 {
        return anyhow!("no port of this machine is free ({error}); choose one with `--port HOST:{}`", port.guest);
    }
    let other = if host < 1024 { host + 8000 } else { host.checked_add(1).unwrap_or(host - 1) };
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "is taken by another program".into(),
        io::ErrorKind::PermissionDenied => "needs root, as all below 1024 do".into(),
        _ => format!("cannot be used ({error})"),
    };
    anyhow!("port {host} on this machine {why}; choose another with `--port {}`", Port { host: other, ..port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: &str) -> Port {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_an_address_two_numbers_and_a_protocol() {
        // What is read, shown again, and what QEMU is told.
        let check = |text: &str, shown: &str, for_qemu: &str| {
            let port = port(text);
            assert_eq!((&*port.to_string(), &*port.for_qemu()), (shown, for_qemu), "{text}");
            assert_eq!(shown.parse(), Ok(port));
        };
        check("8080:80", "8080:80", "tcp:127.0.0.1:8080-:80");
        check("80", "80:80", "tcp:127.0.0.1:80-:80");
        check("8080:80/tcp", "8080:80", "tcp:127.0.0.1:8080-:80");
        check("5353:53/udp", "5353:53/udp", "udp:127.0.0.1:5353-:53");
        check("53/udp", "53:53/udp", "udp:127.0.0.1:53-:53");
        check("0:80", "0:80", "tcp:127.0.0.1:0-:80");
        check("0.0.0.0:8080:80", "0.0.0.0:8080:80", "tcp:0.0.0.0:8080-:80");
        check("127.0.0.1:8080:80", "8080:80", "tcp:127.0.0.1:8080-:80");
        check("127.0.0.2:0:53/udp", "127.0.0.2:0:53/udp", "udp:127.0.0.2:0-:53");
    }

    #[test]
    fn what_is_no_port_is_named() {
        let check = |text: &str, expected: &str| {
            let problem = text.parse::<Port>().unwrap_err();
            assert!(problem.starts_with(&format!("`{text}` is no port")) && problem.contains(expected), "{problem}");
        };
        for text in
            ["", ":", "8080:", ":80", "0", "80:0", "65536:80", "tcp:80", "localhost:80:80", "1:2:3:4", "-1:80", "/udp"]
        {
            check(text, "write HOST:GUEST, such as `8080:80`");
        }
        check("::1:8080:80", "write HOST:GUEST");
        check("80:80/sctp", "`/sctp` is neither `/tcp` nor `/udp`");
        check("[::1]:8080:80", "QEMU forwards from IPv4 addresses only");
    }

    #[test]
    fn a_place_is_where_clients_find_it() {
        let check = |text: &str, place: &str, near: &str| {
            assert_eq!((port(text).place(), port(text).near().to_string()), (place.into(), near.into()), "{text}");
        };
        check("8080:80", "localhost:8080", "127.0.0.1:8080");
        check("5353:53/udp", "localhost:5353/udp", "127.0.0.1:5353");
        check("0.0.0.0:8080:80", "0.0.0.0:8080", "127.0.0.1:8080");
        check("127.0.0.2:8080:80", "127.0.0.2:8080", "127.0.0.2:8080");
    }

    #[test]
    fn a_script_reads_all_of_it() {
        let text = serde_json::to_string(&port("5353:53/udp")).unwrap();
        assert_eq!(text, r#"{"address":"127.0.0.1","host":5353,"guest":53,"protocol":"udp"}"#);
    }

    #[test]
    fn a_taken_port_is_named_with_the_way_out() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = Port { host: holder.local_addr().unwrap().port(), ..port("1:80") };
        let error = settle(&[taken]).unwrap_err().to_string();
        let host = taken.host;
        let start = format!("port {host} on this machine is taken by another program; choose another with `--port ");
        assert!(error.starts_with(&start) && error.ends_with(":80`"), "{error}");
        // Datagrams have ports of their own.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = Port { host: socket.local_addr().unwrap().port(), ..port("1:53/udp") };
        let error = settle(&[taken]).unwrap_err().to_string();
        assert!(error.contains("is taken by another program") && error.ends_with(":53/udp`"), "{error}");
    }

    #[test]
    fn free_ports_are_chosen() {
        let settled = settle(&["0:80", "0:443", "127.0.0.2:0:53/udp"].map(port)).unwrap();
        assert!(settled.iter().all(|port| port.host != 0) && settled[0].host != settled[1].host, "{settled:?}");
        let rest: Vec<_> = settled.iter().map(|port| Port { host: 0, ..*port }.to_string()).collect();
        assert_eq!(rest, ["0:80", "0:443", "127.0.0.2:0:53/udp"]);
        assert_eq!(settle(&settled).unwrap(), settled);
    }

    #[test]
    fn one_port_leads_to_one_place() {
        let check = |ports: [&str; 2], is_twice: bool| {
            let error = settle(&ports.map(port)).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(error.contains("is asked for twice"), is_twice, "{ports:?}: {error}");
        };
        check(["48080:80", "48080:81"], true);
        check(["0.0.0.0:48080:80", "48080:80"], true);
        check(["48080:80", "48080:80/udp"], false);
        check(["0:80", "0:80"], false);
    }

    #[test]
    fn other_reasons_are_told() {
        let check = |text: &str, kind: io::ErrorKind, expected: &str| {
            assert_eq!(refused(port(text), &kind.into()).to_string(), expected);
        };
        check(
            "80:80",
            io::ErrorKind::PermissionDenied,
            "port 80 on this machine needs root, as all below 1024 do; choose another with `--port 8080:80`",
        );
        check(
            "192.0.2.1:80:80",
            io::ErrorKind::AddrNotAvailable,
            "192.0.2.1 is no address of this machine; leave it away in `--port 192.0.2.1:80:80`, or give one that \
             `ip address` lists",
        );
    }
}
