//! One TCP connection in smoltcp: a set that holds one socket, used again and again.

use super::{Engine, engine_duration};
use crate::{
    flow_map::FlowKey,
    limits::{LARGE_BUFFER_LEN, RX_BUFFER_LEN, TX_BUFFER_LEN},
};
use alloc::vec;
use core::task::Waker;
use smoltcp::{
    iface::{SocketHandle, SocketSet},
    socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State},
};
use unikernel_rt::time::Duration;

/// How large the buffers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Ordinary,
    Large,
}

/// A transmission control block with its buffers.
pub(crate) struct Tcb {
    set: SocketSet<'static>,
    handle: SocketHandle,
}

/// What a read found when there is no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoData {
    /// More may come.
    NotYet,
    /// The peer has sent its FIN, and everything before it was read.
    Finished,
    /// The connection is gone.
    Gone,
}

impl Tcb {
    pub(crate) fn new(size: Size) -> Tcb {
        let (rx, tx) = match size {
            Size::Ordinary => (RX_BUFFER_LEN, TX_BUFFER_LEN),
            Size::Large => (LARGE_BUFFER_LEN, LARGE_BUFFER_LEN),
        };
        let socket = Socket::new(SocketBuffer::new(vec![0; rx]), SocketBuffer::new(vec![0; tx]));
        let mut set = SocketSet::new(vec::Vec::with_capacity(1));
        let handle = set.add(socket);
        Tcb { set, handle }
    }

    /// What all connections of this size take, without the tables.
    #[cfg(test)]
    pub(crate) fn memory_len(size: Size) -> usize {
        let buffers = match size {
            Size::Ordinary => RX_BUFFER_LEN + TX_BUFFER_LEN,
            Size::Large => 2 * LARGE_BUFFER_LEN,
        };
        buffers + size_of::<smoltcp::iface::SocketStorage<'static>>()
    }

    #[inline]
    pub(super) fn set(&mut self) -> &mut SocketSet<'static> {
        &mut self.set
    }

    #[inline]
    fn socket(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// Makes it ready for a SYN to `port`, whatever it was before.
    pub(crate) fn listen(&mut self, port: u16) {
        let socket = self.clean();
        socket.listen(port).expect("the socket is closed and the port is not zero");
    }

    /// Makes it ask for a connection. False when smoltcp finds the addresses impossible.
    pub(crate) fn connect(&mut self, engine: &mut Engine, key: &FlowKey) -> bool {
        let socket = self.clean();
        socket.connect(engine.ether.context(), key.peer(), key.local()).is_ok()
    }

    /// What `listen` and `connect` do not reset. What they both leave (a pending fast retransmit, the last
    /// numbers seen) cannot matter to a connection with an empty send buffer: read from smoltcp 0.14's source.
    fn clean(&mut self) -> &mut Socket<'static> {
        let socket = self.socket();
        socket.abort();
        socket.set_congestion_control(CongestionControl::Reno);
        // Answers are written whole, and the next one must not wait for the acknowledgement of the last.
        socket.set_nagle_enabled(false);
        socket.set_keep_alive(None);
        socket.set_timeout(None);
        socket
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        self.set.get::<Socket>(self.handle).state()
    }

    /// State, bytes received and not read, bytes written and not acknowledged.
    #[inline]
    pub(crate) fn look(&self) -> (State, usize, usize) {
        let socket = self.set.get::<Socket>(self.handle);
        (socket.state(), socket.recv_queue(), socket.send_queue())
    }

    /// Whether it still has a peer to send to: a closed one that has, owes it a reset.
    pub(crate) fn has_peer(&self) -> bool {
        self.set.get::<Socket>(self.handle).remote_endpoint().is_some()
    }

    /// Takes received data.
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8], waker: &Waker) -> Result<Taken, NoData> {
        let socket = self.socket();
        let queued = socket.recv_queue();
        let len = match take(socket, buffer) {
            Ok(0) => {
                socket.register_recv_waker(waker);
                return Err(NoData::NotYet);
            }
            // The buffer is a ring: the rest is at its other end.
            Ok(len) if len < queued && len < buffer.len() => len + take(socket, &mut buffer[len..]).unwrap_or(0),
            Ok(len) => len,
            Err(RecvError::Finished) => return Err(NoData::Finished),
            Err(RecvError::InvalidState) => return Err(NoData::Gone),
        };
        // A window that had shrunk to half or less may be worth telling the peer about.
        Ok(Taken { len, opens_window: queued * 2 >= socket.recv_capacity() })
    }

    /// Throws received data away. Returns how much.
    pub(crate) fn discard(&mut self) -> usize {
        let mut total = 0;
        // At most twice: the buffer is a ring.
        while let Ok(len @ 1..) = self.socket().recv(|data| (data.len(), data.len())) {
            total += len;
        }
        total
    }

    /// Takes data to send; `Ok(0)` when there is no room now, and then `waker` is called. None when this
    /// direction is closed.
    #[inline]
    pub(crate) fn write(&mut self, data: &[u8], waker: &Waker) -> Option<usize> {
        let mut written = 0;
        // Twice at most: the buffer is a ring.
        while written < data.len() {
            let rest = &data[written..];
            let socket = self.socket();
            let result = socket.send(|room| {
                let len = room.len().min(rest.len());
                room[..len].copy_from_slice(&rest[..len]);
                (len, len)
            });
            match result {
                Ok(0) if written == 0 => socket.register_send_waker(waker),
                Ok(len @ 1..) => {
                    written += len;
                    continue;
                }
                Ok(_) => {}
                Err(_) => return None,
            }
            break;
        }
        Some(written)
    }

    /// Calls `waker` at the next change of state or when data is acknowledged.
    pub(crate) fn wake_on_change(&mut self, waker: &Waker) {
        self.socket().register_send_waker(waker);
    }

    /// Sends a FIN after what was written.
    pub(crate) fn close(&mut self) {
        self.socket().close();
    }

    /// Forgets the connection without a word.
    pub(crate) fn vanish(&mut self) {
        self.listen(1);
        self.abort();
    }

    /// Sends a reset next.
    pub(crate) fn abort(&mut self) {
        self.socket().abort();
    }

    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        self.socket().set_nagle_enabled(!nodelay);
    }

    pub(crate) fn set_keep_alive(&mut self, interval: Option<Duration>) {
        self.socket().set_keep_alive(interval.map(engine_duration));
    }

    /// How long the peer may be silent. smoltcp also counts while nothing is expected of the peer, so this is
    /// set only while something is.
    #[inline]
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.socket().set_timeout(timeout.map(engine_duration));
    }
}

/// Takes what is in one piece.
#[inline]
fn take(socket: &mut Socket<'static>, buffer: &mut [u8]) -> Result<usize, RecvError> {
    socket.recv(|data| {
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        (len, len)
    })
}

/// What [`Tcb::read`] took.
pub(crate) struct Taken {
    pub(crate) len: usize,
    pub(crate) opens_window: bool,
}
