//! A TCP connection as a byte stream: [`Stream`] and its halves.

use crate::{error::Error, stack::Shared};
use alloc::rc::Rc;
use core::{
    fmt,
    future::poll_fn,
    net::SocketAddr,
    task::{Context, Poll},
};
use embedded_io_async::{ErrorType, Read, Write};
use unikernel_rt::time::{Duration, Instant};

/// A TCP connection (RFC 9293).
///
/// - [`Read::read`] returns `Ok(0)` once everything before the peer's FIN was read, and an [`Error`] when the
///   connection broke; data that arrived before that is read first. Cancel safe: a dropped future took nothing.
/// - [`Write::write`] takes what fits into the send buffer, and waits while that is full. Cancel safe: a
///   dropped future wrote nothing. `write_all` is not: part of the data may be on its way.
/// - [`Write::flush`] returns at once: what was written belongs to the stack, which sends it as soon as the
///   calling task waits, as far as the peer's window lets it. That the peer has it, only the peer can tell.
/// - Dropping the stream closes it in good order: what was written is still sent, then a FIN. What the peer
///   sends after that is acknowledged and thrown away, up to [a bound](crate::limits::ORPHAN_DISCARD_LEN_MAX)
///   and [for some time](crate::limits::ORPHAN_TIME_MAX).
///
/// Segments are sent without waiting for the acknowledgement of earlier small ones (Nagle's algorithm is
/// off): answers are written whole.
///
/// A question, the end of it, and the whole answer:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_net::{Read, Write};
///
#[doc = include_str!("pair.md")]
/// # let mut listener = server.listen(7)?;
/// # unikernel_rt::spawn(async move {
/// #     let mut stream = listener.accept().await;
/// #     let (mut bytes, mut all) = ([0; 64], Vec::new());
/// #     while let Ok(len @ 1..) = stream.read(&mut bytes).await {
/// #         all.extend(bytes[..len].to_ascii_uppercase());
/// #     }
/// #     let _ = stream.write_all(&all).await;
/// # });
/// let mut stream = client.connect("10.0.0.2:7".parse()?).await?;
/// stream.write_all(b"what do you think?").await?;
/// stream.shutdown();
///
/// let (mut answer, mut bytes) = (Vec::new(), [0; 1024]);
/// while let len @ 1.. = stream.read(&mut bytes).await? {
///     answer.extend_from_slice(&bytes[..len]);
/// }
/// assert_eq!(answer, b"WHAT DO YOU THINK?");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct Stream {
    handle: Handle,
}

/// The reading half of a [`Stream`]; the stream closes when both halves are dropped. See [`Stream::split`] for an
/// example.
pub struct ReadHalf {
    handle: Handle,
}

/// The writing half of a [`Stream`]. Dropping it is a [`shutdown`](Self::shutdown). See [`Stream::split`] for an
/// example.
pub struct WriteHalf {
    handle: Handle,
}

/// Keeps a flow alive.
pub(crate) struct Handle {
    shared: Rc<Shared>,
    id: u32,
}

impl Handle {
    /// Takes over one ownership of the flow.
    pub(crate) fn new(shared: Rc<Shared>, id: u32) -> Handle {
        Handle { shared, id }
    }

    fn duplicate(&self) -> Handle {
        self.shared.net.borrow_mut().add_owner(self.id);
        Handle { shared: self.shared.clone(), id: self.id }
    }

    #[inline]
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Error>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.shared.net.borrow_mut().poll_read(self.id, buffer, cx.waker())
    }

    #[inline]
    fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Error>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.shared.net.borrow_mut().poll_write(self.id, data, cx.waker())
    }

    fn flush(&self) -> Result<(), Error> {
        match self.shared.net.borrow().end(self.id) {
            Some(error) if error != Error::Closed => Err(error),
            _ => Ok(()),
        }
    }

    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let key = self.shared.net.borrow().key(self.id);
        (key.local(), key.peer())
    }

    fn shutdown(&self) {
        self.shared.net.borrow_mut().shutdown(self.id);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.net.borrow_mut().release(self.id, Instant::now());
    }
}

impl Stream {
    pub(crate) fn new(handle: Handle) -> Stream {
        Stream { handle }
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.handle.addresses().1
    }

    /// This end.
    pub fn local(&self) -> SocketAddr {
        self.handle.addresses().0
    }

    /// Two halves that two tasks can use. Reading and writing wake their own task.
    ///
    /// ```
    /// # unikernel_rt::sim::run("", async {
    /// use unikernel_net::{Read, Write};
    ///
    #[doc = include_str!("pair.md")]
    /// # let mut listener = server.listen(7)?;
    /// # unikernel_rt::spawn(async move {
    /// #     let mut stream = listener.accept().await;
    /// #     let mut bytes = [0; 64];
    /// #     while let Ok(len @ 1..) = stream.read(&mut bytes).await {
    /// #         let _ = stream.write_all(&bytes[..len]).await;
    /// #     }
    /// # });
    /// let (mut reading, mut writing) = client.connect("10.0.0.2:7".parse()?).await?.split();
    /// let writer = unikernel_rt::spawn(async move { writing.write_all(&[7; 300_000]).await });
    ///
    /// // Nobody could send that much into an echo without reading at the same time.
    /// let (mut total, mut bytes) = (0, [0; 1024]);
    /// while let len @ 1.. = reading.read(&mut bytes).await? {
    ///     total += len;
    /// }
    /// assert_eq!(writer.await, Some(Ok(())));
    /// assert_eq!(total, 300_000);
    /// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
    /// ```
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf { handle: self.handle.duplicate() }, WriteHalf { handle: self.handle })
    }

    /// Ends the direction to the peer: after what was written, a FIN is sent. Reading goes on. Writing fails
    /// from now on. Does nothing the second time.
    pub fn shutdown(&mut self) {
        self.handle.shutdown();
    }

    /// Ends the connection at once, with a reset. What was not yet sent is lost.
    pub fn abort(self) {
        self.handle.shared.net.borrow_mut().abort(self.handle.id);
    }

    /// With an interval: after that long without a packet the peer is asked whether it is there, and when it
    /// has been silent for [a few](crate::limits::KEEP_ALIVE_INTERVALS) intervals the connection ends with
    /// [`Error::TimedOut`]. `None` (the default): an idle connection lives as long as both sides want.
    pub fn set_keep_alive(&mut self, interval: Option<Duration>) {
        self.handle.shared.net.borrow_mut().set_keep_alive(self.handle.id, interval, Instant::now());
    }

    /// How long written data may stay unacknowledged before the connection ends with [`Error::TimedOut`] (RFC
    /// 5482). [`USER_TIMEOUT`](crate::limits::USER_TIMEOUT) unless set; `None`: for ever.
    pub fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.handle.shared.net.borrow_mut().set_user_timeout(self.handle.id, timeout);
    }

    /// `false` turns Nagle's algorithm on (RFC 896): short segments wait while earlier data is on its way.
    pub fn set_nodelay(&mut self, nodelay: bool) {
        self.handle.shared.net.borrow_mut().set_nodelay(self.handle.id, nodelay);
    }

    /// [`Read::read`] for futures written by hand.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Error>> {
        self.handle.poll_read(cx, buffer)
    }

    /// [`Write::write`] for futures written by hand.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Error>> {
        self.handle.poll_write(cx, data)
    }
}

impl WriteHalf {
    /// See [`Stream::shutdown`].
    pub fn shutdown(&mut self) {
        self.handle.shutdown();
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} from {})", self.local(), self.peer())
    }
}

impl ErrorType for Stream {
    type Error = Error;
}
impl ErrorType for ReadHalf {
    type Error = Error;
}
impl ErrorType for WriteHalf {
    type Error = Error;
}

impl Read for Stream {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.handle.poll_read(cx, buffer)).await
    }
}

impl Read for ReadHalf {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.handle.poll_read(cx, buffer)).await
    }
}

impl Write for Stream {
    async fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.handle.poll_write(cx, data)).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.handle.flush()
    }
}

impl Write for WriteHalf {
    async fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.handle.poll_write(cx, data)).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.handle.flush()
    }
}
