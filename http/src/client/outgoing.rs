//! A request on its way out: its head, and its body as the source brings it and the server takes it.

use super::{BoxStream, connect::StreamError};
use crate::{Body, BodyError, chunked};
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::task::{Context, Poll, ready};
use futures_util::StreamExt;

/// Pieces of a body up to this length are copied behind what is there, so that they share a write.
const COPIED_PIECE_LEN_MAX: usize = 2 * 1024;
/// So much is gathered before it is written: about eleven TCP segments.
const GATHER_LEN_MAX: usize = 16 * 1024;

pub(super) struct Outgoing {
    /// Bytes to write: `at..` of it, and then `piece`.
    buffer: Vec<u8>,
    at: usize,
    piece: Bytes,
    /// What follows `piece` closes its chunk.
    owes_line_end: bool,
    body: Option<Body>,
    coding: Coding,
    /// The body has lost its first piece, so it cannot be sent once more.
    is_begun: bool,
    /// The body waits for `100 Continue`.
    pub(super) is_held: bool,
    is_flushed: bool,
    /// Bytes the connection took so far.
    pub(super) written: u64,
}

enum Coding {
    /// So many bytes are still to come.
    Sized(u64),
    Chunked,
}

/// Why a request cannot be sent to its end.
pub(super) enum SendError {
    Stream,
    Body(BodyError),
}

impl Outgoing {
    /// `head` ends with its empty line and says how the body is framed: by its length if that is known, else in chunks.
    pub(super) fn new(head: Vec<u8>, body: Body, is_held: bool) -> Outgoing {
        let coding = body.len().map_or(Coding::Chunked, Coding::Sized);
        Outgoing {
            buffer: head,
            at: 0,
            piece: Bytes::new(),
            owes_line_end: false,
            is_held: is_held && !body.is_empty(),
            body: (!body.is_empty()).then_some(body),
            coding,
            is_begun: false,
            is_flushed: false,
            written: 0,
        }
    }

    /// Whether the connection took everything.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.is_empty() && self.is_flushed
    }

    /// The body, if nothing of it was used.
    pub(super) fn take_untouched_body(&mut self) -> Option<Body> {
        if self.is_begun { None } else { Some(self.body.take().unwrap_or_default()) }
    }

    fn is_empty(&self) -> bool {
        self.at == self.buffer.len() && self.piece.is_empty() && !self.owes_line_end
    }

    /// Writes what can be written now. Ready when all is written.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, stream: &mut BoxStream) -> Poll<Result<(), SendError>> {
        loop {
            self.gather(cx).map_err(SendError::Body)?;
            if self.is_empty() {
                if !self.is_flushed {
                    ready!(stream.poll_flush(cx)).map_err(|_| SendError::Stream)?;
                    self.is_flushed = true;
                }
                return if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let len = ready!(self.poll_write(cx, stream)).map_err(|_| SendError::Stream)?;
            if len == 0 {
                return Poll::Ready(Err(SendError::Stream));
            }
            self.used(len);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut BoxStream) -> Poll<Result<usize, StreamError>> {
        match &self.buffer[self.at..] {
            [] => stream.poll_write(cx, &self.piece),
            bytes => stream.poll_write(cx, bytes),
        }
    }

    fn used(&mut self, len: usize) {
        self.written += len as u64;
        self.is_flushed = false;
        if self.at < self.buffer.len() {
            self.at += len;
        } else {
            self.piece.advance(len);
        }
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        }
    }

    /// Takes pieces that the body has ready, as long as they are few and small.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while self.piece.is_empty() && self.buffer.len() < GATHER_LEN_MAX {
            if core::mem::take(&mut self.owes_line_end) {
                self.buffer.extend_from_slice(b"\r\n");
            }
            let Some(body) = self.body.as_mut().filter(|_| !self.is_held) else { break };
            let Poll::Ready(piece) = body.poll_next_unpin(cx) else { break };
            match piece.transpose()? {
                Some(piece) => self.put(piece)?,
                None => self.end()?,
            }
        }
        Ok(())
    }

    fn put(&mut self, piece: Bytes) -> Result<(), BodyError> {
        self.is_begun = true;
        match &mut self.coding {
            // An empty chunk would be the end.
            Coding::Chunked if piece.is_empty() => return Ok(()),
            Coding::Chunked => {
                self.buffer.extend_from_slice(chunked::size_line(piece.len(), &mut [0; 18]));
                self.owes_line_end = true;
            }
            // More than was announced would be read as the next request.
            Coding::Sized(left) => *left = left.checked_sub(piece.len() as u64).ok_or(BodyError::TooLarge)?,
        }
        if piece.len() <= COPIED_PIECE_LEN_MAX {
            self.buffer.extend_from_slice(&piece);
        } else {
            self.piece = piece;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        self.is_begun = true;
        self.body = None;
        match self.coding {
            Coding::Sized(0) => Ok(()),
            Coding::Sized(_) => Err(BodyError::Closed),
            Coding::Chunked => {
                self.buffer.extend_from_slice(chunked::END);
                Ok(())
            }
        }
    }
}
