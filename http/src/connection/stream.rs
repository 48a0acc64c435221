//! Bodies that come or go in pieces.

use super::{Connection, End, GATHER_LEN_MAX, LINGER, SKIP_LEN_MAX, write_all};
use crate::{
    Body, BodyError, chunked,
    response::write::{CONTINUE, Rest, push_chunk},
};
use bytes::Bytes;
use core::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};
use embedded_io_async::{Read, Write};
use futures_util::{
    StreamExt,
    future::{Either, select},
};

/// Pieces up to this length are gathered before they are written.
const GATHERED_PIECE_LEN_MAX: usize = 2 * 1024;

enum Step<T> {
    Done(T),
    /// The handler asks for the request's body.
    Wanted,
    /// Nothing to do, while there is something to send.
    Flush,
}

impl<S: Read + Write> Connection<S> {
    /// Runs a part of the handler's work, and reads the request's body when it asks for it.
    pub(super) async fn drive<W: Future + Unpin>(&mut self, work: &mut W) -> Result<W::Output, End> {
        loop {
            let step = poll_fn(|cx| match Pin::new(&mut *work).poll(cx) {
                Poll::Ready(output) => Poll::Ready(Step::Done(output)),
                Poll::Pending if self.reader.as_ref().is_some_and(|reader| reader.incoming.poll_wanted(cx)) => {
                    Poll::Ready(Step::Wanted)
                }
                // Earlier responses, or pieces of this one: the client may wait for them.
                Poll::Pending if !self.out.is_empty() => Poll::Ready(Step::Flush),
                Poll::Pending => Poll::Pending,
            });
            match step.await {
                Step::Done(output) => return Ok(output),
                Step::Flush => self.write_out().await?,
                Step::Wanted => {
                    self.ask_for_body().await?;
                    if let Some(output) = self.feed(work).await {
                        return Ok(output);
                    }
                }
            }
        }
    }

    async fn ask_for_body(&mut self) -> Result<(), End> {
        if let Some(reader) = &mut self.reader
            && core::mem::take(&mut reader.owes_continue)
        {
            self.out.push(CONTINUE);
        }
        if self.out.is_empty() { Ok(()) } else { self.write_out().await }
    }

    /// Reads until a piece of the body is there. The work goes on meanwhile, and may be done first.
    async fn feed<W: Future + Unpin>(&mut self, work: &mut W) -> Option<W::Output> {
        let reader = self.reader.as_mut()?;
        self.watch.start(self.shared.limits.body_timeout);
        while !reader.deliver() {
            let read = {
                let read = pin!(self.stream.read(reader.space()));
                match select(self.watch.until(read), &mut *work).await {
                    Either::Left((read, _)) => read,
                    Either::Right((output, _)) => return Some(output),
                }
            };
            match read {
                Ok(Ok(len)) if len > 0 => {
                    self.shared.stats.received(len);
                    reader.filled(len);
                }
                Ok(_) => reader.fail(BodyError::Closed),
                Err(_) => reader.fail(BodyError::TimedOut),
            }
        }
        None
    }

    /// Sends what follows the head.
    pub(super) async fn stream_body(&mut self, rest: Rest) -> Result<(), End> {
        if let Some(reader) = &mut self.reader {
            // The response has begun, so it is too late for an interim one.
            reader.owes_continue = false;
        }
        match rest {
            Rest::None => Ok(()),
            Rest::Bytes(body) => self.write_bytes(body.0.as_bytes().unwrap_or_default()).await,
            Rest::Sized(body) => {
                let len = body.len().unwrap_or(0);
                self.stream_sized(body, len).await
            }
            Rest::Chunked(body) => self.stream_chunks(body).await,
            Rest::UntilClose(body) => self.stream_sized(body, u64::MAX).await,
        }
    }

    /// Exactly `len` bytes; `u64::MAX` stands for as many as there are.
    async fn stream_sized(&mut self, mut body: Body, len: u64) -> Result<(), End> {
        let mut left = len;
        while let Some(piece) = self.drive(&mut body.next()).await? {
            let mut piece = self.checked(piece).await?;
            let fits = piece.len() as u64 <= left;
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= piece.len() as u64;
            self.send_piece(&piece).await?;
            if !fits {
                break;
            }
        }
        if left == 0 || len == u64::MAX {
            return Ok(());
        }
        // Less than was announced: the end of the connection tells the client.
        self.write_out().await?;
        Err(End)
    }

    async fn stream_chunks(&mut self, mut body: Body) -> Result<(), End> {
        while let Some(piece) = self.drive(&mut body.next()).await? {
            let piece = self.checked(piece).await?;
            if piece.len() <= GATHERED_PIECE_LEN_MAX {
                push_chunk(&mut self.out, &piece);
                self.flush_if_full().await?;
            } else {
                self.out.push(chunked::size_line(piece.len(), &mut [0; 18]));
                self.write_bytes(&piece).await?;
                self.out.push(b"\r\n");
            }
        }
        self.out.push(chunked::END);
        Ok(())
    }

    async fn send_piece(&mut self, piece: &Bytes) -> Result<(), End> {
        if piece.len() > GATHERED_PIECE_LEN_MAX {
            return self.write_bytes(piece).await;
        }
        self.out.push(piece);
        self.flush_if_full().await
    }

    async fn flush_if_full(&mut self) -> Result<(), End> {
        if self.out.len() >= GATHER_LEN_MAX { self.write_out().await } else { Ok(()) }
    }

    /// A body that failed is cut off where it is: the client sees an incomplete response (RFC 9112, 8).
    async fn checked(&mut self, piece: Result<Bytes, BodyError>) -> Result<Bytes, End> {
        match piece {
            Ok(piece) => Ok(piece),
            Err(_) => {
                self.write_out().await?;
                Err(End)
            }
        }
    }

    /// After the response: reads over what is left of the request's body. Whether another request can follow.
    pub(super) async fn finish_body(&mut self) -> Result<bool, End> {
        let Some(mut reader) = self.reader.take() else { return Ok(true) };
        reader.incoming.close();
        let keeps = reader.can_complete(SKIP_LEN_MAX);
        if !reader.is_complete() {
            write_all(&mut self.stream, &mut self.watch, self.shared.limits.write_timeout, &self.out).await?;
            self.out.clear();
            self.watch.start(if keeps { self.shared.limits.body_timeout } else { LINGER });
        }
        let mut allowance = SKIP_LEN_MAX;
        while !reader.skip() {
            let read = {
                let read = pin!(self.stream.read(reader.space()));
                self.watch.until(read).await
            };
            match read {
                Ok(Ok(len)) if len > 0 => {
                    self.shared.stats.received(len);
                    let Some(left) = allowance.checked_sub(len as u64) else { return Err(End) };
                    allowance = left;
                    reader.filled(len);
                }
                _ => return Err(End),
            }
        }
        if reader.is_complete() {
            super::unique(&mut self.head).buffer.push(reader.rest());
        }
        Ok(keeps && reader.is_complete())
    }
}
