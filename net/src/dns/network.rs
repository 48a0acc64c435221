//! What the clients for names and time need of the network below them. The stack has it, and so have the tests.

use core::net::SocketAddr;
use embedded_io_async::{Read, Write};

/// Sockets and connections.
pub(crate) trait Network: Clone + 'static {
    type Socket: Datagrams;
    type Stream: Read + Write;

    /// A socket on a random free port; `None` when there is none. Dropping it closes it.
    fn udp(&self) -> Option<Self::Socket>;

    /// A connection; `None` when it cannot be made. It may take for ever; dropping the future gives up.
    async fn tcp(&self, peer: SocketAddr) -> Option<Self::Stream>;
}

/// A UDP socket.
pub(crate) trait Datagrams {
    /// Sends a datagram; false when there is no way to `peer`.
    async fn send_to(&self, data: &[u8], peer: SocketAddr) -> bool;

    /// The next datagram, cut to the buffer's length, and where it came from. Cancel safe.
    async fn receive_from(&self, buffer: &mut [u8]) -> (usize, SocketAddr);
}
