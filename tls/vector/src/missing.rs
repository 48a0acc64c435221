//! What stands in for the assembly on other processors: nothing.

use crate::{Forged, NONCE_LEN, TAG_LEN};

/// A key; there are none.
pub enum Key {}

impl Key {
    /// `None`: this processor has no such instructions, as far as this crate knows.
    pub fn new(_: &[u8]) -> Option<Key> {
        None
    }

    /// Encrypts `data` where it is.
    pub fn seal(&self, _: &[u8; NONCE_LEN], _: &[u8], _: &mut [u8]) -> [u8; TAG_LEN] {
        match *self {}
    }

    /// Decrypts `data` where it is.
    pub fn open(&self, _: &[u8; NONCE_LEN], _: &[u8], _: &mut [u8], _: &[u8; TAG_LEN]) -> Result<(), Forged> {
        match *self {}
    }
}
