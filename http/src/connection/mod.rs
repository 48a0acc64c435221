//! One connection: reads requests, has them answered, writes responses, in order (RFC 9112, 9).
//!
//! [`Connection::run`] is the path of an ordinary request and nothing else: parse, call, write into `out`, and one
//! write when no complete request is left in the buffer. Bodies that come or go in pieces are in [`stream`], in
//! futures of their own, so that an idle connection does not carry their room.

mod reader;
mod stream;
mod watch;

use crate::{
    Body, Request, Response, Status,
    body::Inner,
    handler::Reply,
    head::Head,
    metrics::{Call, InFlight},
    out::Out,
    parse::{self, Refusal},
    response::{
        TEXT,
        write::{self, Asked, Rest},
    },
    server::{Registration, Shared},
};
use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{future::poll_fn, pin::pin, task::Poll};
use embedded_io_async::{Read, Write};
use reader::Reader;
use unikernel_rt::{
    metrics::Stopwatch,
    time::{Duration, Instant, unix_time},
};
use watch::{Expired, Watch};

/// Responses are gathered up to this length while a client pipelines: about eleven TCP segments.
const GATHER_LEN_MAX: usize = 16 * 1024;
/// So much of a body that nobody read is read over to keep the connection; more costs more than a new connection.
const SKIP_LEN_MAX: u64 = 256 * 1024;
/// How long a connection that ends before the request's body goes on reading, so that the client gets to see the
/// response (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(1);

/// The connection is over.
pub(crate) struct End;

pub(crate) struct Connection<S> {
    stream: S,
    shared: Rc<Shared>,
    head: Rc<Head>,
    /// Responses to send. Without memory of its own while idle.
    out: Out,
    watch: Watch,
    /// The body of the current request, if it is not complete in the buffer.
    reader: Option<Box<Reader>>,
    /// A head has begun to arrive, and its time runs.
    is_in_head: bool,
}

enum Parsed {
    Incomplete,
    Request(Request),
    Refused(Refusal),
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn new(stream: S, shared: Rc<Shared>, registration: Registration) -> Connection<S> {
        Connection {
            stream,
            head: Rc::new(Head::new(shared.limits.buffered_body_len_max, registration.peer)),
            shared,
            out: Out::default(),
            watch: Watch::new(registration),
            reader: None,
            is_in_head: false,
        }
    }

    /// What it reads and writes.
    #[cfg(feature = "tls")]
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn run(&mut self) -> Result<(), End> {
        loop {
            let request = match parse_next(&mut self.head, &mut self.reader, &self.shared) {
                Parsed::Request(request) => request,
                Parsed::Refused(refusal) => return self.refuse(refusal).await,
                Parsed::Incomplete => {
                    if !self.out.is_empty() {
                        self.write_gathered().await?;
                    }
                    self.fill().await?;
                    continue;
                }
            };
            self.is_in_head = false;
            let asked = Asked::new(&self.head.parsed);
            let mut keeps_alive = self.head.parsed.keeps_alive();
            let mut call = Call { route: 0, begun: Stopwatch::since_poll() };
            let rest = match self.shared.router.call(request, &mut call.route) {
                Reply::Now(response) => self.answer(response, call, asked, &mut keeps_alive),
                Reply::Later(mut future) => {
                    // Most handlers are done at once; their response is rendered where it is.
                    let rest = poll_fn(|cx| {
                        Poll::Ready(match future.as_mut().poll(cx) {
                            Poll::Ready(response) => Some(self.answer(response, call, asked, &mut keeps_alive)),
                            Poll::Pending => None,
                        })
                    });
                    match rest.await {
                        Some(rest) => rest,
                        None => {
                            let mut in_flight = InFlight::unanswered(self.shared.clone(), call);
                            let response = Box::pin(self.drive(&mut future)).await?;
                            in_flight.answer();
                            self.answer(response, call, asked, &mut keeps_alive)
                        }
                    }
                }
            };
            match rest {
                Rest::None => {}
                Rest::Bytes(body) => self.write_bytes(body.0.as_bytes().unwrap_or_default()).await?,
                rest => {
                    let _in_flight = InFlight::answered(self.shared.clone());
                    Box::pin(self.stream_body(rest)).await?
                }
            }
            if self.reader.is_some() {
                keeps_alive &= Box::pin(self.finish_body()).await?;
            }
            if !keeps_alive {
                return self.write_out().await;
            }
            if self.out.len() >= GATHER_LEN_MAX {
                self.write_out().await?;
            }
        }
    }

    /// Counts the response and [renders](Self::render) it.
    #[inline(always)]
    fn answer(&mut self, response: Response, call: Call, asked: Asked, keeps_alive: &mut bool) -> Rest {
        let (micros, now) = call.begun.read();
        self.shared.stats.answered(call, response.status(), micros);
        self.render(response, now, asked, keeps_alive)
    }

    /// Puts the response into `out`; what does not belong there is left.
    fn render(&mut self, response: Response, now: Instant, asked: Asked, keeps_alive: &mut bool) -> Rest {
        *keeps_alive &= !self.shared.is_stopping();
        if self.out.is_unallocated() {
            self.out = self.shared.take_spare();
        }
        if let Some(reader) = &mut self.reader {
            if reader.owes_continue && reader.is_wanted() {
                // The response still has the request's body, and will read it: once the response has begun it is too
                // late to ask for it (RFC 9110, 10.1.1).
                reader.owes_continue = false;
                self.out.push(write::CONTINUE);
            }
            // A response that still has the request's body may read all of it: an echo, or a proxy.
            *keeps_alive &= reader.is_wanted() || reader.can_complete(SKIP_LEN_MAX);
        }
        let mut start = self.shared.start.borrow_mut();
        start.refresh(now, unix_time);
        write::response(&mut self.out, &start, response, asked, keeps_alive)
    }

    /// Reads once, at the end of what is there.
    async fn fill(&mut self) -> Result<(), End> {
        let head = unique(&mut self.head);
        let limits = &self.shared.limits;
        if head.buffer.is_empty() {
            self.watch.start_idle(limits.idle_timeout);
        } else if !self.is_in_head {
            self.is_in_head = true;
            self.watch.start(limits.head_timeout);
        }
        let space = head.buffer.space(limits.head_len_max);
        let read = {
            let read = pin!(self.stream.read(space));
            self.watch.until(read).await
        };
        match read {
            Ok(Ok(len)) if len > 0 => {
                head.buffer.filled(len);
                self.shared.stats.received(len);
                Ok(())
            }
            Err(Expired) if self.is_in_head => {
                let reason = "the header section did not arrive in time";
                self.refuse(Refusal { status: Status::REQUEST_TIMEOUT, reason }).await?;
                Err(End)
            }
            _ => Err(End),
        }
    }

    /// Answers what is no valid request. Nothing can follow.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), End> {
        self.shared.stats.refused(refusal.status);
        let mut text = Vec::from(refusal.reason.as_bytes());
        text.push(b'\n');
        let response = Response::with_lines(refusal.status, TEXT, text);
        let asked = Asked { method: crate::Method::Get, is_http_10: false };
        self.render(response, Instant::now(), asked, &mut false);
        self.write_out().await
    }

    /// [`write_out`](Self::write_out) for a stream that takes all of it at once, as it nearly always does.
    async fn write_gathered(&mut self) -> Result<(), End> {
        self.watch.start(self.shared.limits.write_timeout);
        let written = {
            let write = pin!(self.stream.write(&self.out));
            self.watch.until(write).await
        };
        match written {
            Ok(Ok(len)) if len == self.out.len() => self.shared.stats.sent(len),
            Ok(Ok(len)) if len > 0 => {
                self.shared.stats.sent(len);
                self.out.consume(len);
                return Box::pin(self.write_out()).await;
            }
            _ => return Err(End),
        }
        flush(&mut self.stream, &mut self.watch).await?;
        self.shared.put_spare(core::mem::take(&mut self.out));
        Ok(())
    }

    /// Writes `out` and gives its memory back.
    async fn write_out(&mut self) -> Result<(), End> {
        let limit = self.shared.limits.write_timeout;
        write_all(&mut self.stream, &mut self.watch, limit, &self.out).await?;
        flush(&mut self.stream, &mut self.watch).await?;
        self.shared.put_spare(core::mem::take(&mut self.out));
        Ok(())
    }

    /// Writes `out` and then `bytes`, from where they are.
    async fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), End> {
        let limit = self.shared.limits.write_timeout;
        write_all(&mut self.stream, &mut self.watch, limit, &self.out).await?;
        self.out.clear();
        write_all(&mut self.stream, &mut self.watch, limit, bytes).await
    }
}

/// A stream that gathers by itself (TLS) sends now; that of unikernel-net returns at once.
async fn flush<S: Write>(stream: &mut S, watch: &mut Watch) -> Result<(), End> {
    let flush = pin!(stream.flush());
    match watch.until(flush).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(End),
    }
}

/// Writes all of `bytes`; each step within `limit`.
async fn write_all<S: Write>(stream: &mut S, watch: &mut Watch, limit: Duration, bytes: &[u8]) -> Result<(), End> {
    let mut rest = bytes;
    while !rest.is_empty() {
        watch.start(limit);
        let write = pin!(stream.write(rest));
        match watch.until(write).await {
            Ok(Ok(len)) if len > 0 => {
                watch.sent(len);
                rest = &rest[len..];
            }
            _ => return Err(End),
        }
    }
    Ok(())
}

/// The next request in the buffer.
fn parse_next(head: &mut Rc<Head>, reader: &mut Option<Box<Reader>>, shared: &Shared) -> Parsed {
    let Head { buffer, start, parsed, .. } = unique(head);
    if buffer.is_empty() {
        return Parsed::Incomplete;
    }
    match parse::parse(buffer.unused(), parsed, &shared.limits) {
        Ok(false) => return Parsed::Incomplete,
        Ok(true) => {}
        Err(refusal) => return Parsed::Refused(refusal),
    }
    *start = buffer.start();
    buffer.advance(parsed.len);
    let mut body = None;
    if !parsed.framing.is_empty() {
        body = Some(Box::new(start_body(unique(head), reader, shared)));
    }
    Parsed::Request(Request::new(head.clone(), body))
}

/// The body is taken from the buffer when it is there, else read as it is asked for.
#[cold]
fn start_body(head: &mut Head, reader: &mut Option<Box<Reader>>, shared: &Shared) -> Body {
    let Head { buffer, parsed, .. } = head;
    let unused = buffer.unused();
    match parsed.framing.content_length {
        Some(length) if length <= unused.len() as u64 => {
            let bytes = unused[..length as usize].to_vec();
            buffer.advance(bytes.len());
            bytes.into()
        }
        _ => {
            let new = Reader::new(&parsed.framing, unused, shared.limits.body_len_max);
            buffer.advance(unused.len());
            let body = Body(Inner::Incoming(new.incoming.clone()));
            *reader = Some(Box::new(new));
            body
        }
    }
}

/// The head, to be changed. When a handler still holds the last one, that becomes its own.
#[inline(always)]
fn unique(head: &mut Rc<Head>) -> &mut Head {
    if Rc::strong_count(head) > 1 {
        renew(head);
    }
    Rc::get_mut(head).expect("a head has one owner now, and nobody makes weak references")
}

#[cold]
fn renew(head: &mut Rc<Head>) {
    let mut new = Head::new(head.buffered_body_len_max, head.peer);
    new.buffer.push(head.buffer.unused());
    *head = Rc::new(new);
}
