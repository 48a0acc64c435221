//! Authenticated encryption of records: AES-GCM (NIST SP 800-38D) and ChaCha20-Poly1305 (RFC 8439).
//!
//! AES-GCM is assembly where the CPU has what it takes, and software elsewhere.

use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit, aead::AeadInOut};
use alloc::boxed::Box;
use chacha20poly1305::ChaCha20Poly1305;

/// Bytes of an authentication tag.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of a nonce.
pub(crate) const NONCE_LEN: usize = 12;

/// The algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Algorithm {
    pub(crate) fn key_len(self) -> usize {
        match self {
            Algorithm::Aes128Gcm => 16,
            Algorithm::Aes256Gcm | Algorithm::ChaCha20Poly1305 => 32,
        }
    }
}

/// The tag did not fit the data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forged;

/// A key, ready for use.
pub(crate) enum Key {
    Assembly(Box<unikernel_tls_vector::Key>),
    Software(Software),
}

/// Keys of RustCrypto's.
pub(crate) enum Software {
    Aes128Gcm(Box<Aes128Gcm>),
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Key {
    /// `key` must have the algorithm's length; that rustls cuts it so is part of its contract.
    pub(crate) fn new(algorithm: Algorithm, key: &[u8]) -> Key {
        if algorithm != Algorithm::ChaCha20Poly1305
            && let Some(key) = unikernel_tls_vector::Key::new(key)
        {
            return Key::Assembly(Box::new(key));
        }
        Key::Software(Software::new(algorithm, key))
    }

    /// Encrypts `data` where it is; the tag follows it on the wire. A nonce must serve one message only.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], additional: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        match self {
            Key::Assembly(key) => key.seal(nonce, additional, data),
            Key::Software(key) => key.seal(nonce, additional, data),
        }
    }

    /// Decrypts `data` where it is. When it is [`Forged`], what `data` holds is not to be used.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        additional: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Forged> {
        match self {
            Key::Assembly(key) => key.open(nonce, additional, data, tag).map_err(|_| Forged),
            Key::Software(key) => key.open(nonce, additional, data, tag),
        }
    }
}

impl Software {
    fn new(algorithm: Algorithm, key: &[u8]) -> Software {
        const LEN: &str = "a key has its algorithm's length";
        match algorithm {
            Algorithm::Aes128Gcm => Software::Aes128Gcm(Box::new(Aes128Gcm::new_from_slice(key).expect(LEN))),
            Algorithm::Aes256Gcm => Software::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(key).expect(LEN))),
            Algorithm::ChaCha20Poly1305 => {
                Software::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new_from_slice(key).expect(LEN)))
            }
        }
    }

    fn seal(&self, nonce: &[u8; NONCE_LEN], additional: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        let (nonce, data) = (&(*nonce).into(), data.into());
        let tag = match self {
            Software::Aes128Gcm(key) => key.encrypt_inout_detached(nonce, additional, data),
            Software::Aes256Gcm(key) => key.encrypt_inout_detached(nonce, additional, data),
            Software::ChaCha20Poly1305(key) => key.encrypt_inout_detached(nonce, additional, data),
        };
        tag.expect("records are far below the 64 GiB these algorithms take").into()
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        additional: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Forged> {
        let (nonce, tag, data) = (&(*nonce).into(), &(*tag).into(), data.into());
        match self {
            Software::Aes128Gcm(key) => key.decrypt_inout_detached(nonce, additional, data, tag),
            Software::Aes256Gcm(key) => key.decrypt_inout_detached(nonce, additional, data, tag),
            Software::ChaCha20Poly1305(key) => key.decrypt_inout_detached(nonce, additional, data, tag),
        }
        .map_err(|_| Forged)
    }
}

/// Whether AES costs less than ChaCha20 here.
pub(super) fn has_fast_aes() -> bool {
    unikernel_tls_vector::Key::new(&[0; 16]).is_some()
}
