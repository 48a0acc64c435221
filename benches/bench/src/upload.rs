//! A large body from the client to the guest, whose answer must tell its length and checksum.

use std::net::SocketAddr;
use std::time::Instant;

use crate::chance::Random;
use crate::client::{Client, Trouble};
use crate::received::Received;
use crate::{Result, error};

/// What the issue of throughput is about: 100 MB in one request.
pub const BODY_LEN: usize = 100_000_000;
/// The body is this many random bytes again and again. It is no multiple of a segment or of what the checksum skips, so
/// a piece in another's place is noticed.
const PATTERN_LEN: usize = 999_983;

/// A client with its connection.
pub struct Uploader {
    client: Client,
    pattern: Vec<u8>,
    /// What the guest must answer.
    want: String,
}

impl Uploader {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Uploader> {
        let pattern = Random::new(1).bytes(PATTERN_LEN);
        let mut received = Received::default();
        pieces(&pattern).for_each(|piece| received.take(piece));
        let want = format!("{} {:016x}\n", received.len, received.sum());
        let client = Client::connect(address).map_err(|trouble| failed(&trouble))?;
        Ok(Uploader { client, pattern, want })
    }

    /// Sends the body once, and waits for the answer; the seconds it took.
    pub fn upload(&mut self) -> Result<f64> {
        let start = Instant::now();
        let answer = self.exchange().map_err(|trouble| failed(&trouble))?;
        if answer == self.want.as_bytes() {
            return Ok(start.elapsed().as_secs_f64());
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Err(error(format!("the guest received {answer:?} instead of {:?}", self.want)))
    }

    fn exchange(&mut self) -> std::result::Result<Vec<u8>, Trouble> {
        let head = format!("POST /upload HTTP/1.1\r\nHost: guest\r\nContent-Length: {BODY_LEN}\r\n\r\n");
        self.client.send(head.as_bytes())?;
        for piece in pieces(&self.pattern) {
            if let Err(trouble) = self.client.send(piece) {
                // A server that refuses says why, and then closes.
                return self.client.expect_ok().and(Err(trouble));
            }
        }
        self.client.expect_ok()
    }
}

/// The body.
fn pieces(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = BODY_LEN / pattern.len();
    std::iter::repeat_n(pattern, whole).chain([&pattern[..BODY_LEN % pattern.len()]])
}

fn failed(trouble: &Trouble) -> crate::Error {
    error(format!("POST /upload: {trouble}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_the_whole_body() {
        assert_eq!(pieces(&[0; PATTERN_LEN]).map(<[u8]>::len).sum::<usize>(), BODY_LEN);
    }
}
