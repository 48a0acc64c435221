//! What can go wrong, in the words of someone who uses a connection.

use crate::dns::LookupError;
use core::fmt;
use embedded_io_async::ErrorKind;

/// Why a [`Stream`](crate::Stream) cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The peer reset the connection, or has forgotten it.
    Reset,
    /// The peer acknowledged nothing for the user timeout, or answered no keep-alive probe.
    TimedOut,
    /// This side has closed its direction or aborted the connection.
    Closed,
    /// The machine lost the address that the connection was made with.
    AddressLost,
    /// A router, or the peer's silence on the network, says that there is no way to it.
    Unreachable,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Reset => "the peer reset the connection",
            Error::TimedOut => "the peer no longer answers",
            Error::Closed => "this side has closed the connection",
            Error::AddressLost => "the machine's address changed",
            Error::Unreachable => "there is no way to the peer",
        })
    }
}

impl core::error::Error for Error {}

impl embedded_io_async::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Error::Reset => ErrorKind::ConnectionReset,
            Error::TimedOut => ErrorKind::TimedOut,
            Error::Closed => ErrorKind::BrokenPipe,
            Error::AddressLost => ErrorKind::ConnectionAborted,
            Error::Unreachable => ErrorKind::AddrNotAvailable,
        }
    }
}

/// Why a port cannot be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// There is a listener on it.
    PortInUse(u16),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError::PortInUse(port) = self;
        write!(
            f,
            "port {port} is in use: this machine already listens on it; drop that listener or choose another port"
        )
    }
}

impl core::error::Error for ListenError {}

/// Why a connection cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The peer answered with a reset: nobody listens there.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// There is no way to that address: it is this machine's own, not a host's, outside of the network while no
    /// gateway is known, or a router said so.
    Unreachable,
    /// The machine has no address yet; wait for [`Stack::configured`](crate::Stack::configured).
    NotConfigured,
    /// As many connections as allowed are open, or every outgoing port is in use.
    TooManyConnections,
    /// The host's name has no address.
    Name(LookupError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectError::Name(error) => return fmt::Display::fmt(error, f),
            ConnectError::Refused => "connection refused: nobody listens on that port",
            ConnectError::TimedOut => "the peer did not answer in time",
            ConnectError::Unreachable => "no way to that address; does it need a gateway (`gw=ADDR`, `gw6=ADDR`)?",
            ConnectError::NotConfigured => "this machine has no address yet; await `Stack::configured` first",
            ConnectError::TooManyConnections => {
                "too many connections; raise the bound with `net.connections=N` or give the machine more memory"
            }
        })
    }
}

impl core::error::Error for ConnectError {}

/// Why a datagram cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no way to that address.
    Unreachable,
    /// The machine has no address yet.
    NotConfigured,
    /// It does not fit a packet of the network; datagrams are not cut into fragments.
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// The longest that fits.
        max: usize,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Unreachable => write!(f, "{}", ConnectError::Unreachable),
            SendError::NotConfigured => write!(f, "{}", ConnectError::NotConfigured),
            SendError::TooLong { len, max } => {
                write!(f, "a datagram of {len} bytes does not fit the network: send at most {max}")
            }
        }
    }
}

impl core::error::Error for SendError {}

impl embedded_io_async::Error for SendError {
    fn kind(&self) -> ErrorKind {
        match self {
            SendError::Unreachable => ErrorKind::AddrNotAvailable,
            SendError::NotConfigured => ErrorKind::NotConnected,
            SendError::TooLong { .. } => ErrorKind::InvalidInput,
        }
    }
}

/// Why a socket cannot join a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The address is not a group's (224.0.0.0/4, ff00::/8).
    NotMulticast,
    /// The socket or the machine has joined as many groups as it may.
    TooManyGroups,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinError::NotMulticast => "not the address of a group: expected one of 224.0.0.0/4 or ff00::/8",
            JoinError::TooManyGroups => "too many groups; leave one first",
        })
    }
}

impl core::error::Error for JoinError {}
