//! Percent-encoding (RFC 3986, 2.1).

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::str;

/// The bytes that `text` stands for; `None` when a `%` is not followed by two hexadecimal digits.
pub(crate) fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = text.iter().position(|&byte| byte == b'%') else { return Some(Cow::Borrowed(text)) };
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (byte, tail) {
            (b'%', [high, low, ..]) => {
                rest = &tail[2..];
                digit(*high)? << 4 | digit(*low)?
            }
            (b'%', _) => return None,
            _ => *byte,
        });
    }
    Some(Cow::Owned(bytes))
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// [`decode`] for text; `None` also when it is no UTF-8.
pub(crate) fn decode_str(text: &[u8]) -> Option<Cow<'_, str>> {
    Some(match decode(text)? {
        Cow::Borrowed(bytes) => Cow::Borrowed(str::from_utf8(bytes).ok()?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).ok()?),
    })
}

/// A key or value of `application/x-www-form-urlencoded` (URL Standard, 5.1): `+` is a space, a `%` that stands for
/// nothing stays, and bytes that are no UTF-8 are replaced. Nothing fails: browsers send such queries.
pub(crate) fn decode_form(text: &[u8]) -> Cow<'_, str> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return String::from_utf8_lossy(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.extend(digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low));
                rest = &tail[2..];
            }
            _ => bytes.push(*byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_or_refuses() {
        for (text, expected) in [
            ("plain", Some("plain")),
            ("a%20b%2Fc%2f", Some("a b/c/")),
            ("%41", Some("A")),
            ("%C3%BC", Some("ü")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%FF", None),
        ] {
            assert_eq!(decode_str(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn forms_are_read_as_browsers_do() {
        for (text, expected) in
            [("a+b%21", "a b!"), ("100%", "100%"), ("%zz", "%zz"), ("%ff", "\u{fffd}"), ("", ""), ("%2B", "+")]
        {
            assert_eq!(decode_form(text.as_bytes()), expected, "{text}");
        }
    }
}
