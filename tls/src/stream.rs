//! A connection as a byte stream: [`TlsStream`] and its halves.

use crate::{
    error::TlsError,
    info::Info,
    receiver::{Found, Receiver},
    sender::Sender,
};
use alloc::boxed::Box;
use core::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};
use embedded_io_async::{BufRead, ErrorType, Read, Write};

/// A TLS connection over a byte stream.
///
/// - [`Read::read`] returns `Ok(0)` after the peer's `close_notify`, and [`TlsError::Truncated`] when the stream ends
///   without. Cancel safe if reading and writing the stream below are (those of `unikernel-net` are): a dropped future
///   took nothing. While it waits it also sends what the protocol asks for (new keys, alerts).
/// - [`Write::write`] first sends what it still has, then encrypts up to 16 KiB, and returns without waiting for the
///   stream to take that: [`flush`](Write::flush) sends it. Cancel safe: a dropped future took nothing of `data`.
/// - [`close`](Self::close) says that nothing follows. A stream that is dropped without looks cut off to its peer.
///
/// An idle connection holds a few hundred bytes and its keys; up to 17 KiB each way while data passes.
///
/// A question and its answer:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use embedded_io_async::{Read, Write};
///
#[doc = include_str!("pair.md")]
/// # let acceptor = unikernel_tls::TlsAcceptor::new(unikernel_tls::Identity::from_pem(pem)?)?;
/// # let mut listener = server.listen(5432)?;
/// # unikernel_rt::spawn(async move {
/// #     let mut tls = acceptor.accept(listener.accept().await).await?;
/// #     let mut bytes = [0; 4]; tls.read_exact(&mut bytes).await.unwrap(); tls.write_all(b"pong").await?;
/// #     tls.close().await
/// # });
/// # let connector = unikernel_tls::TlsConnector::new(unikernel_tls::Roots::from_pem(ca)?)?;
/// # let mut tls = connector.connect("db.example.org", client.connect("10.0.0.2:5432".parse()?).await?).await?;
/// tls.write_all(b"ping").await?;
/// tls.flush().await?; // Nothing has to be on its way before that.
///
/// let mut answer = [0; 4];
/// tls.read_exact(&mut answer).await?;
/// assert_eq!(&answer, b"pong");
/// assert_eq!(tls.read(&mut answer).await?, 0, "the server said that nothing follows");
/// tls.close().await?;
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct TlsStream<S> {
    stream: S,
    receiver: Receiver,
    sender: Sender,
    info: Box<Info>,
}

/// The reading half of a [`TlsStream`].
///
/// What the protocol asks it to send (new keys, alerts) goes out with the next write of the other half.
pub struct TlsReadHalf<R> {
    stream: R,
    receiver: Receiver,
}

/// The writing half of a [`TlsStream`].
pub struct TlsWriteHalf<W> {
    stream: W,
    sender: Sender,
}

impl<S: Read + Write> TlsStream<S> {
    pub(crate) fn new(stream: S, sender: Sender, receiver: Receiver, info: Info) -> TlsStream<S> {
        TlsStream { stream, receiver, sender, info: Box::new(info) }
    }

    /// What the handshake settled: version, ALPN, names, certificates.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The stream below, for example to ask for the peer's address. Reading or writing it breaks the connection.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Sends what was written, and `close_notify` after it. Writing fails from now on; reading goes on. Does nothing
    /// more the second time. Cancel safe: may be called again.
    pub async fn close(&mut self) -> Result<(), TlsError> {
        self.sender.close();
        send(&mut self.stream, &mut self.sender).await?;
        self.stream.flush().await.map_err(TlsError::stream)
    }

    /// Two halves that two tasks can use; `split` does the same to the stream below.
    pub fn split<R: Read, W: Write>(self, split: impl FnOnce(S) -> (R, W)) -> (TlsReadHalf<R>, TlsWriteHalf<W>) {
        let (reading, writing) = split(self.stream);
        (
            TlsReadHalf { stream: reading, receiver: self.receiver },
            TlsWriteHalf { stream: writing, sender: self.sender },
        )
    }

    /// Reads until there is plaintext; `false` at the end.
    async fn fill(&mut self, wanted: usize) -> Result<bool, TlsError> {
        loop {
            match self.receiver.advance() {
                Ok(Found::Data) => return Ok(true),
                Ok(Found::End) => return Ok(false),
                Ok(Found::Nothing) => {}
                Err(error) => {
                    // The alert is a courtesy: its own failure would hide the reason.
                    let _ = send(&mut self.stream, &mut self.sender).await;
                    return Err(error);
                }
            }
            send(&mut self.stream, &mut self.sender).await?;
            receive(&mut self.stream, &mut self.receiver, wanted).await?;
        }
    }
}

impl<W: Write> TlsWriteHalf<W> {
    /// See [`TlsStream::close`].
    pub async fn close(&mut self) -> Result<(), TlsError> {
        self.sender.close();
        send(&mut self.stream, &mut self.sender).await?;
        self.stream.flush().await.map_err(TlsError::stream)
    }
}

impl<R: Read> TlsReadHalf<R> {
    async fn fill(&mut self, wanted: usize) -> Result<bool, TlsError> {
        loop {
            match self.receiver.advance()? {
                Found::Data => return Ok(true),
                Found::End => return Ok(false),
                Found::Nothing => receive(&mut self.stream, &mut self.receiver, wanted).await?,
            }
        }
    }
}

/// Hands everything that is due to the stream.
async fn send<W: Write>(stream: &mut W, sender: &mut Sender) -> Result<(), TlsError> {
    loop {
        let due = sender.due()?;
        if due.is_empty() {
            return Ok(());
        }
        let len = stream.write(due).await.map_err(TlsError::stream)?;
        if len == 0 {
            return Err(TlsError::Stream(embedded_io_async::ErrorKind::WriteZero));
        }
        sender.sent(len);
    }
}

/// Reads the stream once. Whoever wants much gets room for a whole record, as long as there is something to read.
async fn receive<R: Read>(stream: &mut R, receiver: &mut Receiver, wanted: usize) -> Result<(), TlsError> {
    if wanted > crate::limits::IDLE_BUFFER_LEN {
        receiver.expect_much();
    }
    let at_once = {
        let mut read = pin!(stream.read(receiver.space()));
        poll_fn(|cx| match read.as_mut().poll(cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    };
    let read = match at_once {
        Some(read) => read,
        None => {
            receiver.idle();
            stream.read(receiver.space()).await
        }
    };
    match read.map_err(TlsError::stream)? {
        0 => Err(receiver.end_of_stream()),
        len => {
            receiver.filled(len);
            Ok(())
        }
    }
}

async fn write<W: Write>(stream: &mut W, sender: &mut Sender, data: &[u8]) -> Result<usize, TlsError> {
    if data.is_empty() {
        return Ok(0);
    }
    // A few bytes of the handshake's end go with the first data.
    if !sender.is_short() {
        send(stream, sender).await?;
    }
    sender.seal(data)
}

async fn flush<W: Write>(stream: &mut W, sender: &mut Sender) -> Result<(), TlsError> {
    send(stream, sender).await?;
    stream.flush().await.map_err(TlsError::stream)
}

fn take(receiver: &mut Receiver, buffer: &mut [u8]) -> usize {
    let plain = receiver.plain();
    let len = plain.len().min(buffer.len());
    buffer[..len].copy_from_slice(&plain[..len]);
    receiver.consume(len);
    len
}

impl<S> ErrorType for TlsStream<S> {
    type Error = TlsError;
}
impl<R> ErrorType for TlsReadHalf<R> {
    type Error = TlsError;
}
impl<W> ErrorType for TlsWriteHalf<W> {
    type Error = TlsError;
}

impl<S: Read + Write> Read for TlsStream<S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        if buffer.is_empty() || !self.fill(buffer.len()).await? {
            return Ok(0);
        }
        Ok(take(&mut self.receiver, buffer))
    }
}

impl<S: Read + Write> BufRead for TlsStream<S> {
    async fn fill_buf(&mut self) -> Result<&[u8], TlsError> {
        self.fill(crate::limits::RECORD_LEN_MAX).await?;
        Ok(self.receiver.plain())
    }

    fn consume(&mut self, len: usize) {
        self.receiver.consume(len);
    }
}

impl<R: Read> Read for TlsReadHalf<R> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        if buffer.is_empty() || !self.fill(buffer.len()).await? {
            return Ok(0);
        }
        Ok(take(&mut self.receiver, buffer))
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    async fn write(&mut self, data: &[u8]) -> Result<usize, TlsError> {
        write(&mut self.stream, &mut self.sender, data).await
    }

    async fn flush(&mut self) -> Result<(), TlsError> {
        flush(&mut self.stream, &mut self.sender).await
    }
}

impl<W: Write> Write for TlsWriteHalf<W> {
    async fn write(&mut self, data: &[u8]) -> Result<usize, TlsError> {
        write(&mut self.stream, &mut self.sender, data).await
    }

    async fn flush(&mut self) -> Result<(), TlsError> {
        flush(&mut self.stream, &mut self.sender).await
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("info", &self.info).finish_non_exhaustive()
    }
}
