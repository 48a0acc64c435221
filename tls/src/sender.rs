//! The sending direction after the handshake: plaintext in, bytes for the stream out. No input or output here.

use crate::{
    alert,
    crypto::RECORDS_PER_KEY,
    error::TlsError,
    limits::RECORD_LEN_MAX,
    link::{Link, Way},
    record::{self, Sealer, Version},
};
use alloc::{rc::Rc, vec::Vec};

/// A `KeyUpdate` that asks for none in return (RFC 8446, 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// Less than this waits for the record that follows: the end of a handshake, the head of a response.
const SHORT_LEN: usize = 1024;

pub(crate) struct Sender {
    sealer: Sealer,
    link: Rc<Link>,
    /// Records; those before `sent` are the stream's.
    out: Vec<u8>,
    sent: usize,
    is_closed: bool,
}

impl Sender {
    /// `out` is what the handshake left to send.
    pub(crate) fn new(sealer: Sealer, link: Rc<Link>, out: Vec<u8>) -> Sender {
        Sender { sealer, link, out, sent: 0, is_closed: false }
    }

    /// Bytes for the stream. They include what the receiving direction wants to say.
    pub(crate) fn due(&mut self) -> Result<&[u8], TlsError> {
        if self.link.take_key_update() {
            self.update_key()?;
        }
        if let Some(alert) = self.link.take_alert() {
            self.sealer.seal(record::ALERT, &alert, &mut self.out);
            self.is_closed |= alert[0] == alert::FATAL;
        }
        Ok(&self.out[self.sent..])
    }

    /// Whether what is due may wait for more, because it fits into a segment with it.
    pub(crate) fn is_short(&self) -> bool {
        self.out.len() - self.sent < SHORT_LEN
    }

    /// The stream took `len` bytes. Memory goes back when it has all.
    pub(crate) fn sent(&mut self, len: usize) {
        self.sent += len;
        if self.sent >= self.out.len() {
            self.sent = 0;
            self.out = Vec::new();
        }
    }

    /// Encrypts up to one record of `data`, once everything before has been sent: how much it took.
    pub(crate) fn seal(&mut self, data: &[u8]) -> Result<usize, TlsError> {
        if self.is_closed {
            return Err(TlsError::Closed);
        }
        if self.sealer.seq() >= RECORDS_PER_KEY {
            self.update_key()?;
        }
        let len = data.len().min(RECORD_LEN_MAX);
        self.sealer.seal(record::APPLICATION_DATA, &data[..len], &mut self.out);
        Ok(len)
    }

    /// Nothing follows.
    pub(crate) fn close(&mut self) {
        if !core::mem::replace(&mut self.is_closed, true) {
            self.sealer.seal(record::ALERT, &[alert::WARNING, alert::CLOSE_NOTIFY], &mut self.out);
        }
    }

    fn update_key(&mut self) -> Result<(), TlsError> {
        // TLS 1.2 has no way to renew keys that is safe to use.
        if self.sealer.version() == Version::Tls12 {
            return Err(TlsError::KeyUsedUp);
        }
        self.sealer.seal(record::HANDSHAKE, &KEY_UPDATE, &mut self.out);
        let secrets = self.link.next_secrets(Way::Out)?;
        self.sealer = Sealer::from_secrets(&secrets, Version::Tls13)?;
        Ok(())
    }
}
