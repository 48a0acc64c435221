//! Reads the body of a request for whoever holds its [`Body`](crate::Body): finds its end, and what follows.

use crate::{
    BodyError,
    chunked::{Decoder, Piece},
    incoming::Incoming,
    parse::framing::Framing,
};
use alloc::{rc::Rc, vec::Vec};
use bytes::Bytes;

/// Bytes read at once.
const READ_LEN: usize = 16 * 1024;

/// A body that is being read.
pub(super) struct Reader {
    pub(super) incoming: Rc<Incoming>,
    /// `100 Continue` is due before the first read.
    pub(super) owes_continue: bool,
    coding: Coding,
    /// What a body in chunks may still bring.
    allowance: u64,
    /// Bytes read and not used: `start..end` of `raw`.
    raw: Vec<u8>,
    start: usize,
    end: usize,
    state: State,
}

enum Coding {
    Length(u64),
    Chunked(Decoder),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The end was found.
    Complete,
    /// Where it ends is not known, or not worth to wait for.
    Broken,
}

impl Reader {
    /// `read` is what has been read after the head.
    pub(super) fn new(framing: &Framing, read: &[u8], len_max: u64) -> Reader {
        let coding = match framing.content_length {
            Some(length) => Coding::Length(length),
            None => Coding::Chunked(Decoder::default()),
        };
        Reader {
            incoming: Rc::new(Incoming::new(framing.content_length)),
            // Who sends at once does not wait.
            owes_continue: framing.expects_continue && read.is_empty(),
            coding,
            allowance: len_max,
            raw: read.to_vec(),
            start: 0,
            end: read.len(),
            state: State::Open,
        }
    }

    /// Hands over the next piece of what was read. `false` when more has to be read for that.
    pub(super) fn deliver(&mut self) -> bool {
        if self.state != State::Open {
            return true;
        }
        match self.next_piece() {
            Ok(Some(bytes)) => self.incoming.put(Ok(bytes)),
            Ok(None) if self.state == State::Open => return false,
            Ok(None) => {}
            Err(error) => self.fail(error),
        }
        if self.state == State::Complete {
            self.incoming.end();
        }
        true
    }

    /// Throws away what was read, up to the end of the body. `false` when more has to be read.
    pub(super) fn skip(&mut self) -> bool {
        while self.state == State::Open {
            match self.next_piece() {
                Ok(Some(_)) => {}
                Ok(None) => return self.state != State::Open,
                Err(_) => self.state = State::Broken,
            }
        }
        true
    }

    /// The body ends here, with an error.
    pub(super) fn fail(&mut self, error: BodyError) {
        self.state = State::Broken;
        self.incoming.put(Err(error));
    }

    /// Whether the next request follows, or can after at most `len_max` bytes have been thrown away.
    pub(super) fn can_complete(&self, len_max: u64) -> bool {
        match (&self.state, &self.coding) {
            (State::Complete, _) => true,
            (State::Broken, _) => false,
            (State::Open, _) if self.owes_continue => false,
            (State::Open, Coding::Length(length)) => *length <= len_max,
            (State::Open, Coding::Chunked(_)) => true,
        }
    }

    /// Whether somebody still has the body.
    pub(super) fn is_wanted(&self) -> bool {
        Rc::strong_count(&self.incoming) > 1
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Room to read into; what was read is used up.
    pub(super) fn space(&mut self) -> &mut [u8] {
        debug_assert!(self.start == self.end, "everything that was read has been used");
        self.raw.resize(READ_LEN, 0);
        (self.start, self.end) = (0, 0);
        &mut self.raw
    }

    pub(super) fn filled(&mut self, len: usize) {
        self.end = len;
    }

    /// What was read beyond the body.
    pub(super) fn rest(&self) -> &[u8] {
        &self.raw[self.start..self.end]
    }

    fn next_piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        let unused = &self.raw[self.start..self.end];
        let (data, used) = match &mut self.coding {
            Coding::Length(length) => {
                let len = (unused.len() as u64).min(*length) as usize;
                *length -= len as u64;
                if *length == 0 {
                    self.state = State::Complete;
                }
                (0..len, len)
            }
            Coding::Chunked(decoder) => match decoder.decode(unused).map_err(|_| BodyError::Malformed)? {
                Piece::Data(range) => (range.clone(), range.end),
                Piece::NeedMore => (0..0, unused.len()),
                Piece::End(len) => {
                    self.state = State::Complete;
                    (0..0, len)
                }
            },
        };
        self.allowance = self.allowance.checked_sub(data.len() as u64).ok_or(BodyError::TooLarge)?;
        let bytes = (!data.is_empty()).then(|| Bytes::copy_from_slice(&unused[data]));
        self.start += used;
        Ok(bytes)
    }
}
