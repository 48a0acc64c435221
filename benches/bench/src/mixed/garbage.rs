//! What no server should accept, and a small source of chance.

/// Requests that every HTTP/1.1 server must refuse (RFC 9112).
pub const MALFORMED: &[&[u8]] = &[
    b"\r\n\r\n\r\nGET\r\n\r\n",
    b"GET\r\n\r\n",
    b"G\0T / HTTP/1.1\r\nHost: guest\r\n\r\n",
    b"GET /hello HTTP/1.1\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nHost: guest\r\nContent-Length: x\r\n\r\n",
    b"GET /hello HTTP/1.1\r\nHost: guest\r\nContent-Length: -1\r\n\r\n",
    b"POST /hello HTTP/1.1\r\nHost: guest\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /hello HTTP/1.1\r\nHost: guest\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: guest\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: guest\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: guest\r\nContent-Length: 0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
];

/// Repeatable chance (xorshift): the seed is in the test's row, so a failure can be run again.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Some bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
