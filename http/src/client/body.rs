//! The body of a response.

use super::{Error, decode::Decoder, exchange::Exchange, head::parse_trailers};
use crate::parse::Span;
use alloc::{boxed::Box, string::String, vec::Vec};
use bytes::Bytes;
use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use futures_util::{Stream, StreamExt};

/// The body of a response, as a [`Stream`] of [`Bytes`] that ends after the first error.
///
/// The server is held back by TCP while the body is not polled. Dropped before its end, it closes its connection; read
/// to its end, it leaves the connection to the next request. What is left of the request's own body is sent while
/// this one is read.
///
/// More than would fit into memory, piece by piece:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use futures_util::StreamExt;
/// # use unikernel_http::{Router, get};
///
/// # let router: Router = Router::new().route("/long", get(async || vec![7; 3_000_000]));
#[doc = include_str!("../served.md")]
/// let mut body = client.get("http://10.0.0.2/long").send().await?.into_body();
/// let mut total = 0;
/// while let Some(piece) = body.next().await {
///     total += piece?.len();
/// }
/// assert_eq!(total, 3_000_000);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct ResponseBody {
    exchange: Option<Box<Exchange>>,
    decoder: Option<Box<Decoder>>,
    len: Option<u64>,
    trailers: Trailers,
}

/// The fields after a body in chunks (RFC 9112, 7.1.2).
#[derive(Default)]
struct Trailers {
    text: Vec<u8>,
    fields: Vec<(Span, Span)>,
}

impl ResponseBody {
    /// A body without a byte is at its end already.
    pub(super) fn new(exchange: Box<Exchange>, decoder: Option<Decoder>) -> ResponseBody {
        let len = exchange.body_len();
        if len == Some(0) {
            exchange.finish();
            return ResponseBody { exchange: None, decoder: None, len, trailers: Trailers::default() };
        }
        let len = len.filter(|_| decoder.is_none());
        ResponseBody { exchange: Some(exchange), decoder: decoder.map(Box::new), len, trailers: Trailers::default() }
    }

    /// The length, where it is known before the body is read: not in chunks, and not compressed.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether it is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// The trailer fields, once the body has been read to its end: name and value.
    pub fn trailers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let Trailers { text, fields } = &self.trailers;
        fields.iter().map(move |(name, value)| (core::str::from_utf8(name.of(text)).unwrap_or(""), value.of(text)))
    }

    /// The whole body, in memory.
    ///
    /// # Errors
    ///
    /// It is longer than `len_max`, or ends early.
    pub async fn collect(mut self, len_max: usize) -> Result<Bytes, Error> {
        if self.len.is_some_and(|len| len > len_max as u64) {
            return Err(Error::TooLarge);
        }
        // The announced length is not reserved: a server could announce much and send nothing.
        let mut all = Vec::new();
        while let Some(piece) = self.next().await {
            let piece = piece?;
            if piece.len() > len_max - all.len() {
                return Err(Error::TooLarge);
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// Reads over what is left, if that is at most `len_max` bytes, so that the connection can be used again.
    pub(super) async fn discard(mut self, len_max: u64) {
        let mut left = len_max;
        if self.len.is_some_and(|len| len > left) {
            return;
        }
        self.decoder = None;
        while let Some(Ok(piece)) = self.next().await {
            match left.checked_sub(piece.len() as u64) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            if let Some(decoder) = &mut self.decoder
                && let Some(piece) = decoder.next()?
            {
                return Poll::Ready(Ok(Some(piece)));
            }
            let Some(exchange) = &mut self.exchange else { return Poll::Ready(Ok(None)) };
            let piece = core::task::ready!(exchange.poll_piece(cx))?;
            match (piece, &mut self.decoder) {
                (Some(piece), Some(decoder)) => decoder.put(piece),
                (Some(piece), None) => return Poll::Ready(Ok(Some(piece))),
                (None, decoder) => {
                    let checked = decoder.take().map_or(Ok(()), |decoder| decoder.finish());
                    self.finish();
                    return Poll::Ready(checked.map(|()| None));
                }
            }
        }
    }

    fn finish(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            let text = exchange.finish();
            self.trailers = Trailers { fields: parse_trailers(&text), text };
        }
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = core::task::ready!(self.poll_piece(cx));
        if piece.is_err() {
            (self.exchange, self.decoder) = (None, None);
        }
        Poll::Ready(piece.transpose())
    }
}

/// To hand the body on: as a server's response, or with another request.
impl From<ResponseBody> for crate::Body {
    fn from(body: ResponseBody) -> crate::Body {
        match body.len() {
            Some(0) => crate::Body::empty(),
            Some(len) => crate::Body::from_sized_stream(len, body),
            None => crate::Body::from_stream(body),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("len", &self.len).finish()
    }
}

/// A body as text. Only UTF-8 is text here.
pub(super) fn text(bytes: Bytes) -> Result<String, Error> {
    String::from_utf8(bytes.into()).map_err(|_| Error::Content("it is not UTF-8".into()))
}
