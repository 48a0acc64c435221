//! A plain HTTP client that blocks, for checks.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;
use socket2::SockRef;

/// No step of an exchange may take longer.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A connection, with what came and was not taken yet.
pub struct Client {
    /// The connection.
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a client met.
#[derive(Debug)]
pub enum Trouble {
    /// An answer that is not right.
    Wrong(String),
    /// Nothing happened for too long.
    Stalled(String),
    /// The connection was closed, where that is not an answer.
    Closed(String),
}

type Outcome<T> = Result<T, Trouble>;

/// The body that a new connection gets for `GET path`.
pub fn get(address: SocketAddr, path: &str) -> Outcome<Vec<u8>> {
    let mut client = Client::connect(address)?;
    client.ask(path, "Connection: close\r\n")?;
    client.expect_ok()
}

impl Client {
    /// Opens a connection.
    pub fn connect(address: SocketAddr) -> Outcome<Client> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|cause| trouble("connecting", &cause))?;
        Ok(Client { stream, buffer: Vec::new() })
    }

    /// Sends a GET request with more header lines.
    pub fn ask(&mut self, path: &str, headers: &str) -> Outcome<()> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: guest\r\n{headers}\r\n").as_bytes())
    }

    /// Sends any bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.write_all(bytes).map_err(|cause| trouble("sending", &cause))
    }

    /// The body of an answer with status 200.
    pub fn expect_ok(&mut self) -> Outcome<Vec<u8>> {
        let (status, len) = self.head()?;
        if status != 200 {
            return Err(Trouble::Wrong(format!("status {status}")));
        }
        while self.buffer.len() < len {
            self.receive()?;
        }
        let rest = self.buffer.split_off(len);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Takes the next answer's head: its status and Content-Length.
    pub fn head(&mut self) -> Outcome<(u16, usize)> {
        let end = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            self.receive()?;
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.strip_prefix("http/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or_else(|| Trouble::Wrong(format!("no status in {head:?}")))?;
        let len = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let len = len.and_then(|len| len.trim().parse().ok());
        if len.is_none() && status == 200 {
            return Err(Trouble::Wrong(format!("no length in {head:?}")));
        }
        Ok((status, len.unwrap_or(0)))
    }

    /// Waits for more bytes, and returns how many bytes are waiting now.
    pub fn receive(&mut self) -> Outcome<usize> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Trouble::Closed("before the end of an answer".into())),
            Ok(len) => {
                self.buffer.extend_from_slice(&chunk[..len]);
                Ok(self.buffer.len())
            }
            Err(cause) => Err(trouble("receiving", &cause)),
        }
    }

    /// Takes the body bytes that are waiting.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Ends the connection with a reset instead of a goodbye.
    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

fn trouble(when: &str, cause: &std::io::Error) -> Trouble {
    match cause.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Trouble::Stalled(format!("{when} took longer than {PATIENCE:?}"))
        }
        _ => Trouble::Closed(format!("{when}: {cause}")),
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Wrong(what) => write!(out, "wrong answer: {what}"),
            Trouble::Stalled(what) => write!(out, "stalled: {what}"),
            Trouble::Closed(what) => write!(out, "closed: {what}"),
        }
    }
}
