//! A byte stream in memory, certificates made on the spot, and connections between the two.
#![allow(dead_code, missing_docs)] // Every test file uses its own part of it.

pub mod pki;

use embedded_io_async::{ErrorType, Read, Write};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};
use unikernel_rt::future::join;
use unikernel_tls::{TlsAcceptor, TlsConnector, TlsError, TlsStream};

/// One direction: bytes on their way, at most `capacity`.
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// One end of a connection. Dropping it closes both directions.
pub struct Wire {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
    /// The longest read; the number of bytes sent so far.
    read_max: usize,
    pub sent: Rc<Cell<usize>>,
}

/// A connection; each direction holds `capacity` bytes.
pub fn wires(capacity: usize) -> (Wire, Wire) {
    let pipe = || Rc::new(RefCell::new(Pipe { bytes: VecDeque::new(), capacity, is_closed: false, wakers: vec![] }));
    let (a, b) = (pipe(), pipe());
    let wire = |incoming, outgoing| Wire { incoming, outgoing, read_max: usize::MAX, sent: Rc::default() };
    (wire(a.clone(), b.clone()), wire(b, a))
}

impl ErrorType for Wire {
    type Error = Infallible;
}

impl Read for Wire {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|cx| {
            let mut pipe = self.incoming.borrow_mut();
            if pipe.bytes.is_empty() && !pipe.is_closed {
                pipe.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            let len = pipe.bytes.len().min(buffer.len()).min(self.read_max);
            for (to, from) in buffer.iter_mut().zip(pipe.bytes.drain(..len)) {
                *to = from;
            }
            pipe.wake();
            Poll::Ready(Ok(len))
        })
        .await
    }
}

impl Write for Wire {
    async fn write(&mut self, data: &[u8]) -> Result<usize, Infallible> {
        poll_fn(|cx| {
            let mut pipe = self.outgoing.borrow_mut();
            if pipe.is_closed {
                // Nobody reads any more; as with TCP, that shows later or never.
                return Poll::Ready(Ok(data.len()));
            }
            let len = data.len().min(pipe.capacity - pipe.bytes.len());
            if len == 0 {
                pipe.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            pipe.bytes.extend(&data[..len]);
            pipe.wake();
            self.sent.set(self.sent.get() + len);
            Poll::Ready(Ok(len))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Wire {
    /// No more than `len` bytes come with one read.
    pub fn trickling(mut self, len: usize) -> Wire {
        self.read_max = len;
        self
    }

    /// The end of the bytes to the other end, without a word of TLS.
    pub fn cut(&self) {
        let mut pipe = self.outgoing.borrow_mut();
        pipe.is_closed = true;
        pipe.wake();
    }

    /// The bytes that wait for the other end; what `edit` leaves is what it gets.
    pub fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut pipe = self.outgoing.borrow_mut();
        let mut bytes: Vec<u8> = pipe.bytes.drain(..).collect();
        edit(&mut bytes);
        pipe.bytes = bytes.into();
        pipe.wake();
    }

    /// Two halves of the same wire.
    pub fn split(mut self) -> (Wire, Wire) {
        let copy = self.split_off();
        (self, copy)
    }

    /// A second handle of the same end.
    pub fn split_off(&mut self) -> Wire {
        Wire {
            incoming: self.incoming.clone(),
            outgoing: self.outgoing.clone(),
            read_max: self.read_max,
            sent: self.sent.clone(),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A half that is left keeps the pipe.
        if Rc::strong_count(&self.outgoing) <= 2 {
            for pipe in [&self.incoming, &self.outgoing] {
                pipe.borrow_mut().is_closed = true;
                pipe.borrow_mut().wake();
            }
        }
    }
}

pub type Outcome = Result<TlsStream<Wire>, TlsError>;

/// A handshake in memory: what the server and the client make of it.
pub async fn shake(acceptor: &TlsAcceptor, connector: &TlsConnector, name: &str) -> (Outcome, Outcome) {
    let (server, client) = wires(64 * 1024);
    join(acceptor.accept(server), connector.connect(name, client)).await
}

/// A connection in memory.
pub async fn connected(
    acceptor: &TlsAcceptor,
    connector: &TlsConnector,
    name: &str,
) -> (TlsStream<Wire>, TlsStream<Wire>) {
    let (server, client) = shake(acceptor, connector, name).await;
    (server.unwrap(), client.unwrap())
}

/// Sends `data` one way; it must arrive as it was, and be told apart from the next.
pub async fn pass(from: &mut TlsStream<Wire>, to: &mut TlsStream<Wire>, data: &[u8]) {
    let send = async {
        from.write_all(data).await.unwrap();
        from.flush().await.unwrap();
    };
    let mut received = vec![0; data.len()];
    join(send, async { to.read_exact(&mut received).await.unwrap() }).await;
    assert!(received == data, "{} bytes", data.len());
}
