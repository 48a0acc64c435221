//! The secret of those who may look: [`Key`].

use alloc::vec::Vec;
use core::{fmt, str::FromStr};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A shorter one can be found by trying.
pub const KEY_LEN_MIN: usize = 16;

/// The length of a code.
pub(crate) const CODE_LEN: usize = 32;

/// A secret. It is never shown, not even by `Debug`, and does not stay in memory.
///
/// ```
/// use unikernel_inspect::Key;
///
/// let key: Key = "e9a8c7d6b5a49382".parse()?;
/// assert_eq!(format!("{key:?}"), "Key");
/// assert!("too short".parse::<Key>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

/// It is shorter than `KEY_LEN_MIN` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// How long it is.
    pub len: usize,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyError { len } = self;
        write!(
            f,
            "the key has {len} bytes, and at least {KEY_LEN_MIN} are needed; make one with `openssl rand -hex 16`"
        )
    }
}

impl core::error::Error for KeyError {}

impl Key {
    /// The key with these bytes.
    ///
    /// # Errors
    ///
    /// They are too few.
    pub fn new(bytes: &[u8]) -> Result<Key, KeyError> {
        let len = bytes.len();
        if len < KEY_LEN_MIN { Err(KeyError { len }) } else { Ok(Key(Zeroizing::new(bytes.into()))) }
    }

    /// The code of a message that is in several parts (HMAC-SHA-256, RFC 2104).
    pub(crate) fn code(&self, parts: &[&[u8]]) -> [u8; CODE_LEN] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Whether that is the code of the message. How long this takes does not tell how much of it is right.
    pub(crate) fn is_code(&self, parts: &[&[u8]], code: &[u8; CODE_LEN]) -> bool {
        self.mac(parts).verify(code.into()).is_ok()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in parts {
            // With its length, so that no two lists of parts are one message.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Key, KeyError> {
        Key::new(text.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_short_key_is_refused_and_no_key_is_shown() {
        let error = "fifteen bytes..".parse::<Key>().unwrap_err();
        assert_eq!(error, KeyError { len: 15 });
        assert!(format!("{error}").contains("openssl rand -hex 16") && !format!("{error}").contains("fifteen"));
        let key: Key = "sixteen bytes...".parse().unwrap();
        assert_eq!(format!("{key:?}"), "Key");
    }

    #[test]
    fn codes_depend_on_key_parts_and_their_bounds() {
        let (key, other): (Key, Key) = ("sixteen bytes...".parse().unwrap(), "sixteen bytes..!".parse().unwrap());
        let code = key.code(&[b"ab", b"c"]);
        assert!(key.is_code(&[b"ab", b"c"], &code));
        for (parts, code) in [(["a", "bc"], &code), (["ab", "d"], &code), (["ab", "c"], &[0; CODE_LEN])] {
            assert!(!key.is_code(&[parts[0].as_bytes(), parts[1].as_bytes()], code), "{parts:?}");
        }
        assert_ne!(other.code(&[b"ab", b"c"]), code);
    }
}
