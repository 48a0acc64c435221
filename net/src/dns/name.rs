//! Domain names: as people write them, and as messages carry them.

use alloc::boxed::Box;
use core::fmt;

/// Longest label (RFC 1035, 2.3.4).
const LABEL_LEN_MAX: usize = 63;

/// Longest name on the wire, with the length of every label and the root (RFC 1035, 2.3.4).
const NAME_LEN_MAX: usize = 255;

/// The two high bits of a length say that the rest of the name stands elsewhere (RFC 1035, 4.1.4).
const POINTER: u8 = 0xc0;

/// A pointer cannot lead into the header.
const HEADER_LEN: usize = 12;

/// An absolute name in the form of the wire, in lower case, so that equal names have equal bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(Box<[u8]>);

impl Name {
    /// A host's name; a dot at its end is allowed. `None` when no host can have it (RFC 1123, 2.1, and underscores).
    pub(crate) fn parse(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let last = text.rsplit('.').next()?;
        // Not a name but an address that is written in an unusual way (RFC 1123, 2.1).
        if last.bytes().all(|byte| byte.is_ascii_digit()) || !text.bytes().all(|byte| byte == b'.' || allowed(byte)) {
            return None;
        }
        Name::from_labels(text.split('.').map(str::as_bytes))
    }

    /// `None` when a label is empty or too long, or all of them are.
    pub(crate) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Name> {
        let (mut wire, mut len) = ([0; NAME_LEN_MAX], 0);
        for label in labels {
            let end = len + 1 + label.len();
            if label.is_empty() || label.len() > LABEL_LEN_MAX || end >= NAME_LEN_MAX {
                return None;
            }
            wire[len] = label.len() as u8;
            wire[len + 1..end].copy_from_slice(label);
            wire[len + 1..end].make_ascii_lowercase();
            len = end;
        }
        Some(Name(wire[..=len].into()))
    }

    /// This name under `domain`; `None` when that is too long.
    pub(crate) fn under(&self, domain: &Name) -> Option<Name> {
        Name::from_labels(self.labels().chain(domain.labels()))
    }

    /// As a message carries it.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn labels(&self) -> Labels<'_> {
        Labels { message: &self.0, at: 0 }
    }

    /// Whether the last label is `label`.
    pub(crate) fn ends_with(&self, label: &str) -> bool {
        self.labels().last() == Some(label.as_bytes())
    }

    /// Whether it is `ancestor` or below it.
    pub(crate) fn is_within(&self, ancestor: &Labels<'_>) -> bool {
        let mut rest = self.labels();
        loop {
            if rest.is(ancestor) {
                return true;
            }
            if rest.next().is_none() {
                return false;
            }
        }
    }
}

/// The text form, without the dot at the end. What no host's name has is written as `\DDD` (RFC 1035, 5.1).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &byte in label {
                match byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
                    true => write!(f, "{}", byte as char)?,
                    false => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The labels of a name inside a message. What is not well-formed ends it; [`Labels::check`] comes first.
#[derive(Clone, Debug)]
pub(crate) struct Labels<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Labels<'a> {
    /// The name at `at`, checked, and where it ends.
    pub(crate) fn check(message: &'a [u8], at: usize) -> Option<(Labels<'a>, usize)> {
        let (mut len, mut next, mut run, mut end) = (1, at, at, None);
        loop {
            match *message.get(next)? {
                0 => return Some((Labels { message, at }, end.unwrap_or(next + 1))),
                label if label & POINTER == 0 => {
                    len += 1 + usize::from(label);
                    next += 1 + usize::from(label);
                }
                _ => {
                    end = end.or(Some(next + 2));
                    next = pointer(message, next).filter(|target| *target < run)?;
                    // Every pointer leads to before the part it stands in, so their number is bounded.
                    run = next;
                }
            }
            if len > NAME_LEN_MAX {
                return None;
            }
        }
    }

    /// Whether both name the same, in any case (RFC 1035, 2.3.3).
    pub(crate) fn is(&self, other: &Labels<'_>) -> bool {
        let (mut ours, mut theirs) = (self.clone(), other.clone());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(our), Some(their)) if our.eq_ignore_ascii_case(their) => {}
                _ => return false,
            }
        }
    }

    pub(crate) fn to_name(&self) -> Option<Name> {
        Name::from_labels(self.clone())
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            match *self.message.get(self.at)? {
                0 => return None,
                len if len & POINTER == 0 => {
                    let start = self.at + 1;
                    self.at = start + usize::from(len);
                    return self.message.get(start..self.at);
                }
                _ => self.at = pointer(self.message, self.at).filter(|target| *target < self.at)?,
            }
        }
    }
}

/// Where the pointer at `at` leads. `None` when it is none or leads into the header.
fn pointer(message: &[u8], at: usize) -> Option<usize> {
    let bytes = message.get(at..at + 2)?;
    let target = usize::from(u16::from_be_bytes([bytes[0] & !POINTER, bytes[1]]));
    (bytes[0] & POINTER == POINTER && target >= HEADER_LEN).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::ToString, vec::Vec};

    fn check(text: &str, expected: Option<&str>) {
        let name = Name::parse(text).map(|name| name.to_string());
        assert_eq!(name.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn names_of_hosts() {
        check("example.com", Some("example.com"));
        check("Example.COM.", Some("example.com"));
        check("redis", Some("redis"));
        check("_dns.a-b.1x", Some("_dns.a-b.1x"));
        check(&"a".repeat(63), Some(&"a".repeat(63)));
        check(&["a"; 127].join("."), Some(&["a"; 127].join(".")));
    }

    #[test]
    fn what_no_host_is_called() {
        for text in ["", ".", "..", "a..b", ".a", "a b", "bücher.de", "a.b/", "127.1", "1.2.3.4.", "0", "a\0b"] {
            check(text, None);
        }
        check(&"a".repeat(64), None);
        check(&["a"; 128].join("."), None);
    }

    #[test]
    fn a_name_under_a_domain() {
        let (host, domain) = (Name::parse("db").unwrap(), Name::parse("Corp.example").unwrap());
        assert_eq!(host.under(&domain).unwrap().to_string(), "db.corp.example");
        assert!(host.under(&domain).unwrap().is_within(&domain.labels()));
        assert!(domain.is_within(&domain.labels()));
        assert!(!domain.is_within(&host.under(&domain).unwrap().labels()));
        assert!(!Name::parse("xcorp.example").unwrap().is_within(&domain.labels()));
        assert!(domain.is_within(&Labels { message: &[0], at: 0 }), "everything is below the root");
        assert_eq!(Name::parse(&["a"; 126].join(".")).unwrap().under(&domain), None);
    }

    /// A message of a header and `body`, with the name looked at `at` in the body.
    fn check_wire(body: &[u8], at: usize, expected: Option<(&str, usize)>) {
        let message = [&[0; HEADER_LEN], body].concat();
        let found = Labels::check(&message, HEADER_LEN + at);
        let found = found.map(|(labels, end)| (labels.to_name().unwrap().to_string(), end - HEADER_LEN));
        assert_eq!(found, expected.map(|(text, end)| (text.to_string(), end)), "{body:?}");
    }

    #[test]
    fn names_of_messages() {
        check_wire(b"\x01A\x02bc\0rest", 0, Some(("a.bc", 6)));
        check_wire(b"\x02bc\0\x01a\xc0\x0crest", 4, Some(("a.bc", 8)));
        check_wire(b"\x02bc\0\x01a\xc0\x0c\x01x\xc0\x10rest", 8, Some(("x.a.bc", 12)));
        check_wire(b"\0", 0, Some(("", 1)));
        check_wire(b"\x03a.\x07\0", 0, Some(("a\\046\\007", 5)));
    }

    #[test]
    fn names_that_lie() {
        check_wire(b"", 0, None);
        check_wire(b"\x05abc", 0, None);
        check_wire(b"\x01a", 0, None);
        check_wire(b"\xc0", 0, None);
        check_wire(b"\xc0\x0c", 0, None);
        check_wire(b"\x01a\xc0\x0c", 0, None);
        check_wire(b"\x01a\xc0\x10\x01b\xc0\x0c", 0, None);
        check_wire(b"\x01a\0\xc0\x00", 3, None);
        check_wire(b"\x41a\0", 0, None);
        check_wire(b"\x80\0", 0, None);
        let long: Vec<u8> = [&[63u8][..], &[b'a'; 63]].concat().repeat(4);
        check_wire(&[&long[..], &[0]].concat(), 0, None);
    }
}
