//! Why a name has no address.

use core::fmt;

/// Why a lookup found no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// The text is no host's name.
    NotAName,
    /// The machine has no address yet; wait for [`Stack::configured`](crate::Stack::configured).
    NotConfigured,
    /// No DNS server is known.
    NoServer,
    /// There is no such name.
    NoSuchName,
    /// The name exists and has no address of a family this machine uses.
    NoAddress,
    /// No server answered in time.
    NoAnswer,
    /// Every server that answered failed or refused.
    Refused,
    /// The answers were not well-formed.
    BadAnswer,
    /// The name is an alias of an alias, round in a circle or too often.
    AliasLoop,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LookupError::NotAName => {
                "not the name of a host: labels of 1 to 63 letters, digits, `-` and `_`, joined by dots; write others as xn--…"
            }
            LookupError::NotConfigured => "this machine has no address yet; await `Stack::configured` first",
            LookupError::NoServer => "no DNS server is known; name one with `dns=ADDR`",
            LookupError::NoSuchName => "there is no such name; check its spelling and the search domain",
            LookupError::NoAddress => "the name exists, but has no address of a family that this machine uses",
            LookupError::NoAnswer => "no DNS server answers; check the way to it, or name another one with `dns=ADDR`",
            LookupError::Refused => {
                "the DNS servers fail or refuse to answer for this name; ask their operator, or name another one with \
                 `dns=ADDR`"
            }
            LookupError::BadAnswer => {
                "the DNS server's answer is malformed; name another server with `dns=ADDR`, or look for what changes it \
                 on its way"
            }
            LookupError::AliasLoop => "the name's CNAME records lead in a circle or too far; ask the zone's operator",
        })
    }
}

impl core::error::Error for LookupError {}
