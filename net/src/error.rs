//! What can go wrong, in the words of someone who uses a connection.

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
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Reset => "the peer reset the connection",
            Error::TimedOut => "the peer no longer answers",
            Error::Closed => "this side has closed the connection",
            Error::AddressLost => "the machine's address changed",
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
    /// There is no way to that address: it is this machine's own, not a host's, or outside of the network and
    /// no gateway is known.
    Unreachable,
    /// The machine has no address yet; wait for [`Stack::configured`](crate::Stack::configured).
    NotConfigured,
    /// As many connections as allowed are open, or every outgoing port is in use.
    TooManyConnections,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectError::Refused => "connection refused: nobody listens on that port",
            ConnectError::TimedOut => "the peer did not answer in time",
            ConnectError::Unreachable => "no way to that address; does it need a gateway (`gw=ADDR`)?",
            ConnectError::NotConfigured => "this machine has no address yet; await `Stack::configured` first",
            ConnectError::TooManyConnections => {
                "too many connections; raise the bound with `net.connections=N` or give the machine more memory"
            }
        })
    }
}

impl core::error::Error for ConnectError {}
