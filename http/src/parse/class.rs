//! Which bytes may stand where in a request head: one table look-up per byte.

/// A byte of a token: methods and field names (RFC 9110, 5.6.2).
pub(crate) const TOKEN: u8 = 1;
/// A byte of the path of a request target.
///
/// RFC 3986 allows less, but browsers send `|`, `[`, `{`, `^` and others as they are (URL Standard, 1.3), so every
/// visible ASCII character is taken except `"`, `#`, `<` and `>`, which they all escape, and `?`, which ends a path.
pub(crate) const PATH: u8 = 2;
/// A byte of a query: that of a path, and `?`.
pub(crate) const QUERY: u8 = 4;
/// A byte of a field value: visible, space, tab or obs-text (RFC 9110, 5.5).
pub(crate) const VALUE: u8 = 8;
/// A byte of `uri-host [":" port]` (RFC 9110, 7.2; RFC 3986, 3.2.2).
pub(crate) const HOST: u8 = 16;

static CLASS: [u8; 256] = build();

const fn build() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = classes_of(byte as u8);
        byte += 1;
    }
    table
}

const fn classes_of(byte: u8) -> u8 {
    let mut classes = 0;
    if byte.is_ascii_alphanumeric() || contains(b"!#$%&'*+-.^_`|~", byte) {
        classes |= TOKEN;
    }
    if byte.is_ascii_graphic() && !contains(b"\"#<>", byte) {
        classes |= if byte == b'?' { QUERY } else { PATH | QUERY };
    }
    if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        classes |= VALUE;
    }
    if byte.is_ascii_alphanumeric() || contains(b"-._~!$&'()*+,;=:[]%", byte) {
        classes |= HOST;
    }
    classes
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut index = 0;
    while index < set.len() {
        if set[index] == byte {
            return true;
        }
        index += 1;
    }
    false
}

/// Whether `byte` is of `class`.
#[inline(always)]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// Whether `text` is not empty and all of `class`.
pub(crate) fn all(text: &[u8], class: u8) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is(byte, class))
}

/// The first place from `from` on where `input` leaves `class`.
#[inline(always)]
pub(crate) fn end_of(class: u8, input: &[u8], from: usize) -> usize {
    let mut at = from;
    // Eight bytes with one look at the end of the input.
    while let Some(bytes) = input.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        if let Some(index) = outside(class, bytes) {
            return at + index;
        }
        at += 8;
    }
    let rest = &input[at..];
    at + rest.iter().position(|&byte| !is(byte, class)).unwrap_or(rest.len())
}

/// The first byte that is not of `class`. Written out: a loop would be kept one where code is to be small.
#[inline(always)]
fn outside(class: u8, bytes: &[u8; 8]) -> Option<usize> {
    let [a, b, c, d, e, f, g, h] = *bytes;
    match () {
        _ if !is(a, class) => Some(0),
        _ if !is(b, class) => Some(1),
        _ if !is(c, class) => Some(2),
        _ if !is(d, class) => Some(3),
        _ if !is(e, class) => Some(4),
        _ if !is(f, class) => Some(5),
        _ if !is(g, class) => Some(6),
        _ if !is(h, class) => Some(7),
        _ => None,
    }
}

/// [`end_of`] for [`VALUE`], eight bytes at a time: values are most of a request.
#[inline(always)]
pub(crate) fn end_of_value(input: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut at = from;
    while let Some(&bytes) = input.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(bytes);
        // The high bit of each byte below 0x20, and of each 0x7f. A borrow can only spoil bytes above the first
        // hit, and only the first hit is used.
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = word ^ (ONES * 0x7f);
        let hits = (control | (delete.wrapping_sub(ONES) & !delete)) & (ONES * 0x80);
        if hits != 0 {
            at += hits.trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    // The rest of the input, or a tab, which the test above takes for a control character.
    end_of(VALUE, input, at)
}
