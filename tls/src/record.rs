//! Records (RFC 8446, 5; RFC 5246, 6.2): plaintext in, ciphertext out, and back. No input or output here.

use crate::crypto::aead::{Algorithm, Key, NONCE_LEN, TAG_LEN};
use crate::limits::RECORD_LEN_MAX;
use alloc::vec::Vec;
use core::ops::Range;
use rustls::{ConnectionTrafficSecrets, Error, PeerMisbehaved, crypto::cipher::Iv};
use zeroize::Zeroize;

/// Type, version, length.
pub(crate) const HEADER_LEN: usize = 5;
/// The part of the nonce that TLS 1.2 sends with every record of AES-GCM (RFC 5288, 3).
const EXPLICIT_LEN: usize = 8;

/// Content types (RFC 8446, B.1).
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// The version on the wire: of TLS 1.2, and for its middleboxes also of TLS 1.3.
const WIRE_VERSION: [u8; 2] = [3, 3];

/// How records look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// What both directions have in common.
struct Cipher {
    key: Key,
    iv: [u8; NONCE_LEN],
    version: Version,
    has_explicit_nonce: bool,
}

/// Encrypts records, and counts them.
pub(crate) struct Sealer {
    cipher: Cipher,
    seq: u64,
}

/// Decrypts records, and counts them.
pub(crate) struct Opener {
    cipher: Cipher,
    seq: u64,
}

impl Cipher {
    fn new(algorithm: Algorithm, key: &[u8], iv: &Iv, version: Version) -> Cipher {
        let mut bytes = [0; NONCE_LEN];
        bytes.copy_from_slice(iv.as_ref());
        let has_explicit_nonce = version == Version::Tls12 && algorithm != Algorithm::ChaCha20Poly1305;
        Cipher { key: Key::new(algorithm, key), iv: bytes, version, has_explicit_nonce }
    }

    /// RFC 8446, 5.3; RFC 7905, 2; and for AES-GCM in TLS 1.2 one of the ways that RFC 5288 leaves open.
    fn nonce(&self, seq: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, seq) in nonce[NONCE_LEN - 8..].iter_mut().zip(seq.to_be_bytes()) {
            *byte ^= seq;
        }
        nonce
    }

    /// RFC 5246, 6.2.3.3.
    fn additional12(seq: u64, typ: u8, len: usize) -> [u8; 13] {
        let mut additional = [0; 13];
        additional[..8].copy_from_slice(&seq.to_be_bytes());
        additional[8..].copy_from_slice(&header(typ, len));
        additional
    }

    fn explicit_len(&self) -> usize {
        if self.has_explicit_nonce { EXPLICIT_LEN } else { 0 }
    }

    /// Keys wipe themselves.
    fn wipe(&mut self) {
        self.iv.zeroize();
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        self.wipe();
    }
}

fn header(typ: u8, len: usize) -> [u8; HEADER_LEN] {
    [typ, WIRE_VERSION[0], WIRE_VERSION[1], (len >> 8) as u8, len as u8]
}

/// Algorithm, key and nonce base of one direction.
fn parts(secrets: &ConnectionTrafficSecrets) -> Result<(Algorithm, &[u8], &Iv), Error> {
    Ok(match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Algorithm::Aes128Gcm, key.as_ref(), iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Algorithm::Aes256Gcm, key.as_ref(), iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Algorithm::ChaCha20Poly1305, key.as_ref(), iv),
        _ => return Err(Error::EncryptError),
    })
}

impl Sealer {
    pub(crate) fn new(algorithm: Algorithm, key: &[u8], iv: &Iv, version: Version, seq: u64) -> Sealer {
        Sealer { cipher: Cipher::new(algorithm, key, iv, version), seq }
    }

    pub(crate) fn from_secrets(
        (seq, secrets): &(u64, ConnectionTrafficSecrets),
        version: Version,
    ) -> Result<Sealer, Error> {
        let (algorithm, key, iv) = parts(secrets)?;
        Ok(Sealer::new(algorithm, key, iv, version, *seq))
    }

    pub(crate) fn version(&self) -> Version {
        self.cipher.version
    }

    /// Records encrypted so far.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// By how much a record's payload is longer than its plaintext.
    pub(crate) fn overhead(&self) -> usize {
        match self.cipher.version {
            Version::Tls12 => self.cipher.explicit_len() + TAG_LEN,
            Version::Tls13 => 1 + TAG_LEN,
        }
    }

    /// Appends a record with `plain`, of at most [`RECORD_LEN_MAX`] bytes, to `out`.
    pub(crate) fn seal(&mut self, typ: u8, plain: &[u8], out: &mut Vec<u8>) {
        self.seal_at(self.seq, typ, plain, out);
        self.seq += 1;
    }

    pub(crate) fn seal_at(&self, seq: u64, typ: u8, plain: &[u8], out: &mut Vec<u8>) {
        let len = plain.len() + self.overhead();
        out.reserve(HEADER_LEN + len);
        let nonce = self.cipher.nonce(seq);
        let tag = match self.cipher.version {
            Version::Tls13 => {
                let header = header(APPLICATION_DATA, len);
                out.extend_from_slice(&header);
                let start = out.len();
                out.extend_from_slice(plain);
                out.push(typ);
                self.cipher.key.seal(&nonce, &header, &mut out[start..])
            }
            Version::Tls12 => {
                out.extend_from_slice(&header(typ, len));
                out.extend_from_slice(&nonce[NONCE_LEN - self.cipher.explicit_len()..]);
                let start = out.len();
                out.extend_from_slice(plain);
                self.cipher.key.seal(&nonce, &Cipher::additional12(seq, typ, plain.len()), &mut out[start..])
            }
        };
        out.extend_from_slice(&tag);
    }
}

impl Opener {
    pub(crate) fn new(algorithm: Algorithm, key: &[u8], iv: &Iv, version: Version, seq: u64) -> Opener {
        Opener { cipher: Cipher::new(algorithm, key, iv, version), seq }
    }

    pub(crate) fn from_secrets(
        (seq, secrets): &(u64, ConnectionTrafficSecrets),
        version: Version,
    ) -> Result<Opener, Error> {
        let (algorithm, key, iv) = parts(secrets)?;
        Ok(Opener::new(algorithm, key, iv, version, *seq))
    }

    pub(crate) fn version(&self) -> Version {
        self.cipher.version
    }

    /// Decrypts the payload of the next record where it is: its true type, and where the plaintext stands.
    pub(crate) fn open(&mut self, typ: u8, payload: &mut [u8]) -> Result<(u8, Range<usize>), Error> {
        let opened = self.open_at(self.seq, typ, payload)?;
        self.seq += 1;
        Ok(opened)
    }

    pub(crate) fn open_at(&self, seq: u64, typ: u8, payload: &mut [u8]) -> Result<(u8, Range<usize>), Error> {
        let opened = match self.cipher.version {
            Version::Tls13 => self.open13(seq, typ, payload)?,
            Version::Tls12 => self.open12(seq, typ, payload)?,
        };
        if opened.1.len() > RECORD_LEN_MAX {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(opened)
    }

    fn open13(&self, seq: u64, typ: u8, payload: &mut [u8]) -> Result<(u8, Range<usize>), Error> {
        let header = header(typ, payload.len());
        let (data, tag) = payload.split_last_chunk_mut::<TAG_LEN>().ok_or(Error::DecryptError)?;
        self.cipher.key.open(&self.cipher.nonce(seq), &header, data, tag).map_err(|_| Error::DecryptError)?;
        // RFC 8446, 5.4: the type is the last byte that is not zero.
        let end = data.iter().rposition(|byte| *byte != 0).ok_or(PeerMisbehaved::IllegalTlsInnerPlaintext)?;
        Ok((data[end], 0..end))
    }

    fn open12(&self, seq: u64, typ: u8, payload: &mut [u8]) -> Result<(u8, Range<usize>), Error> {
        let start = self.cipher.explicit_len();
        let mut nonce = self.cipher.nonce(seq);
        let (data, tag) = payload.split_last_chunk_mut::<TAG_LEN>().ok_or(Error::DecryptError)?;
        let (explicit, data) = data.split_at_mut_checked(start).ok_or(Error::DecryptError)?;
        nonce[NONCE_LEN - start..].copy_from_slice(explicit);
        let additional = Cipher::additional12(seq, typ, data.len());
        self.cipher.key.open(&nonce, &additional, data, tag).map_err(|_| Error::DecryptError)?;
        Ok((typ, start..start + data.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_that_goes_leaves_nothing() {
        fn wipes_itself<T: zeroize::ZeroizeOnDrop>() {}
        wipes_itself::<aes_gcm::Aes128Gcm>();
        wipes_itself::<aes_gcm::Aes256Gcm>();
        wipes_itself::<chacha20poly1305::ChaCha20Poly1305>();
        wipes_itself::<x25519_dalek::EphemeralSecret>();
        wipes_itself::<p256::SecretKey>();
        wipes_itself::<p384::SecretKey>();
        wipes_itself::<ed25519_dalek::SigningKey>();
        let mut cipher = Cipher::new(Algorithm::ChaCha20Poly1305, &[1; 32], &Iv::new([2; NONCE_LEN]), Version::Tls13);
        assert_eq!(cipher.nonce(0), [2; NONCE_LEN]);
        cipher.wipe();
        assert_eq!(cipher.iv, [0; NONCE_LEN]);
    }
}
