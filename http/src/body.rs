//! Bodies, of requests and of responses.

use crate::incoming::Incoming;
use alloc::{boxed::Box, rc::Rc, string::String, vec::Vec};
use bytes::Bytes;
use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use futures_util::{Stream, StreamExt};

type BoxStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>>>>;

/// A body: nothing, bytes, or a stream of bytes.
///
/// As an extractor it hands the request's body to the handler piece by piece, with no bound but
/// [`Limits::body_len_max`](crate::Limits::body_len_max); as a response it is sent piece by piece. Returning the body
/// of the request echoes it. It is a [`Stream`] of [`Bytes`].
///
/// The client is asked to send (`100 Continue`) when the body is first polled, and held back by TCP while it is not.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use futures_util::{StreamExt, stream};
/// use std::convert::Infallible;
/// use unikernel_http::{Body, BodyError, Router, post};
///
/// /// However long the body is, one piece of it is in memory.
/// async fn count(mut body: Body) -> Result<String, BodyError> {
///     let mut total = 0;
///     while let Some(piece) = body.next().await {
///         total += piece?.len();
///     }
///     Ok(format!("{total} bytes"))
/// }
///
/// let router: Router = Router::new().route("/", post(count));
#[doc = include_str!("served.md")]
/// let pieces = stream::iter((0..1000).map(|_| Ok::<_, Infallible>(vec![7; 1000])));
/// let answer = client.post("http://10.0.0.2/").body(Body::from_stream(pieces)).send().await?;
/// assert_eq!(answer.text().await?, "1000000 bytes");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Default)]
pub struct Body(pub(crate) Inner);

#[derive(Default)]
pub(crate) enum Inner {
    #[default]
    Empty,
    Static(&'static [u8]),
    Owned(Vec<u8>),
    /// In a box, as three words are the most that a response should carry from hand to hand.
    Shared(Box<Bytes>),
    Incoming(Rc<Incoming>),
    Stream(Box<(BoxStream, Option<u64>)>),
}

impl Inner {
    /// The bytes of a body that is there.
    #[inline(always)]
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Inner::Empty => Some(&[]),
            Inner::Static(bytes) => Some(bytes),
            Inner::Owned(bytes) => Some(bytes),
            Inner::Shared(bytes) => Some(bytes),
            Inner::Incoming(_) | Inner::Stream(_) => None,
        }
    }

    /// The same, to keep; empty for a body that is not there.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Inner::Static(bytes) => Bytes::from_static(bytes),
            Inner::Owned(bytes) => bytes.into(),
            Inner::Shared(bytes) => *bytes,
            Inner::Empty | Inner::Incoming(_) | Inner::Stream(_) => Bytes::new(),
        }
    }
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The client closed the connection, or the request is over.
    Closed,
    /// The body is not in valid chunks.
    Malformed,
    /// It is longer than the server takes.
    TooLarge,
    /// The client sent nothing for [`Limits::body_timeout`](crate::Limits::body_timeout).
    TimedOut,
    /// The source of a response's body failed; the connection ends, so that the client notices.
    Failed,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::Closed => "the client went away before the end of the body",
            BodyError::Malformed => "the body is not in valid chunks",
            BodyError::TooLarge => "the body is longer than this server takes",
            BodyError::TimedOut => "the body did not arrive in time",
            BodyError::Failed => "the source of the body failed",
        })
    }
}

impl core::error::Error for BodyError {}

impl Body {
    /// No body.
    pub fn empty() -> Body {
        Body(Inner::Empty)
    }

    /// A body that comes in pieces; it is sent in chunks (RFC 9112, 7.1). An error ends the connection, so that the
    /// client knows that something is missing.
    pub fn from_stream<T: Into<Bytes>, E>(stream: impl Stream<Item = Result<T, E>> + 'static) -> Body {
        Body(Inner::Stream(Box::new((adapt(stream), None))))
    }

    /// A body in pieces that are `len` bytes together; it is sent with a Content-Length. When the stream brings
    /// another amount, the connection ends, and never more than `len` bytes are sent.
    pub fn from_sized_stream<T: Into<Bytes>, E>(len: u64, stream: impl Stream<Item = Result<T, E>> + 'static) -> Body {
        Body(Inner::Stream(Box::new((adapt(stream), Some(len)))))
    }

    /// The length, where it is known before the body is read.
    pub fn len(&self) -> Option<u64> {
        match &self.0 {
            Inner::Incoming(incoming) => incoming.len(),
            Inner::Stream(stream) => stream.1,
            there => there.as_bytes().map(|bytes| bytes.len() as u64),
        }
    }

    /// Whether it is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The whole body, in memory.
    ///
    /// # Errors
    ///
    /// It is longer than `len_max`, or ends early.
    pub async fn collect(mut self, len_max: usize) -> Result<Bytes, BodyError> {
        if self.len().is_some_and(|len| len > len_max as u64) {
            return Err(BodyError::TooLarge);
        }
        if self.0.as_bytes().is_some() {
            return Ok(self.0.into_bytes());
        }
        // The announced length is not reserved: a client could announce much and send nothing.
        let mut all = Vec::new();
        while let Some(piece) = self.next().await {
            let piece = piece?;
            if piece.len() > len_max - all.len() {
                return Err(BodyError::TooLarge);
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}

fn adapt<T: Into<Bytes>, E>(stream: impl Stream<Item = Result<T, E>> + 'static) -> BoxStream {
    Box::pin(stream.map(|piece| piece.map(Into::into).map_err(|_| BodyError::Failed)))
}

/// Ends after the first error.
impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = match &mut self.0 {
            Inner::Incoming(incoming) => incoming.poll_next(cx),
            Inner::Stream(stream) => stream.0.as_mut().poll_next(cx),
            there => {
                let bytes = core::mem::take(there).into_bytes();
                return Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)));
            }
        };
        if !matches!(piece, Poll::Pending | Poll::Ready(Some(Ok(_)))) {
            self.0 = Inner::Empty;
        }
        piece
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body(Inner::Shared(Box::new(bytes)))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body(Inner::Owned(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body(Inner::Owned(text.into_bytes()))
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Body(Inner::Static(bytes))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body(Inner::Static(text.as_bytes()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("len", &self.len()).finish()
    }
}
