//! The body of a request between the connection, which reads it, and the handler, which wants it.
//!
//! They are tasks or parts of one task: the handler asks, the connection reads one piece and puts it here. So the
//! handler needs to know nothing of the byte stream, and nothing is read that nobody asked for.

use crate::BodyError;
use bytes::Bytes;
use core::{
    cell::RefCell,
    task::{Context, Poll, Waker},
};
use unikernel_rt::task::wait_for;

/// A request body on its way.
pub(crate) struct Incoming {
    len: Option<u64>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    piece: Option<Result<Bytes, BodyError>>,
    is_wanted: bool,
    /// No piece follows the one that is here.
    is_ended: bool,
    handler: Option<Waker>,
    connection: Option<Waker>,
}

impl Incoming {
    /// A body of `len` bytes, or of unknown length.
    pub(crate) fn new(len: Option<u64>) -> Incoming {
        Incoming { len, state: RefCell::default() }
    }

    pub(crate) fn len(&self) -> Option<u64> {
        self.len
    }

    /// For the handler: the next piece. Asks the connection for it.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.state.borrow_mut();
        if let Some(piece) = state.piece.take() {
            return Poll::Ready(Some(piece));
        }
        if state.is_ended {
            return Poll::Ready(None);
        }
        state.is_wanted = true;
        remember(&mut state.handler, cx);
        if let Some(connection) = state.connection.take() {
            connection.wake();
        }
        wait_for("the request's body");
        Poll::Pending
    }

    /// For the connection: whether the handler asks; else wakes the connection when it does.
    pub(crate) fn poll_wanted(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.state.borrow_mut();
        if state.is_wanted {
            return true;
        }
        remember(&mut state.connection, cx);
        false
    }

    /// For the connection: here is a piece.
    pub(crate) fn put(&self, piece: Result<Bytes, BodyError>) {
        let mut state = self.state.borrow_mut();
        state.is_ended |= piece.is_err();
        state.piece = Some(piece);
        wake(&mut state);
    }

    /// For the connection: there is no more.
    pub(crate) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.is_ended = true;
        wake(&mut state);
    }

    /// For the connection: the request is over. Whoever still reads gets an error instead of a short body.
    pub(crate) fn close(&self) {
        if !self.state.borrow().is_ended {
            self.put(Err(BodyError::Closed));
        }
    }
}

fn wake(state: &mut State) {
    state.is_wanted = false;
    if let Some(handler) = state.handler.take() {
        handler.wake();
    }
}

fn remember(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(known) => known.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}
