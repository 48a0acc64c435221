//! The receiving direction after the handshake: bytes of the stream in, plaintext out. No input or output here.

use crate::{
    alert,
    error::{Misuse, TlsError},
    limits::{IDLE_BUFFER_LEN, POST_HANDSHAKE_LEN_MAX, RECORD_LEN_MAX, RECORD_OVERHEAD_MAX, USELESS_RECORDS_MAX},
    link::{Link, Way},
    record::{self, HEADER_LEN, Opener, Version},
};
use alloc::{rc::Rc, vec::Vec};
use core::ops::Range;

/// Room for the longest record.
const BUFFER_LEN: usize = RECORD_LEN_MAX + RECORD_OVERHEAD_MAX;

/// Handshake messages that may follow the handshake (RFC 8446, B.3; RFC 5246, 7.4).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// Type and length of a handshake message.
const MESSAGE_HEADER_LEN: usize = 4;

/// What [`Receiver::advance`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is plaintext.
    Data,
    /// The peer has closed its direction in good order.
    End,
    /// More bytes of the stream are needed.
    Nothing,
}

enum State {
    Open,
    Closed,
    Failed(TlsError),
}

pub(crate) struct Receiver {
    opener: Opener,
    link: Rc<Link>,
    /// Bytes of the stream in `unread`, opened plaintext in `plain`, which is before that.
    buffer: Vec<u8>,
    unread: Range<usize>,
    plain: Range<usize>,
    /// The start of a handshake message that goes on in the next record.
    message: Vec<u8>,
    useless_records: u32,
    state: State,
}

impl Receiver {
    /// `read` is what was read beyond the handshake.
    pub(crate) fn new(opener: Opener, link: Rc<Link>, read: Vec<u8>) -> Receiver {
        let unread = 0..read.len();
        Receiver {
            opener,
            link,
            buffer: read,
            unread,
            plain: 0..0,
            message: Vec::new(),
            useless_records: 0,
            state: State::Open,
        }
    }

    /// Opens records until there is plaintext.
    pub(crate) fn advance(&mut self) -> Result<Found, TlsError> {
        loop {
            if !self.plain.is_empty() {
                return Ok(Found::Data);
            }
            match &self.state {
                State::Open => {}
                State::Closed => return Ok(Found::End),
                State::Failed(error) => return Err(error.clone()),
            }
            match self.open_next() {
                Ok(true) => {}
                Ok(false) => return Ok(Found::Nothing),
                Err((description, error)) => {
                    if let Some(description) = description {
                        self.link.send_alert([alert::FATAL, description]);
                    }
                    return Err(self.fail(error));
                }
            }
        }
    }

    /// Everything that fails from now on fails so.
    pub(crate) fn fail(&mut self, error: TlsError) -> TlsError {
        self.state = State::Failed(error.clone());
        self.buffer = Vec::new();
        self.unread = 0..0;
        error
    }

    /// The stream has ended: in good order only after a `close_notify`.
    pub(crate) fn end_of_stream(&mut self) -> TlsError {
        self.fail(TlsError::Truncated)
    }

    /// What was opened.
    pub(crate) fn plain(&self) -> &[u8] {
        &self.buffer[self.plain.clone()]
    }

    pub(crate) fn consume(&mut self, len: usize) {
        self.plain.start = (self.plain.start + len).min(self.plain.end);
    }

    /// Room to read into: what the current record needs, or as much as an idle connection holds.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let needed = self.needed_len();
        if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            self.plain = 0..0;
        }
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        &mut self.buffer[self.unread.end..]
    }

    pub(crate) fn filled(&mut self, len: usize) {
        self.unread.end += len;
    }

    /// Nothing came at once: gives the memory back if nothing is in it. True when it did.
    pub(crate) fn idle(&mut self) -> bool {
        let shrinks = self.unread.is_empty() && self.buffer.capacity() > IDLE_BUFFER_LEN;
        if shrinks {
            self.buffer = Vec::new();
            (self.unread, self.plain) = (0..0, 0..0);
        }
        shrinks
    }

    /// Prepares for a record of any length: whoever reads much gets much.
    pub(crate) fn expect_much(&mut self) {
        if self.buffer.len() < BUFFER_LEN {
            self.buffer.resize(BUFFER_LEN, 0);
        }
    }

    fn needed_len(&self) -> usize {
        match self.buffer[self.unread.clone()] {
            [_, _, _, high, low, ..] => (HEADER_LEN + usize::from(high) * 256 + usize::from(low)).min(BUFFER_LEN),
            _ => IDLE_BUFFER_LEN,
        }
    }

    /// Opens the next record; `false` when it is not complete.
    fn open_next(&mut self) -> Result<bool, (Option<u8>, TlsError)> {
        let [typ, _, _, high, low, ..] = self.buffer[self.unread.clone()] else { return Ok(false) };
        let len = usize::from(high) * 256 + usize::from(low);
        if len > BUFFER_LEN - HEADER_LEN {
            return Err((Some(alert::RECORD_OVERFLOW), TlsError::from(rustls::Error::PeerSentOversizedRecord)));
        }
        if self.unread.len() < HEADER_LEN + len {
            return Ok(false);
        }
        if self.opener.version() == Version::Tls13 && typ != record::APPLICATION_DATA {
            return Err(unexpected());
        }
        let start = self.unread.start + HEADER_LEN;
        let (typ, range) = self.opener.open(typ, &mut self.buffer[start..start + len]).map_err(|error| {
            let description = match error {
                rustls::Error::PeerSentOversizedRecord => alert::RECORD_OVERFLOW,
                rustls::Error::DecryptError => alert::BAD_RECORD_MAC,
                _ => alert::UNEXPECTED_MESSAGE,
            };
            (Some(description), TlsError::from(error))
        })?;
        self.unread.start = start + len;
        self.take_in(typ, start + range.start..start + range.end)?;
        Ok(true)
    }

    fn take_in(&mut self, typ: u8, plain: Range<usize>) -> Result<(), (Option<u8>, TlsError)> {
        if typ != record::HANDSHAKE && !self.message.is_empty() {
            return Err(unexpected());
        }
        if typ == record::APPLICATION_DATA && !plain.is_empty() {
            self.useless_records = 0;
            self.plain = plain;
            return Ok(());
        }
        self.useless_records += 1;
        if self.useless_records > USELESS_RECORDS_MAX {
            return Err((Some(alert::UNEXPECTED_MESSAGE), TlsError::Misbehaved(Misuse::UselessRecords)));
        }
        match typ {
            record::APPLICATION_DATA => Ok(()),
            record::ALERT => self.take_alert(plain),
            record::HANDSHAKE => self.take_handshake(plain),
            _ => Err(unexpected()),
        }
    }

    fn take_alert(&mut self, plain: Range<usize>) -> Result<(), (Option<u8>, TlsError)> {
        let [level, description] = self.buffer[plain] else { return Err(malformed()) };
        match (level, description) {
            (_, alert::CLOSE_NOTIFY) => {
                self.state = State::Closed;
                Ok(())
            }
            (_, alert::USER_CANCELED) => Ok(()),
            (alert::WARNING, _) if self.opener.version() == Version::Tls12 => Ok(()),
            _ => Err((None, TlsError::Alert(description))),
        }
    }

    /// Messages after the handshake; each may be cut over records.
    fn take_handshake(&mut self, plain: Range<usize>) -> Result<(), (Option<u8>, TlsError)> {
        if self.message.len() + plain.len() > POST_HANDSHAKE_LEN_MAX + RECORD_LEN_MAX {
            return Err((Some(alert::UNEXPECTED_MESSAGE), TlsError::Misbehaved(Misuse::MessageTooLong)));
        }
        self.message.extend_from_slice(&self.buffer[plain]);
        loop {
            let [typ, a, b, c, ..] = self.message[..] else { return Ok(()) };
            let end = MESSAGE_HEADER_LEN + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c);
            if end > POST_HANDSHAKE_LEN_MAX {
                return Err((Some(alert::UNEXPECTED_MESSAGE), TlsError::Misbehaved(Misuse::MessageTooLong)));
            }
            if self.message.len() < end {
                return Ok(());
            }
            let mut message = core::mem::take(&mut self.message);
            self.message = message.split_off(end);
            self.take_message(typ, &message[MESSAGE_HEADER_LEN..])?;
        }
    }

    fn take_message(&mut self, typ: u8, body: &[u8]) -> Result<(), (Option<u8>, TlsError)> {
        match (self.opener.version(), typ) {
            (Version::Tls13, KEY_UPDATE) => self.take_key_update(body),
            (Version::Tls13, NEW_SESSION_TICKET) => {
                self.link.keep_ticket(body).map_err(|error| (Some(alert::UNEXPECTED_MESSAGE), TlsError::from(error)))
            }
            // A new handshake within the connection: refused, and the connection goes on (RFC 5246, 7.2.2).
            (Version::Tls12, HELLO_REQUEST | CLIENT_HELLO) => {
                self.link.send_alert([alert::WARNING, alert::NO_RENEGOTIATION]);
                Ok(())
            }
            _ => Err(unexpected()),
        }
    }

    fn take_key_update(&mut self, body: &[u8]) -> Result<(), (Option<u8>, TlsError)> {
        let [asks @ (0 | 1)] = *body else { return Err(malformed()) };
        // RFC 8446, 5.1: what follows it in the record would be under the old key.
        if !self.message.is_empty() {
            return Err(unexpected());
        }
        let secrets = self.link.next_secrets(Way::In).map_err(|error| (None, TlsError::from(error)))?;
        self.opener = Opener::from_secrets(&secrets, Version::Tls13).map_err(|error| (None, TlsError::from(error)))?;
        if asks == 1 {
            self.link.ask_key_update();
        }
        Ok(())
    }
}

fn unexpected() -> (Option<u8>, TlsError) {
    (Some(alert::UNEXPECTED_MESSAGE), TlsError::Misbehaved(Misuse::UnexpectedMessage))
}

fn malformed() -> (Option<u8>, TlsError) {
    (Some(alert::DECODE_ERROR), TlsError::Misbehaved(Misuse::Malformed))
}
