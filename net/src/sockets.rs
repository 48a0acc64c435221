//! The sockets of the stack as a list, in pages: [`Stack::sockets`](crate::Stack::sockets).

use crate::{half_open::Handshake, tcp::State, time_wait::Record};
use alloc::vec::Vec;
use core::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

/// A socket at one moment. See [`SocketPage`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketInfo {
    /// Its state, which tells the protocol, too.
    pub state: SocketState,
    /// This machine's end; the address is unspecified where all are meant.
    pub local: SocketAddr,
    /// The other end, if there is one.
    pub peer: Option<SocketAddr>,
    /// Whose it is, for connections.
    pub owner: SocketOwner,
    /// Bytes received that nobody has read; for a listener, connections that nobody has accepted.
    pub receive_queue: usize,
    /// Bytes that the peer has not acknowledged; for a listener, how many connections may wait.
    pub send_queue: usize,
    /// How often data had to be sent again.
    pub retransmits: u32,
    /// The time to the peer and back, smoothed, once it was measured.
    pub round_trip: Option<Duration>,
    /// How much may be on its way, in bytes.
    pub congestion_window: u32,
}

/// What a socket is, or how far a connection is (RFC 9293, 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SocketState {
    /// For datagrams.
    Udp,
    Listen,
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOwner {
    /// The stack's: a handshake, or what is remembered of a connection.
    Stack,
    /// It waits for `accept`.
    Backlog,
    /// The application's.
    App,
    /// The application has dropped it; the stack ends it.
    Nobody,
}

/// Some sockets, and where the others begin.
///
/// All of them, a page at a time:
///
/// ```
/// # unikernel_rt::sim::run("", async {
#[doc = include_str!("pair.md")]
/// # let mut listener = server.listen(7)?;
/// # let _near = client.connect("10.0.0.2:7".parse()?).await?;
/// # let _far = listener.accept().await;
/// let (mut lines, mut from) = (Vec::new(), Some(0));
/// while let Some(start) = from {
///     let page = server.sockets(start, 100);
///     lines.extend(page.sockets.iter().map(|socket| format!("{} {}", socket.state, socket.local)));
///     from = page.next;
/// }
/// assert_eq!(lines[0], "LISTEN [::]:7");
/// assert!(lines.contains(&String::from("ESTABLISHED 10.0.0.2:7")), "{lines:?}");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPage {
    /// Listeners, sockets for datagrams, handshakes, connections, and connections that are over, in this order: what becomes
    /// the next while the pages are read may be on two.
    pub sockets: Vec<SocketInfo>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<u64>,
}

impl fmt::Display for SocketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SocketState::Udp => "UDP",
            SocketState::Listen => "LISTEN",
            SocketState::SynSent => "SYN-SENT",
            SocketState::SynReceived => "SYN-RECEIVED",
            SocketState::Established => "ESTABLISHED",
            SocketState::FinWait1 => "FIN-WAIT-1",
            SocketState::FinWait2 => "FIN-WAIT-2",
            SocketState::CloseWait => "CLOSE-WAIT",
            SocketState::Closing => "CLOSING",
            SocketState::LastAck => "LAST-ACK",
            SocketState::TimeWait => "TIME-WAIT",
            SocketState::Closed => "CLOSED",
        })
    }
}

impl fmt::Display for SocketOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SocketOwner::Stack => "stack",
            SocketOwner::Backlog => "backlog",
            SocketOwner::App => "app",
            SocketOwner::Nobody => "nobody",
        })
    }
}

impl From<State> for SocketState {
    fn from(state: State) -> SocketState {
        match state {
            State::SynSent => SocketState::SynSent,
            State::SynReceived => SocketState::SynReceived,
            State::Established => SocketState::Established,
            State::FinWait1 => SocketState::FinWait1,
            State::FinWait2 => SocketState::FinWait2,
            State::CloseWait => SocketState::CloseWait,
            State::Closing => SocketState::Closing,
            State::LastAck => SocketState::LastAck,
            State::TimeWait => SocketState::TimeWait,
            State::Closed => SocketState::Closed,
        }
    }
}

impl SocketInfo {
    /// One that has nothing but a state and an address.
    pub(crate) fn new(state: SocketState, local: SocketAddr, peer: Option<SocketAddr>) -> SocketInfo {
        SocketInfo {
            state,
            local,
            peer,
            owner: SocketOwner::Stack,
            receive_queue: 0,
            send_queue: 0,
            retransmits: 0,
            round_trip: None,
            congestion_window: 0,
        }
    }

    /// One that takes what comes to a port of any address.
    pub(crate) fn on_port(state: SocketState, port: u16) -> SocketInfo {
        let local = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        SocketInfo { owner: SocketOwner::App, ..SocketInfo::new(state, local, None) }
    }
}

impl From<&Handshake> for SocketInfo {
    fn from(handshake: &Handshake) -> SocketInfo {
        let key = &handshake.key;
        let retransmits = handshake.repeats.into();
        SocketInfo { retransmits, ..SocketInfo::new(SocketState::SynReceived, key.local(), Some(key.peer())) }
    }
}

impl From<&Record> for SocketInfo {
    fn from(record: &Record) -> SocketInfo {
        SocketInfo::new(SocketState::TimeWait, record.key.local(), Some(record.key.peer()))
    }
}
