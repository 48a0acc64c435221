//! How a client gets to a server: [`Connect`] for a byte stream, [`Secure`] for TLS over it.

use alloc::{boxed::Box, format, string::String};
use core::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Why there is no connection.
#[derive(Debug)]
pub struct ConnectError(String);

impl ConnectError {
    /// An error that says `reason`: a sentence.
    pub fn new(reason: impl fmt::Display) -> ConnectError {
        ConnectError(format!("{reason}"))
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ConnectError {}

/// Makes connections: a [`Stack`](unikernel_net::Stack), or a type of yours.
///
/// The streams must be cancel safe in both directions: a future of `read` or `write` that is dropped while it waits
/// has done nothing, and the task it was polled by is woken all the same. Those of unikernel-net are.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::client::{Client, Connect, ConnectError, Target};
/// use unikernel_net::{Stack, Stream};
/// # use unikernel_http::{Router, get};
///
/// /// Reaches one server, whatever its name.
/// struct Only(Stack);
///
/// impl Connect for Only {
///     type Stream = Stream;
///
///     async fn connect(&self, target: &Target) -> Result<Stream, ConnectError> {
///         self.0.connect(([10, 0, 0, 2], target.port).into()).await.map_err(ConnectError::new)
///     }
/// }
///
/// # let router: Router = Router::new().route("/", get(async || "hello"));
#[doc = include_str!("../served.md")]
/// let client = Client::new(Only(stack));
/// assert_eq!(client.get("http://shop.test/").send().await?.text().await?, "hello");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub trait Connect: 'static {
    /// A connection.
    type Stream: Read + Write + 'static;

    /// Connects. Dropping the future gives up.
    ///
    /// # Errors
    ///
    /// There is no way to the target.
    fn connect(&self, target: &Target) -> impl Future<Output = Result<Self::Stream, ConnectError>>;
}

/// Puts TLS over connections: a `TlsConnector` of unikernel-tls, with the feature `tls`.
pub trait Secure: 'static {
    /// An encrypted connection; cancel safe as those of [`Connect`], and its `read` returns `Ok(0)` after a
    /// `close_notify` only: a connection that was cut off is an error.
    type Stream: Read + Write + 'static;

    /// Greets the server as `host` over `stream`, and checks who answers. Dropping the future gives up.
    ///
    /// # Errors
    ///
    /// The server is not who it should be, or TLS failed.
    fn secure(&self, host: &str, stream: BoxStream) -> impl Future<Output = Result<Self::Stream, ConnectError>>;
}

/// Names are looked up, and of several addresses the first that answers is taken.
impl Connect for unikernel_net::Stack {
    type Stream = unikernel_net::Stream;

    async fn connect(&self, target: &Target) -> Result<unikernel_net::Stream, ConnectError> {
        self.connect_host(&target.host, target.port).await.map_err(ConnectError::new)
    }
}

#[cfg(feature = "tls")]
impl Secure for unikernel_tls::TlsConnector {
    type Stream = unikernel_tls::TlsStream<BoxStream>;

    async fn secure(&self, host: &str, stream: BoxStream) -> Result<Self::Stream, ConnectError> {
        unikernel_tls::TlsConnector::connect(self, host, stream).await.map_err(ConnectError::new)
    }
}

/// A byte stream whose type is forgotten, so that one client speaks over plain and over encrypted connections.
pub struct BoxStream(Box<dyn PollStream>);

/// The error of a [`BoxStream`]: what kind of error that of the stream was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamError(pub ErrorKind);

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection failed: {:?}", self.0)
    }
}

impl core::error::Error for StreamError {}

impl embedded_io_async::Error for StreamError {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

impl BoxStream {
    /// Forgets the type of `stream`, which is cancel safe as [`Connect`] asks for.
    pub fn new<S: Read + Write + 'static>(stream: S) -> BoxStream {
        BoxStream(Box::new(stream))
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        self.0.poll_read(cx, buffer)
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, StreamError>> {
        self.0.poll_write(cx, data)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.0.poll_flush(cx)
    }
}

impl fmt::Debug for BoxStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxStream")
    }
}

impl ErrorType for BoxStream {
    type Error = StreamError;
}

impl Read for BoxStream {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }
}

impl Write for BoxStream {
    async fn write(&mut self, data: &[u8]) -> Result<usize, StreamError> {
        poll_fn(|cx| self.poll_write(cx, data)).await
    }

    async fn flush(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }
}

/// A cancel safe stream, step by step: each future is polled once, so that reading and writing can take turns.
trait PollStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, StreamError>>;
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, StreamError>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;
}

impl<S: Read + Write> PollStream for S {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        pin!(self.read(buffer)).poll(cx).map_err(kind)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, StreamError>> {
        pin!(self.write(data)).poll(cx).map_err(kind)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        pin!(self.flush()).poll(cx).map_err(kind)
    }
}

fn kind(error: impl embedded_io_async::Error) -> StreamError {
    StreamError(error.kind())
}

type Connecting<'a> = Pin<Box<dyn Future<Output = Result<BoxStream, ConnectError>> + 'a>>;

/// [`Connect`] whose type is forgotten.
pub(super) trait DynConnect {
    fn connect<'a>(&'a self, target: &'a Target) -> Connecting<'a>;
}

impl<C: Connect> DynConnect for C {
    fn connect<'a>(&'a self, target: &'a Target) -> Connecting<'a> {
        Box::pin(async move { Connect::connect(self, target).await.map(BoxStream::new) })
    }
}

/// [`Secure`] whose type is forgotten.
pub(super) trait DynSecure {
    fn secure<'a>(&'a self, host: &'a str, stream: BoxStream) -> Connecting<'a>;
}

impl<C: Secure> DynSecure for C {
    fn secure<'a>(&'a self, host: &'a str, stream: BoxStream) -> Connecting<'a> {
        Box::pin(async move { Secure::secure(self, host, stream).await.map(BoxStream::new) })
    }
}
