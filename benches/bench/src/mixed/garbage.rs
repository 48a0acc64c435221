//! What no server should accept.

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
