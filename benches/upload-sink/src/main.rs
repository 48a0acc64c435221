//! Takes bodies of any length on port 8080 of the Linux guest and tells their length and checksum, as `POST /upload`
//! of bench-site does. nginx has no such thing: it writes a body to a file or hands it to another server.
//!
//! It is all that Linux needs for it: one read into a large buffer after the other, without a router or a second
//! connection, so that what is measured is the kernel.

#![forbid(unsafe_code)]

#[path = "../../bench-site/src/received.rs"]
mod received;

use std::io::{self, Error, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use received::Received;

/// 400 system calls for 100 MB: too few to matter.
const BUFFER_LEN: usize = 256 * 1024;
/// The benchmark's heads have about 80 bytes.
const HEAD_LEN_MAX: usize = 4096;

fn main() -> io::Result<()> {
    for stream in TcpListener::bind("0.0.0.0:8080")?.incoming() {
        let stream = stream?;
        // A connection that fails concerns nobody else.
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

/// One request after the other, until the client closes.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_LEN];
    stream.set_nodelay(true)?;
    loop {
        let (body_len, came) = head(&mut stream, &mut buffer)?;
        let mut received = Received::default();
        received.take(&buffer[came..]);
        buffer.resize(BUFFER_LEN, 0);
        while received.len < body_len {
            let left = usize::try_from(body_len - received.len).unwrap_or(BUFFER_LEN).min(BUFFER_LEN);
            let len = some(stream.read(&mut buffer[..left])?)?;
            received.take(&buffer[..len]);
        }
        answer(&mut stream, received)?;
    }
}

/// Reads a head: the body's length, and where in `buffer`, which ends with what has come, the body begins.
fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<(u64, usize)> {
    let mut len = 0;
    loop {
        len += some(stream.read(&mut buffer[len..HEAD_LEN_MAX])?)?;
        let Some(end) = buffer[..len].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let body_len = content_length(&buffer[..end]).ok_or_else(|| Error::other("no Content-Length"))?;
        buffer.truncate(len);
        return Ok((body_len, end + 4));
    }
}

/// An end where there must not be one, or a head that fills its room, reads zero bytes.
fn some(len: usize) -> io::Result<usize> {
    if len == 0 { Err(Error::other("the client closed, or its head is too long")) } else { Ok(len) }
}

fn content_length(head: &[u8]) -> Option<u64> {
    let head = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
    head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()
}

fn answer(stream: &mut TcpStream, received: Received) -> io::Result<()> {
    let body = format!("{} {:016x}\n", received.len, received.sum());
    // In one piece: each `write` would be a segment of its own.
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
}
