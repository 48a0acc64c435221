//! Asks a machine over HTTP, with the key. The machine is not trusted: what it sends is bounded.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use unikernel_inspect::{
    Key,
    challenge::{authorization, parameter},
};

use crate::fs::printable;

/// How long connecting and an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer heads and bodies are nobody's whom we know: a page is about 100 KiB.
const HEAD_LEN_MAX: u64 = 16 * 1024;
const BODY_LEN_MAX: u64 = 16 * 1024 * 1024;

/// A connection to a machine.
pub(super) struct Client {
    address: String,
    key: Key,
    stream: BufReader<TcpStream>,
    has_answered: bool,
}

/// An answer, its body perhaps not read yet.
pub(super) struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    /// From the last byte of the request to the head of the answer.
    pub(super) took: Duration,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}

impl Client {
    pub(super) fn open(address: &str, key: Key) -> Result<Client> {
        let stream = connect(address).with_context(|| nobody(address))?;
        Ok(Client { address: address.into(), key, stream: BufReader::new(stream), has_answered: false })
    }

    /// The answer to `GET PATH`, parsed.
    pub(super) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        Ok(self.ask("GET", path)?.0)
    }

    /// The same for any method, with the time it took.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, method: &str, path: &str) -> Result<(T, Duration)> {
        let answer = self.begin(method, path)?;
        let answer = self.read_body(answer)?;
        let value = serde_json::from_slice(&answer.body);
        Ok((value.map_err(|error| self.stranger(&error.to_string()))?, answer.took))
    }

    /// Asks; the body is still to be read from the stream.
    pub(super) fn begin(&mut self, method: &str, path: &str) -> Result<Answer> {
        let refusal = self.send(method, path, None)?;
        let refusal = self.read_body(refusal)?;
        if refusal.status != 401 {
            return Err(self.stranger(&format!("status {} where a question was expected", refusal.status)));
        }
        let question = refusal.field("WWW-Authenticate").and_then(|header| parameter(header, "question"));
        let question = question.ok_or_else(|| self.stranger("it asks for another kind of key"))?;
        let signed = authorization(&self.key, question, method, path);
        let answer = self.send(method, path, Some(&signed))?;
        if answer.status == 200 { Ok(answer) } else { Err(self.refused(answer)) }
    }

    /// What follows the head of an answer without a length.
    pub(super) fn into_rest(self) -> (Vec<u8>, TcpStream) {
        (self.stream.buffer().to_vec(), self.stream.into_inner())
    }

    fn refused(&mut self, answer: Answer) -> anyhow::Error {
        let status = answer.status;
        let text = self.read_body(answer).map(|answer| String::from_utf8_lossy(&answer.body).trim().to_owned());
        match (status, text) {
            (403, _) => {
                anyhow!("this is not the key of {}; it is what its boot argument `inspect-key=` says", self.address)
            }
            (_, Ok(text)) => anyhow!("{} answers: {}", self.address, printable(&text)),
            (_, Err(error)) => error,
        }
    }

    fn stranger(&self, why: &str) -> anyhow::Error {
        anyhow!("what answers at {} is not the `inspect` port of a unikernel ({why})", self.address)
    }

    fn send(&mut self, method: &str, path: &str, authorization: Option<&str>) -> Result<Answer> {
        let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}\r\n", self.address);
        let sent = self.stream.get_mut().write_all(request.as_bytes());
        // As text: a closed pipe among the causes is that of our own output, which nobody reads any more.
        sent.map_err(|error| anyhow!("{}: {error}", self.lost()))?;
        let begun = Instant::now();
        let (status, fields) = self.read_head().with_context(|| self.lost())?;
        self.has_answered = true;
        Ok(Answer { status, fields, body: Vec::new(), took: begun.elapsed() })
    }

    /// A port of QEMU takes connections whoever is behind it.
    fn lost(&self) -> String {
        match self.has_answered {
            true => format!("{} does not answer any more", self.address),
            false => nobody(&self.address),
        }
    }

    fn read_head(&mut self) -> Result<(u16, Vec<(String, String)>)> {
        let mut head = (&mut self.stream).take(HEAD_LEN_MAX);
        let mut line = || -> Result<String> {
            let mut bytes = Vec::new();
            head.read_until(b'\n', &mut bytes)?;
            let line = bytes.strip_suffix(b"\r\n").ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
            Ok(String::from_utf8_lossy(line).into_owned())
        };
        let first = line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let mut fields = Vec::new();
        loop {
            let line = line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        match status {
            Some(status) => Ok((status, fields)),
            None => bail!("that is not HTTP"),
        }
    }

    fn read_body(&mut self, mut answer: Answer) -> Result<Answer> {
        let len = answer.field("Content-Length").and_then(|len| len.parse().ok());
        let Some(len) = len.filter(|len| *len <= BODY_LEN_MAX) else {
            return Err(self.stranger("its answer has no length, or too long a one"));
        };
        let read = (&mut self.stream).take(len).read_to_end(&mut answer.body);
        if read.with_context(|| self.lost())? as u64 != len {
            bail!(self.lost());
        }
        Ok(answer)
    }
}

fn nobody(address: &str) -> String {
    format!(
        "nothing answers at {address}; was the machine started with `inspect=PORT inspect-key=KEY`, and does that port lead to \
         it (`cargo unikernel run --port PORT:PORT`)?"
    )
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A value of a query, so that the server reads what was meant.
pub(super) fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::{Shutdown, TcpListener},
        thread,
    };

    /// What a client says when the machine answers so, whatever it asks.
    fn check(answers: &[&'static str], expected: &str) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers = answers.to_vec();
        let server = thread::spawn(move || {
            let stream = listener.accept().unwrap().0;
            let mut reader = BufReader::new(&stream);
            for answer in answers {
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                }
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut client = Client::open(&address, "the key of this test".parse().unwrap()).unwrap();
        let said = match client.get::<u32>("/x") {
            Ok(number) => number.to_string(),
            Err(error) => format!("{error:#}").replace(&address, "MACHINE"),
        };
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("the key of this test"));
        drop(client);
        server.join().unwrap();
    }

    const QUESTION: &str =
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Unikernel question=\"12\"\r\nContent-Length: 2\r\n\r\nno";

    #[test]
    fn a_machine_answers() {
        check(&[QUESTION, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42"], "42");
    }

    #[test]
    fn refusals_say_why() {
        check(&[QUESTION, "HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\nx"], "not the key of MACHINE");
        check(&[QUESTION, "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater"], "MACHINE answers: later");
        check(&[QUESTION, "HTTP/1.1 400 Bad\r\nContent-Length: 5\r\n\r\n\x1b[31m"], "MACHINE answers: \\u{1b}[31m");
    }

    #[test]
    fn strangers_are_noticed() {
        for (answers, expected) in [
            (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"][..], "is not the `inspect` port"),
            (&["HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n"], "is not the `inspect` port"),
            (&["SSH-2.0-OpenSSH\r\n\r\n"], "that is not HTTP"),
            (&["HTTP/1.1 401 Who\r\nContent-Length: 99999999999\r\n\r\n"], "is not the `inspect` port"),
            (&[QUESTION, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n42"], "does not answer any more"),
            (&[QUESTION, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxx"], "is not the `inspect` port"),
            (&[QUESTION], "does not answer any more"),
        ] {
            check(answers, expected);
        }
    }

    #[test]
    fn a_machine_that_is_lost_is_not_an_output_that_nobody_reads() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut client = Client::open(&address, "the key of this test".parse().unwrap()).unwrap();
        client.stream.get_ref().shutdown(Shutdown::Both).unwrap();
        let error = client.get::<u32>("/x").unwrap_err();
        assert!(!crate::fs::is_unheard(&error), "{error:#}");
        assert!(format!("{error:#}").contains("nothing answers at 127.0.0.1"));
    }

    #[test]
    fn nobody_there() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Client::open(&address, "the key of this test".parse().unwrap()).err().unwrap();
        assert!(format!("{error:#}").contains("inspect=PORT inspect-key=KEY"));
    }

    #[test]
    fn values_are_encoded() {
        assert_eq!(encoded("unikernel_net::tcp"), "unikernel_net::tcp");
        assert_eq!(encoded("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }
}
