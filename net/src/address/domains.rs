//! Domain names as servers announce them: lists in the form of RFC 1035, and plain text.

use super::limits::{DOMAIN_LEN_MAX, SEARCH_MAX};
use alloc::{string::String, vec::Vec};

/// Pointers followed in one name; real ones need one. Each must point further back, so this only saves time.
const POINTERS_MAX: usize = 8;

/// Whether names may end in a pointer to an earlier one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 3397 (DHCPv4).
    Compressed,
    /// RFC 8415 and RFC 8106.
    Plain,
}

/// The names of a list, [`SEARCH_MAX`] at most. `None` when it is malformed. Padding of zeroes, which are names without
/// labels, is skipped (RFC 8106, 5.2).
pub(super) fn list(bytes: &[u8], form: Form) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (name, end) = name(bytes, at, form)?;
        if !name.is_empty() && names.len() < SEARCH_MAX && !names.contains(&name) {
            names.push(name);
        }
        at = end;
    }
    Some(names)
}

/// The name at `start`, and where what follows it begins.
fn name(bytes: &[u8], start: usize, form: Form) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = start;
    let mut end = None;
    let mut pointers = 0;
    loop {
        let len = *bytes.get(at)?;
        match len {
            0 => return Some((name, end.unwrap_or(at + 1))),
            1..=63 => {
                add_label(&mut name, bytes.get(at + 1..at + 1 + usize::from(len))?)?;
                at += 1 + usize::from(len);
            }
            0xc0.. if form == Form::Compressed && pointers < POINTERS_MAX => {
                let to = usize::from(len & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                end = end.or(Some(at + 2));
                // Only backwards, so this ends.
                at = Some(to).filter(|to| *to < at)?;
                pointers += 1;
            }
            _ => return None,
        }
    }
}

fn add_label(name: &mut String, label: &[u8]) -> Option<()> {
    let fits = name.len() + 1 + label.len() <= DOMAIN_LEN_MAX;
    let text = core::str::from_utf8(label).ok().filter(|text| fits && text.bytes().all(is_host_byte))?;
    if !name.is_empty() {
        name.push('.');
    }
    name.push_str(text);
    Some(())
}

/// A name in text (DHCPv4's option 15), perhaps with zeroes or a dot at its end.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(bytes).ok()?.trim_end_matches('\0').trim_end_matches('.');
    let labels = text.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(is_host_byte));
    (text.len() <= DOMAIN_LEN_MAX && labels).then(|| text.into())
}

/// What host names are made of (RFC 1123, 2.1), and the underscore, which some networks use.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], form: Form, expected: Option<&[&str]>) {
        let names = list(bytes, form);
        let names = names.as_ref().map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(names.as_deref(), expected, "{bytes:?}");
    }

    #[test]
    fn lists() {
        check(b"", Form::Plain, Some(&[]));
        check(b"\x03eng\x05apple\x03com\x00", Form::Plain, Some(&["eng.apple.com"]));
        check(b"\x01a\x00\x01b\x00\x00\x00\x00", Form::Plain, Some(&["a", "b"]));
        check(b"\x01a\x00\x01a\x00", Form::Plain, Some(&["a"]));
        // The example of RFC 3397, section 2.
        let example = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        check(example, Form::Compressed, Some(&["eng.apple.com", "marketing.apple.com"]));
    }

    #[test]
    fn malformed_lists() {
        check(b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04", Form::Plain, None);
        check(b"\x03en", Form::Plain, None);
        check(b"\x01a", Form::Plain, None);
        check(b"\x03a b\x00", Form::Plain, None);
        check(b"\x01a\xc0\x00", Form::Compressed, None);
        check(b"\xc0\x00", Form::Compressed, None);
        check(b"\x01a\xc0", Form::Compressed, None);
        check(b"\x80", Form::Compressed, None);
        check(
            &[&b"\x3faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[..]; 5].concat(),
            Form::Plain,
            None,
        );
    }

    #[test]
    fn texts() {
        assert_eq!(text(b"example.com").as_deref(), Some("example.com"));
        assert_eq!(text(b"example.com.\0\0").as_deref(), Some("example.com"));
        for malformed in [&b""[..], b".", b"a..b", b"a b", b"\xff", &[b'a'; 64], b"a\0b"] {
            assert_eq!(text(malformed), None, "{malformed:?}");
        }
    }
}
