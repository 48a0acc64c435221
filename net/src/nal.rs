//! The stack as third-party crates know one: the traits of `embedded-nal-async` 0.9 for [`Stack`].
//!
//! - `TcpConnect` gives a [`Connection`], a [`Stream`] with the error type that the trait wants.
//! - `UdpStack` gives a [`BoundUdp`] or a [`ConnectedUdp`], which are [`UdpSocket`]s that receive less.
//! - `Dns` is [`Stack::lookup`]; names for addresses are not looked up.
//!
//! What the traits name `connect` is hidden by [`Stack::connect`]: write `TcpConnect::connect(&stack, peer)`.

use crate::{
    dns::LookupError,
    error::{ConnectError, Error, ListenError, SendError},
    stack::Stack,
    stream::Stream,
    udp::{Datagram, UdpSocket},
};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use embedded_nal_async::{AddrType, Dns, TcpConnect, UdpStack, UnconnectedUdp};

/// What can go wrong behind the traits: they want one type for making a connection and for using it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalError {
    /// The connection cannot be made.
    Connect(ConnectError),
    /// The connection broke.
    Stream(Error),
    /// The port cannot be received on.
    Bind(ListenError),
    /// The datagram cannot be sent.
    Send(SendError),
    /// The machine has not this address, or none of this family.
    NotOurs(IpAddr),
    /// The name has no address.
    Lookup(LookupError),
    /// The name of an address was asked for.
    NoReverseLookup,
}

/// A TCP connection; the [`Stream`] is inside.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use embedded_nal_async::TcpConnect;
/// use unikernel_net::{Read, Write};
///
/// /// As a crate that knows only the traits has it.
/// async fn ask(network: &impl TcpConnect, peer: std::net::SocketAddr) -> Option<[u8; 4]> {
///     let mut connection = network.connect(peer).await.ok()?;
///     connection.write_all(b"ping").await.ok()?;
///     let mut answer = [0; 4];
///     connection.read_exact(&mut answer).await.ok().map(|()| answer)
/// }
///
#[doc = include_str!("pair.md")]
/// # let mut listener = server.listen(7)?;
/// # unikernel_rt::spawn(async move {
/// #     let (mut stream, mut bytes) = (listener.accept().await, [0; 4]);
/// #     stream.read_exact(&mut bytes).await.unwrap();
/// #     stream.write_all(&bytes.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
/// #     std::future::pending::<()>().await
/// # });
/// assert_eq!(ask(&client, "10.0.0.2:7".parse()?).await, Some(*b"PING"));
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Connection(pub Stream);

/// A socket for datagrams from one peer.
///
/// With a [`BoundUdp`] at the other end:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use embedded_nal_async::{ConnectedUdp, UdpStack, UnconnectedUdp};
///
#[doc = include_str!("pair.md")]
/// let (_, mut asking) = UdpStack::connect(&client, "10.0.0.2:9000".parse()?).await?;
/// let (local, mut answering) = server.bind_single("10.0.0.2:9000".parse()?).await?;
/// asking.send(b"ping").await?;
///
/// let mut buffer = [0; 1500];
/// let (len, to, from) = answering.receive_into(&mut buffer).await?;
/// assert_eq!((&buffer[..len], to), (&b"ping"[..], local));
/// answering.send(to, from, b"pong").await?;
/// let len = asking.receive_into(&mut buffer).await?;
/// assert_eq!(&buffer[..len], b"pong");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct ConnectedUdp {
    socket: BoundUdp,
    remote: SocketAddr,
}

/// A socket for datagrams to one address of the machine, or to any. See [`ConnectedUdp`] for an example.
#[derive(Debug)]
pub struct BoundUdp {
    socket: UdpSocket,
    /// An unspecified address stands for any.
    local: IpAddr,
}

impl TcpConnect for Stack {
    type Error = NalError;
    type Connection<'a> = Connection;

    async fn connect(&self, remote: SocketAddr) -> Result<Connection, NalError> {
        Stack::connect(self, remote).await.map(Connection).map_err(NalError::Connect)
    }
}

impl ErrorType for Connection {
    type Error = NalError;
}

impl Read for Connection {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NalError> {
        self.0.read(buffer).await.map_err(NalError::Stream)
    }
}

impl Write for Connection {
    async fn write(&mut self, data: &[u8]) -> Result<usize, NalError> {
        self.0.write(data).await.map_err(NalError::Stream)
    }

    async fn flush(&mut self) -> Result<(), NalError> {
        self.0.flush().await.map_err(NalError::Stream)
    }
}

impl UdpStack for Stack {
    type Error = NalError;
    type Connected = ConnectedUdp;
    type UniquelyBound = BoundUdp;
    type MultiplyBound = BoundUdp;

    /// An unspecified address becomes the one that the way to `remote` begins at.
    async fn connect_from(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(SocketAddr, ConnectedUdp), NalError> {
        let address = match local.ip() {
            any if any.is_unspecified() => self.address_towards(remote.ip())?,
            one => self.own_address(one)?,
        };
        let socket = self.bind(address, local.port())?;
        Ok((socket.local(), ConnectedUdp { socket, remote }))
    }

    /// An unspecified address becomes the machine's first of that family.
    async fn bind_single(&self, local: SocketAddr) -> Result<(SocketAddr, BoundUdp), NalError> {
        let socket = self.bind(self.own_address(local.ip())?, local.port())?;
        Ok((socket.local(), socket))
    }

    /// With an unspecified address it receives what is sent to any of the machine's, of both families.
    async fn bind_multiple(&self, local: SocketAddr) -> Result<BoundUdp, NalError> {
        let address = if local.ip().is_unspecified() { local.ip() } else { self.own_address(local.ip())? };
        self.bind(address, local.port())
    }
}

impl Stack {
    fn bind(&self, local: IpAddr, port: u16) -> Result<BoundUdp, NalError> {
        let socket = self.udp(port).map_err(NalError::Bind)?;
        Ok(BoundUdp { socket, local })
    }

    /// The address itself if it is the machine's; for an unspecified one the first of its family.
    fn own_address(&self, wanted: IpAddr) -> Result<IpAddr, NalError> {
        let fits = |own: &IpAddr| match wanted.is_unspecified() {
            true => own.is_ipv4() == wanted.is_ipv4(),
            false => *own == wanted,
        };
        self.addresses().into_iter().find(fits).ok_or(NalError::NotOurs(wanted))
    }

    fn address_towards(&self, remote: IpAddr) -> Result<IpAddr, NalError> {
        let net = self.shared.net.borrow();
        let error = if net.is_configured() { SendError::Unreachable } else { SendError::NotConfigured };
        net.source_towards(remote).ok_or(NalError::Send(error))
    }
}

impl BoundUdp {
    fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.socket.local_port())
    }

    /// The next datagram to our address that `wanted` wants; others are thrown away. Cancel safe.
    async fn receive(&self, buffer: &mut [u8], wanted: impl Fn(&Datagram) -> bool) -> Datagram {
        loop {
            let datagram = self.socket.recv_from(buffer).await;
            if (self.local.is_unspecified() || datagram.to == self.local) && wanted(&datagram) {
                return datagram;
            }
        }
    }

    /// From `local`, as far as it says something.
    async fn send_from(&self, local: IpAddr, remote: SocketAddr, data: &[u8]) -> Result<(), NalError> {
        let sent = match local.is_unspecified() {
            true => self.socket.send_to(data, remote).await,
            false => self.socket.send_from(data, local, remote).await,
        };
        sent.map_err(NalError::Send)
    }
}

impl embedded_nal_async::ConnectedUdp for ConnectedUdp {
    type Error = NalError;

    async fn send(&mut self, data: &[u8]) -> Result<(), NalError> {
        self.socket.send_from(self.socket.local, self.remote, data).await
    }

    async fn receive_into(&mut self, buffer: &mut [u8]) -> Result<usize, NalError> {
        let peer = (self.remote.ip(), self.remote.port());
        let from_peer = |datagram: &Datagram| (datagram.from.ip(), datagram.from.port()) == peer;
        Ok(self.socket.receive(buffer, from_peer).await.whole_len)
    }
}

impl UnconnectedUdp for BoundUdp {
    type Error = NalError;

    /// The port of `local` is the socket's own, whatever it says. An address that the socket was not bound to is
    /// refused.
    async fn send(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8]) -> Result<(), NalError> {
        let address = match (self.local, local.ip()) {
            (bound, any) if any.is_unspecified() => bound,
            (bound, one) if bound.is_unspecified() || bound == one => one,
            (_, other) => return Err(NalError::NotOurs(other)),
        };
        self.send_from(address, remote, data).await
    }

    async fn receive_into(&mut self, buffer: &mut [u8]) -> Result<(usize, SocketAddr, SocketAddr), NalError> {
        let datagram = self.receive(buffer, |_| true).await;
        let local = SocketAddr::new(datagram.to, self.socket.local_port());
        Ok((datagram.whole_len, local, datagram.from))
    }
}

impl Dns for Stack {
    type Error = NalError;

    async fn get_host_by_name(&self, host: &str, family: AddrType) -> Result<IpAddr, NalError> {
        let fits = |address: &IpAddr| match family {
            AddrType::IPv4 => address.is_ipv4(),
            AddrType::IPv6 => address.is_ipv6(),
            AddrType::Either => true,
        };
        let addresses = self.lookup(host).await.map_err(NalError::Lookup)?;
        addresses.into_iter().find(fits).ok_or(NalError::Lookup(LookupError::NoAddress))
    }

    /// Fails: the resolver asks for addresses only.
    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, NalError> {
        Err(NalError::NoReverseLookup)
    }
}

impl fmt::Display for NalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NalError::Connect(error) => error.fmt(f),
            NalError::Stream(error) => error.fmt(f),
            NalError::Bind(error) => error.fmt(f),
            NalError::Send(error) => error.fmt(f),
            NalError::NotOurs(address) => {
                write!(f, "{address} is not an address of this socket; `Stack::addresses` tells the machine's")
            }
            NalError::Lookup(error) => error.fmt(f),
            NalError::NoReverseLookup => f.write_str("names of addresses are not looked up; use the address itself"),
        }
    }
}

impl core::error::Error for NalError {}

impl embedded_io_async::Error for NalError {
    fn kind(&self) -> ErrorKind {
        match self {
            NalError::Connect(ConnectError::Refused) => ErrorKind::ConnectionRefused,
            NalError::Connect(ConnectError::TimedOut) => ErrorKind::TimedOut,
            NalError::Connect(ConnectError::Unreachable) => ErrorKind::AddrNotAvailable,
            NalError::Connect(ConnectError::NotConfigured) => ErrorKind::NotConnected,
            NalError::Connect(ConnectError::TooManyConnections) => ErrorKind::OutOfMemory,
            NalError::Connect(ConnectError::Name(_)) | NalError::Lookup(_) => ErrorKind::NotFound,
            NalError::Stream(error) => error.kind(),
            NalError::Bind(_) => ErrorKind::AddrInUse,
            NalError::Send(error) => error.kind(),
            NalError::NotOurs(_) => ErrorKind::AddrNotAvailable,
            NalError::NoReverseLookup => ErrorKind::Unsupported,
        }
    }
}
