//! Which form of a file a client gets (RFC 9110, 12.5.3).

use super::Form;
use crate::{head::Head, parse::framing::elements};

/// The form the client likes best; of several, the smallest. The file itself when nothing else is asked for, even by
/// a client that refuses it: the alternative would be an error page it cannot read either.
pub(super) fn choose<'a, F: Form>(variants: &'a [F], head: &Head) -> &'a F {
    let quality = |variant: &F| quality(head, variant.coding());
    let mut best = &variants[0];
    for variant in &variants[1..] {
        let (new, old) = (quality(variant), quality(best));
        if new > old || (new == old && new > 0 && variant.len() < best.len()) {
            best = variant;
        }
    }
    best
}

/// How much the client wants `coding`, in thousandths; 0 is not at all. The empty coding is `identity`.
fn quality(head: &Head, coding: &str) -> u16 {
    let mut any = None;
    for element in head.values("accept-encoding").flat_map(elements) {
        let (name, weight) = split(element);
        if name.eq_ignore_ascii_case(if coding.is_empty() { b"identity" } else { coding.as_bytes() }) {
            return weight;
        }
        if name == b"*" {
            any = Some(weight);
        }
    }
    match (any, coding) {
        // Acceptable unless it is excluded, but less wanted than anything that is named.
        (None | Some(1..), "") => 1,
        (Some(weight), _) => weight,
        (None, _) => 0,
    }
}

/// `name [;q=weight]`; a weight that is none counts as 0.
fn split(element: &[u8]) -> (&[u8], u16) {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
    (name, weight.map_or(1000, |weight| thousandths(weight).unwrap_or(0)))
}

/// RFC 9110, 12.4.2: `0`, `1`, or with up to three decimals.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, decimals) = match weight {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut value = (whole - b'0') as u16;
    for place in 0..3 {
        let digit = decimals.get(place).copied().unwrap_or(b'0');
        value = value * 10 + (digit.is_ascii_digit().then_some(digit - b'0')?) as u16;
    }
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("0", Some(0)),
            ("0.5", Some(500)),
            ("0.001", Some(1)),
            ("1.000", Some(1000)),
            ("0.", Some(0)),
            ("1.001", None),
            ("2", None),
            ("0.0001", None),
            (".5", None),
            ("", None),
            ("0.x", None),
        ] {
            assert_eq!(thousandths(text.as_bytes()), expected, "{text}");
        }
    }
}
