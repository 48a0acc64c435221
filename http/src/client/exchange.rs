//! One request and its response on one connection.
//!
//! Both directions take turns in one task: while the request is being sent, the response is read, so a server that
//! answers early is heard, and one that answers while it reads (an echo) does not block. Dropping an exchange before
//! its end drops the connection; only a connection on which nothing is under way goes back to the pool.

use super::{
    BoxStream, Error, Limits, Phase,
    head::{self, Parsed},
    incoming::{Coding, Next, Raw},
    outgoing::{Outgoing, SendError},
    pool::Lease,
};
use crate::Body;
use alloc::{rc::Rc, vec::Vec};
use bytes::Bytes;
use core::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};
use unikernel_rt::time::{Instant, Sleep, sleep_until};

/// More interim responses before the response are an error: a server sends one or two.
const INTERIM_MAX: u32 = 8;

pub(super) struct Exchange {
    stream: BoxStream,
    lease: Lease,
    limits: Rc<Limits>,
    outgoing: Outgoing,
    /// The server takes no more of the request. It may have answered all the same.
    is_cut_off: bool,
    raw: Raw,
    /// A byte of the response has come.
    is_answered: bool,
    interim: u32,
    coding: Coding,
    keeps_alive: bool,
    /// When the whole request has to be done.
    total: Instant,
    /// When something has to have moved, from the first time that nothing does.
    deadline: Option<Instant>,
    sleep: Sleep,
}

/// An exchange that brought no response.
pub(super) struct Failure {
    pub(super) error: Error,
    /// The connection was closed before a byte of an answer came.
    pub(super) is_silent: bool,
    /// The body, if nothing of it is lost.
    pub(super) body: Option<Body>,
}

impl Exchange {
    pub(super) fn new(
        stream: BoxStream,
        lease: Lease,
        limits: Rc<Limits>,
        outgoing: Outgoing,
        total: Instant,
    ) -> Exchange {
        Exchange {
            stream,
            lease,
            limits,
            outgoing,
            is_cut_off: false,
            raw: Raw::default(),
            is_answered: false,
            interim: 0,
            coding: Coding::Length(0),
            keeps_alive: false,
            total,
            deadline: None,
            sleep: sleep_until(Instant::FOREVER),
        }
    }

    /// Sends the request and waits for the head of its response; returns it with its bytes.
    pub(super) async fn head(&mut self, is_head: bool) -> Result<(Parsed, Vec<u8>), Failure> {
        let parsed = poll_fn(|cx| self.poll_head(cx)).await.map_err(|error| self.failure(error))?;
        let bytes = self.raw.unused()[..parsed.len].to_vec();
        self.raw.advance(parsed.len);
        self.coding = Coding::new(&parsed, is_head);
        self.keeps_alive = parsed.keeps_alive();
        Ok((parsed, bytes))
    }

    fn failure(&mut self, error: Error) -> Failure {
        let is_silent = matches!(error, Error::Closed) && !self.is_answered;
        Failure { error, is_silent, body: self.outgoing.take_untouched_body() }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parsed, Error>> {
        loop {
            self.send(cx)?;
            while let Some(parsed) = head::parse(self.raw.unused(), &self.limits).map_err(Error::Malformed)? {
                if parsed.code >= 200 {
                    return Poll::Ready(Ok(parsed));
                }
                self.skip_interim(&parsed)?;
                self.send(cx)?;
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(true)) => continue,
                Poll::Ready(_) => return Poll::Ready(Err(Error::Closed)),
                Poll::Pending => {}
            }
            let (phase, limit) = match (self.outgoing.is_held, self.is_sent()) {
                (true, _) => (Phase::Head, self.limits.continue_timeout),
                (_, false) => (Phase::Send, self.limits.idle_timeout),
                _ => (Phase::Head, self.limits.head_timeout),
            };
            match self.poll_expired(cx, phase, limit) {
                Poll::Pending => return Poll::Pending,
                // RFC 9110, 10.1.1: a client does not wait for ever.
                Poll::Ready(Phase::Head) if self.outgoing.is_held => self.go_on(),
                Poll::Ready(phase) => return Poll::Ready(Err(Error::TimedOut(phase))),
            }
        }
    }

    /// An interim response says that the final one follows (RFC 9110, 15.2).
    fn skip_interim(&mut self, parsed: &Parsed) -> Result<(), Error> {
        self.raw.advance(parsed.len);
        self.interim += 1;
        match parsed.code {
            _ if self.interim > INTERIM_MAX => Err(Error::Malformed("there are too many interim responses before it")),
            101 => Err(Error::Malformed("it switches to a protocol that nobody asked for")),
            100 => {
                self.go_on();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn go_on(&mut self) {
        self.outgoing.is_held = false;
        self.deadline = None;
    }

    /// The next piece of the body; `None` at its end, after which the exchange can be [finished](Self::finish).
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            match self.coding.next(&mut self.raw)? {
                Next::Data(bytes) => {
                    self.deadline = None;
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Next::End => {
                    // The end of the request's body may not have been looked at yet. If it fails, the connection ends.
                    let _ = self.send(cx);
                    return Poll::Ready(Ok(None));
                }
                Next::More => {}
            }
            self.send(cx)?;
            match self.poll_fill(cx) {
                Poll::Ready(Ok(true)) => continue,
                Poll::Ready(Ok(false)) if self.coding.ends_with_connection() => return Poll::Ready(Ok(None)),
                Poll::Ready(_) => return Poll::Ready(Err(Error::Closed)),
                Poll::Pending => {}
            }
            let limit = self.limits.idle_timeout;
            return self.poll_expired(cx, Phase::Body, limit).map(|phase| Err(Error::TimedOut(phase)));
        }
    }

    /// The length of the body, where it is known. Before the first piece.
    pub(super) fn body_len(&self) -> Option<u64> {
        self.coding.len()
    }

    /// After the end of the body: the trailer section. The connection serves the next request, if it can.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let is_clean = self.keeps_alive && self.outgoing.is_done() && !self.is_cut_off && self.raw.is_empty();
        let trailers = self.coding.take_trailers();
        if is_clean && !self.coding.ends_with_connection() {
            self.lease.keep(self.stream);
        }
        trailers
    }

    fn is_sent(&self) -> bool {
        self.is_cut_off || self.outgoing.is_done()
    }

    /// Sends what can be sent. A connection that takes nothing more is no error: its last words may be the response.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.is_sent() {
            return Ok(());
        }
        let before = self.outgoing.written;
        let sent = self.outgoing.poll_send(cx, &mut self.stream);
        if self.outgoing.written != before {
            self.deadline = None;
        }
        match sent {
            Poll::Ready(Err(SendError::Body(error))) => Err(Error::RequestBody(error)),
            Poll::Ready(Err(SendError::Stream)) => {
                self.is_cut_off = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads once. `false` at the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        match self.stream.poll_read(cx, self.raw.space()) {
            Poll::Ready(Ok(len)) => {
                self.raw.filled(len);
                self.is_answered |= len > 0;
                Poll::Ready(Ok(len > 0))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(Error::Closed)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready when nothing has moved for `limit`, or the time for the whole request is over.
    fn poll_expired(&mut self, cx: &mut Context<'_>, phase: Phase, limit: core::time::Duration) -> Poll<Phase> {
        let step = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        self.sleep.reset(step.min(self.total));
        let phase = if self.total <= step { Phase::Total } else { phase };
        Pin::new(&mut self.sleep).poll(cx).map(|()| phase)
    }
}
