//! Names and the wall clock for the stack: the resolver and the time client over its sockets.

use crate::{
    dns::{Datagrams, Families, LookupError, Network, Resolver, Settings},
    error::ConnectError,
    limits::{CONFIGURE_TIME_MAX, CONNECT_TIME_MAX},
    net::{Net, Services},
    race::{RaceError, race},
    sntp::Sntp,
    stack::{Shared, Stack, bind, connect},
    stream::Stream,
    udp::UdpSocket,
};
use alloc::{
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, SocketAddr};
use unikernel_rt::time::{Instant, timeout};

/// Where DNS servers listen.
const DNS_PORT: u16 = 53;

/// The clients for names and time of one stack.
#[derive(Clone)]
pub(crate) struct Names {
    resolver: Resolver<Sockets>,
    sntp: Rc<Sntp<Sockets>>,
    /// The time servers of the boot arguments.
    ntp: Rc<[String]>,
}

impl Names {
    /// Starts both, with time servers by name or address; the wall clock is kept by a task of its own.
    pub(crate) fn start(shared: &Rc<Shared>, ntp: &[String]) -> Names {
        let sockets = Sockets(shared.clone());
        let resolver = Resolver::new(sockets.clone());
        let sntp = Rc::new(Sntp::new(sockets, resolver.clone()));
        let names = Names { resolver, sntp, ntp: ntp.into() };
        names.configure(&shared.net.borrow());
        let (sntp, shared) = (names.sntp.clone(), shared.clone());
        unikernel_rt::spawn_named("wall clock", async move { sntp.run(|| families(&shared.net.borrow())).await });
        names
    }

    /// Asks the servers that the network and the boot arguments name now.
    pub(crate) fn configure(&self, net: &Net) {
        let Services { dns, search, ntp } = net.services();
        let servers = dns.into_iter().map(|server| SocketAddr::new(server, DNS_PORT));
        self.resolver.configure(Settings::new(servers, search.iter().map(String::as_str)));
        let told: Vec<String> = ntp.iter().map(ToString::to_string).collect();
        self.sntp.configure(self.ntp.iter().chain(&told).map(String::as_str));
    }
}

impl Stack {
    /// The addresses of `name`, at least one, in the order to try them: IPv6 and IPv4 in turn (RFC 8305, 4). Families
    /// that the machine has no address of are left out. `name` is the name of a host, or an address as text.
    ///
    /// Names without a dot, and those that do not exist, are completed with the search domains; a dot at the end
    /// prevents that. Answers are remembered for as long as they say, and several that ask the same ask once. A machine
    /// that has no address yet waits for it [for some time](crate::limits::CONFIGURE_TIME_MAX).
    ///
    /// Dropped, it leaves the question to end by itself, and its answer to the next lookup.
    ///
    /// # Errors
    ///
    /// See [`LookupError`].
    ///
    /// ```
    /// # unikernel_rt::sim::run("", async {
    /// # let (left, right) = unikernel_rt::sim::cable(unikernel_rt::sim::Faults::NONE);
    /// # let config = unikernel_net::Config::fixed("10.0.0.1/24".parse()?);
    /// # let config = unikernel_net::Config { dns: vec!["10.0.0.2".parse()?], ..config };
    /// # let stack = unikernel_net::Stack::new(Box::new(left), config);
    /// # let server = unikernel_net::Stack::new(Box::new(right), unikernel_net::Config::fixed("10.0.0.2/24".parse()?));
    /// # let dns = server.udp(53)?;
    /// # unikernel_rt::spawn(async move {
    /// #     let mut buffer = [0; 512];
    /// #     loop {
    /// #         let asked = dns.recv_from(&mut buffer).await;
    /// #         let end = 12 + buffer[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    /// #         let mut answer = buffer[..end].to_vec();
    /// #         answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    /// #         answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 2]);
    /// #         let _ = dns.send_to(&answer, asked.from).await;
    /// #     }
    /// # });
    /// let addresses = stack.lookup("db.example.org").await?;
    /// assert_eq!(addresses, ["10.0.0.2".parse::<std::net::IpAddr>()?]);
    /// // An address as text needs no server.
    /// assert_eq!(stack.lookup("192.0.2.7").await?, ["192.0.2.7".parse::<std::net::IpAddr>()?]);
    /// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
    /// ```
    pub async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let deadline = Instant::now() + CONFIGURE_TIME_MAX;
        loop {
            let families = families(&self.shared.net.borrow());
            let result = self.names.resolver.lookup(name, families).await;
            let may_change = matches!(result, Err(LookupError::NoServer | LookupError::NotConfigured));
            if !may_change || !self.shared.net.borrow().asks_for_addresses() {
                return result;
            }
            if timeout(deadline - Instant::now(), self.shared.configured.notified()).await.is_err() {
                return result;
            }
        }
    }

    /// Connects to `host`, a name or an address as text. Of several addresses the first that answers is taken; one that
    /// does not costs [a quarter of a second](crate::limits::ATTEMPT_DELAY) (RFC 8305). Dropping the future gives up.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]; of several addresses, the error that tells most.
    ///
    /// ```
    /// # unikernel_rt::sim::run("", async {
    /// # let (left, right) = unikernel_rt::sim::cable(unikernel_rt::sim::Faults::NONE);
    /// # let config = unikernel_net::Config::fixed("10.0.0.1/24".parse()?);
    /// # let config = unikernel_net::Config { dns: vec!["10.0.0.2".parse()?], ..config };
    /// # let stack = unikernel_net::Stack::new(Box::new(left), config);
    /// # let server = unikernel_net::Stack::new(Box::new(right), unikernel_net::Config::fixed("10.0.0.2/24".parse()?));
    /// # let dns = server.udp(53)?;
    /// # unikernel_rt::spawn(async move {
    /// #     let mut buffer = [0; 512];
    /// #     loop {
    /// #         let asked = dns.recv_from(&mut buffer).await;
    /// #         let end = 12 + buffer[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    /// #         let mut answer = buffer[..end].to_vec();
    /// #         answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    /// #         answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 2]);
    /// #         let _ = dns.send_to(&answer, asked.from).await;
    /// #     }
    /// # });
    /// # let _listener = server.listen(5432)?;
    /// let stream = stack.connect_host("db.example.org", 5432).await?;
    /// assert_eq!(stream.peer(), "10.0.0.2:5432".parse()?);
    /// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
    /// ```
    pub async fn connect_host(&self, host: &str, port: u16) -> Result<Stream, ConnectError> {
        let addresses = self.lookup(host).await.map_err(ConnectError::Name)?;
        let connect = |address| connect(&self.shared, SocketAddr::new(address, port));
        let deadline = Instant::now() + CONNECT_TIME_MAX;
        race(addresses, connect, informative, deadline).await.map_err(|error| match error {
            RaceError::Failed(error) => error,
            RaceError::TimedOut => ConnectError::TimedOut,
            RaceError::NoAddress => ConnectError::Name(LookupError::NoAddress),
        })
    }
}

/// How much an error tells about the host.
fn informative(error: &ConnectError) -> u8 {
    match error {
        // It is there.
        ConnectError::Refused => 3,
        ConnectError::TimedOut => 2,
        ConnectError::Unreachable => 1,
        ConnectError::TooManyConnections | ConnectError::NotConfigured | ConnectError::Name(_) => 0,
    }
}

/// Those that the machine can reach others with.
fn families(net: &Net) -> Families {
    let addresses = net.addresses();
    Families { v4: addresses.iter().any(IpAddr::is_ipv4), v6: addresses.iter().any(IpAddr::is_ipv6) }
}

/// The stack's sockets, for its own clients.
#[derive(Clone)]
struct Sockets(Rc<Shared>);

impl Network for Sockets {
    type Socket = UdpSocket;
    type Stream = Stream;

    fn udp(&self) -> Option<UdpSocket> {
        bind(&self.0, 0).ok()
    }

    async fn tcp(&self, peer: SocketAddr) -> Option<Stream> {
        connect(&self.0, peer).await.ok()
    }
}

impl Datagrams for UdpSocket {
    async fn send_to(&self, data: &[u8], peer: SocketAddr) -> bool {
        UdpSocket::send_to(self, data, peer).await.is_ok()
    }

    async fn receive_from(&self, buffer: &mut [u8]) -> (usize, SocketAddr) {
        let datagram = self.recv_from(buffer).await;
        (datagram.len, datagram.from)
    }
}
