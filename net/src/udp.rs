//! Datagrams: [`UdpSocket`].

use crate::{
    error::{JoinError, SendError},
    stack::Shared,
};
use alloc::rc::Rc;
use core::{
    fmt,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};
use unikernel_rt::{entropy, time::Instant};

/// A socket for datagrams (RFC 768), on one port and all addresses of the machine. Dropping it frees the port; what was
/// not received is lost.
///
/// Received datagrams wait, up to [`DATAGRAMS_MAX`](crate::limits::DATAGRAMS_MAX) and
/// [`DATAGRAM_MEMORY_MAX`](crate::limits::DATAGRAM_MEMORY_MAX); then the newest are dropped, as any network may do. Those
/// that came in fragments are put together; those to send must fit a packet.
///
/// An echo, on a socket of [`Stack::udp`](crate::Stack::udp):
///
/// ```
/// # unikernel_rt::sim::run("", async {
#[doc = include_str!("pair.md")]
/// # let socket = server.udp(9000)?;
/// # unikernel_rt::spawn(async move {
/// let mut buffer = [0; 1500];
/// loop {
///     let datagram = socket.recv_from(&mut buffer).await;
///     // From the address that was asked: the machine may have several.
///     socket.send_from(&buffer[..datagram.len], datagram.to, datagram.from).await?;
/// }
/// # #[allow(unreachable_code)] Ok::<(), unikernel_rt::Error>(())
/// # });
/// # let asking = client.udp(0)?;
/// # asking.send_to(b"ping", "10.0.0.2:9000".parse()?).await?;
/// # let mut buffer = [0; 1500];
/// # let datagram = asking.recv_from(&mut buffer).await;
/// # assert_eq!((&buffer[..datagram.len], datagram.from), (&b"ping"[..], "10.0.0.2:9000".parse()?));
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct UdpSocket {
    shared: Rc<Shared>,
    id: u32,
    port: u16,
}

/// What is known of a received datagram.
///
/// The buffer may be too small for it:
///
/// ```
/// # unikernel_rt::sim::run("", async {
#[doc = include_str!("pair.md")]
/// let (sender, receiver) = (client.udp(0)?, server.udp(9000)?);
/// sender.send_to(b"a long message", "10.0.0.2:9000".parse()?).await?;
///
/// let mut buffer = [0; 6];
/// let datagram = receiver.recv_from(&mut buffer).await;
/// assert_eq!(&buffer[..datagram.len], b"a long");
/// assert_eq!(datagram.whole_len, 14);
/// assert_eq!(datagram.from.port(), sender.local_port());
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// How much of it is in the buffer.
    pub len: usize,
    /// How long it was. More than `len`: the rest is lost.
    pub whole_len: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// To which address: the machine's, a group, or a broadcast address.
    pub to: IpAddr,
}

impl UdpSocket {
    pub(crate) fn new(shared: Rc<Shared>, id: u32, port: u16) -> UdpSocket {
        UdpSocket { shared, id, port }
    }

    /// The port it receives on.
    pub fn local_port(&self) -> u16 {
        self.port
    }

    /// Sends a datagram; to a broadcast address or a group, too. Waits while the network port is full. Cancel safe: a
    /// dropped future sent nothing.
    ///
    /// That it was sent does not say that it arrives.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send_to(&self, data: &[u8], to: SocketAddr) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_send_to(cx, data, to)).await
    }

    /// The same from `from`, an address of the machine: for answers that must come from where the question went to.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; there is no way to `to` from an address that is not that port's.
    pub async fn send_from(&self, data: &[u8], from: IpAddr, to: SocketAddr) -> Result<(), SendError> {
        poll_fn(|cx| self.shared.net.borrow_mut().poll_send(self.id, data, Some(from), to, cx.waker())).await
    }

    /// The next datagram. What does not fit the buffer is lost. Cancel safe: a dropped future took none.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Datagram {
        poll_fn(|cx| self.poll_recv_from(cx, buffer)).await
    }

    /// [`send_to`](Self::send_to) for futures written by hand.
    pub fn poll_send_to(&self, cx: &mut Context<'_>, data: &[u8], to: SocketAddr) -> Poll<Result<(), SendError>> {
        self.shared.net.borrow_mut().poll_send(self.id, data, None, to, cx.waker())
    }

    /// [`recv_from`](Self::recv_from) for futures written by hand.
    pub fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Datagram> {
        let arrival = self.shared.net.borrow_mut().poll_recv(self.id, buffer, cx.waker());
        arrival.map(|arrival| Datagram {
            len: arrival.len.min(buffer.len()),
            whole_len: arrival.len,
            from: arrival.from,
            to: arrival.to,
        })
    }

    /// Receives what is sent to `group`, too, on every network port (IGMP, MLD).
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    pub fn join(&self, group: IpAddr) -> Result<(), JoinError> {
        if !group.is_multicast() {
            return Err(JoinError::NotMulticast);
        }
        let joined = self.shared.net.borrow_mut().join(self.id, group, Instant::now(), &mut entropy::u64);
        if joined { Ok(()) } else { Err(JoinError::TooManyGroups) }
    }

    /// Ends a [`join`](Self::join). Does nothing if there was none.
    pub fn leave(&self, group: IpAddr) {
        self.shared.net.borrow_mut().leave(self.id, group, Instant::now(), &mut entropy::u64);
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.shared.net.borrow_mut().unbind(self.id, Instant::now(), &mut entropy::u64);
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket(port {})", self.port)
    }
}
