//! Cuts the console stream into text and log frames.
//!
//! A frame is 0xC0, the payload with every 0xC0, 0xC1 and 0xDB replaced by 0xDB and the byte ^ 0x20, then 0xC1.
//! Neither 0xC0 nor 0xC1 occurs in UTF-8, so after any damage the next frame is found again.

const START: u8 = 0xC0;
const END: u8 = 0xC1;
const ESCAPE: u8 = 0xDB;
const ESCAPE_MASK: u8 = 0x20;

/// No log line comes near this; beyond it, a lost end byte would swallow the text that follows.
const FRAME_LEN_MAX: usize = 16 * 1024;

/// A part of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Some text, not necessarily a whole line. Bytes that are not UTF-8 show as `U+FFFD`.
    Text(String),
    /// The payload of a frame.
    Frame(Vec<u8>),
}

/// Takes the stream in parts of any size.
#[derive(Default)]
pub struct Splitter {
    state: State,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Text,
    Frame,
    Escape,
}

impl Splitter {
    /// The pieces that these bytes complete. Text is handed on at once, but never in the middle of a character.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for &byte in bytes {
            pieces.extend(self.byte(byte));
        }
        if self.state == State::Text {
            pieces.extend(self.take_characters());
        }
        pieces
    }

    /// What is left at the end of the stream: an unfinished frame is shown as the text it may have been.
    pub fn finish(&mut self) -> Option<Piece> {
        self.state = State::Text;
        self.take_text()
    }

    fn byte(&mut self, byte: u8) -> Option<Piece> {
        match (self.state, byte) {
            (_, START) => {
                let rest = self.take_text();
                self.state = State::Frame;
                return rest;
            }
            // A crash report begins with it, to end the frame it may have interrupted.
            (State::Text, END) => {}
            (_, END) => {
                self.state = State::Text;
                return Some(Piece::Frame(std::mem::take(&mut self.buffer)));
            }
            (State::Frame, ESCAPE) => self.state = State::Escape,
            (State::Frame, byte) => self.buffer.push(byte),
            (State::Escape, byte) => {
                self.buffer.push(byte ^ ESCAPE_MASK);
                self.state = State::Frame;
            }
            (State::Text, byte) => self.buffer.push(byte),
        }
        if self.state == State::Text || self.buffer.len() <= FRAME_LEN_MAX { None } else { self.finish() }
    }

    fn take_text(&mut self) -> Option<Piece> {
        let bytes = std::mem::take(&mut self.buffer);
        (!bytes.is_empty()).then(|| Piece::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Leaves the first bytes of an unfinished character in the buffer.
    fn take_characters(&mut self) -> Option<Piece> {
        let unfinished = match self.buffer.utf8_chunks().last() {
            Some(chunk) if is_unfinished(chunk.invalid()) => chunk.invalid().to_vec(),
            _ => Vec::new(),
        };
        self.buffer.truncate(self.buffer.len() - unfinished.len());
        let text = self.take_text();
        self.buffer = unfinished;
        text
    }
}

/// Whether more bytes could still make a character of these.
fn is_unfinished(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `t:` marks text, `f:` the bytes of a frame.
    fn check(stream: &[u8], expected: &[&str]) {
        for cut in 0..=stream.len() {
            let mut splitter = Splitter::default();
            let mut pieces = splitter.push(&stream[..cut]);
            pieces.extend(splitter.push(&stream[cut..]));
            pieces.extend(splitter.finish());
            assert_eq!(show(pieces), expected, "cut at {cut}");
        }
        let mut splitter = Splitter::default();
        let mut pieces: Vec<_> = stream.iter().flat_map(|byte| splitter.push(&[*byte])).collect();
        pieces.extend(splitter.finish());
        assert_eq!(show(pieces), expected, "byte by byte");
    }

    fn show(pieces: Vec<Piece>) -> Vec<String> {
        let mut shown: Vec<String> = Vec::new();
        for piece in pieces {
            match (piece, shown.last_mut()) {
                (Piece::Text(text), Some(last)) if last.starts_with("t:") => last.push_str(&text),
                (Piece::Text(text), _) => shown.push(format!("t:{text}")),
                (Piece::Frame(frame), _) => shown.push(format!("f:{frame:02x?}")),
            }
        }
        shown
    }

    #[test]
    fn frames_and_text_are_told_apart() {
        check(b"", &[]);
        check(b"hello\n", &["t:hello\n"]);
        check(b"\xc0\x01\x02\xc1", &["f:[01, 02]"]);
        check(b"\xc0\xc1", &["f:[]"]);
        check(b"a\xc0\x01\xc1b\xc0\x02\xc1\xc0\x03\xc1", &["t:a", "f:[01]", "t:b", "f:[02]", "f:[03]"]);
        check("grün €\n".as_bytes(), &["t:grün €\n"]);
    }

    #[test]
    fn escaped_bytes_come_back() {
        check(b"\xc0\xdb\xe0\xdb\xe1\xdb\xfb\x0a\xc1", &["f:[c0, c1, db, 0a]"]);
    }

    #[test]
    fn damage_ends_at_the_next_frame() {
        check(b"a\xc1 lone end", &["t:a lone end"]);
        check(b"\xc0\x01\xdb\xc1text", &["f:[01]", "t:text"]);
        check(b"\xc0\x41\xc0\x02\xc1", &["t:A", "f:[02]"]);
        check(b"\xc0panic!", &["t:panic!"]);
        check(b"\xff\xfe\xc0\x07\xc1", &["t:\u{fffd}\u{fffd}", "f:[07]"]);
        check(b"cut \xe2\x82\xc0\x07\xc1", &["t:cut \u{fffd}", "f:[07]"]);
    }

    #[test]
    fn a_lost_end_does_not_swallow_everything() {
        let mut splitter = Splitter::default();
        splitter.push(&[START]);
        let pieces = splitter.push(&vec![b'x'; FRAME_LEN_MAX + 2]);
        assert_eq!(show(pieces), [format!("t:{}", "x".repeat(FRAME_LEN_MAX + 2))]);
    }
}
