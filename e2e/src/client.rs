//! Clients: curl, and a socket with just enough HTTP to tell responses apart.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::Command,
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::PATIENCE;

/// Between two questions to something that gives no sign by itself.
pub const PAUSE: Duration = Duration::from_millis(50);

/// What curl printed.
#[derive(Debug)]
pub struct Curled {
    /// The body, or what `--write-out` asked for.
    pub stdout: Vec<u8>,
    /// With `-v`, the conversation.
    pub stderr: String,
}

impl Curled {
    /// Stdout as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("is text")
    }
}

/// Runs `curl -sS WORDS`, which must succeed.
pub fn curl(words: &[&str]) -> Curled {
    let output = Command::new("curl").args(["-sS", "--max-time", "120"]).args(words).output();
    let output = output.expect("curl starts; script/test installs it");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "curl {words:?}: {}\n{stderr}", output.status);
    Curled { stdout: output.stdout, stderr }
}

/// A connection that gives up reading and writing after [`PATIENCE`].
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A response.
#[derive(Debug, PartialEq)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    /// By its Content-Length.
    pub body: Vec<u8>,
}

/// Reads one response that has a Content-Length and leaves what follows.
pub fn read_response(stream: &mut impl BufRead) -> io::Result<Response> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, head));
        }
    }
    let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {head}"));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| malformed("no status"))?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        Some((_, digits)) => digits.trim().parse().map_err(|_| malformed("bad length"))?,
        None if status < 200 || status == 204 || status == 304 => 0,
        None => return Err(malformed("no length")),
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Response { status, head, body })
}

/// One request on a connection of its own. Fails after a second, for use until something answers.
pub fn try_get(port: u16, path: &str) -> io::Result<Response> {
    let stream = connect(port)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    ask(stream, path)
}

/// One request on a connection of its own.
pub fn get(port: u16, path: &str) -> Response {
    connect(port).and_then(|stream| ask(stream, path)).unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

fn ask(mut stream: TcpStream, path: &str) -> io::Result<Response> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n").as_bytes())?;
    read_response(&mut BufReader::new(stream))
}

/// Sends bytes and reads until the server closes; an error counts as a close.
pub fn send(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(port).expect("QEMU accepts");
    let mut answer = Vec::new();
    // A server may answer and close before it has read everything: that is its right.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Lets this process, and the VMs it starts later, open as many files as the system allows.
pub fn open_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a process may use its hard limit");
}
