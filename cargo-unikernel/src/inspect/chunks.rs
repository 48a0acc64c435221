//! A body in chunks (RFC 9112, 7.1), which comes in pieces of any length.

use anyhow::{Result, bail};

/// The machine sends chunks of about 64 KiB.
const CHUNK_LEN_MAX: usize = 1 << 24;
/// A length in hexadecimal digits, and what an extension might be.
const LINE_LEN_MAX: usize = 256;

/// Takes bytes of the connection and gives those of the body.
#[derive(Default)]
pub(super) struct Chunks {
    waiting: Vec<u8>,
    /// Bytes of the chunk that are still to come, the line break behind it not counted.
    left: usize,
    is_inside: bool,
    has_ended: bool,
}

impl Chunks {
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Appends to `body` what `bytes` bring.
    pub(super) fn push(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<()> {
        self.waiting.extend_from_slice(bytes);
        let mut at = 0;
        while !self.has_ended {
            let rest = &self.waiting[at..];
            match self.is_inside {
                true if self.left > 0 => {
                    let len = rest.len().min(self.left);
                    if len == 0 {
                        break;
                    }
                    body.extend_from_slice(&rest[..len]);
                    (self.left, at) = (self.left - len, at + len);
                }
                true => {
                    if rest.len() < 2 {
                        break;
                    }
                    if !rest.starts_with(b"\r\n") {
                        bail!("the answer is not in valid chunks");
                    }
                    (self.is_inside, at) = (false, at + 2);
                }
                false => {
                    let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
                        if rest.len() > LINE_LEN_MAX {
                            bail!("the answer is not in valid chunks");
                        }
                        break;
                    };
                    self.left = length(&rest[..end])?;
                    (self.is_inside, self.has_ended, at) = (true, self.left == 0, at + end + 2);
                }
            }
        }
        self.waiting.drain(..at);
        Ok(())
    }
}

fn length(line: &[u8]) -> Result<usize> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let len = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
    match len {
        Some(len) if len <= CHUNK_LEN_MAX => Ok(len),
        _ => bail!("the answer is not in valid chunks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        for piece_len in 1..=text.len() {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            let result: Result<()> =
                text.as_bytes().chunks(piece_len).try_for_each(|piece| chunks.push(piece, &mut body));
            match expected {
                Some(expected) => {
                    result.unwrap();
                    assert_eq!(body, expected.as_bytes(), "in pieces of {piece_len}");
                }
                None => assert!(result.is_err(), "{text:?}"),
            }
        }
    }

    #[test]
    fn pieces_of_any_length_are_put_together() {
        check("5\r\nhello\r\nB;x=1\r\n, all of it\r\n0\r\n\r\n", Some("hello, all of it"));
        check("5\r\nhel", Some("hel"));
        check("", Some(""));
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for text in ["x\r\n", "5\r\nhelloworld", "-1\r\n", "fffffffffffffffffff\r\n", "fffffff\r\n"] {
            check(text, None);
        }
        check(&"1".repeat(LINE_LEN_MAX + 2), None);
    }
}
