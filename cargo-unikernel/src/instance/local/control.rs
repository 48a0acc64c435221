//! What commands ask of a supervisor, over a socket in the instance's folder: a line of JSON each way.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::store::Folder;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Stop the machine, and end.
    Stop {
        /// Without asking the machine.
        now: bool,
    },
    /// Tell of every new line of the log, with a byte.
    Follow,
    /// Join the connection and the machine's serial port.
    Console,
    /// Write the machine's memory and disks to files while it stands still, then let it go on.
    Save {
        /// Where its memory goes.
        memory: PathBuf,
        /// Each disk, and where its copy goes.
        disks: Vec<(PathBuf, PathBuf)>,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// It is done, or begun.
    Done,
    /// It cannot be done.
    Failed(String),
}

/// A request is a path or two; what is longer is none.
const LINE_LEN_MAX: u64 = 1 << 20;
/// How long a connection may stay without a request.
const PATIENCE: Duration = Duration::from_secs(5);

const SOCKET: &str = "control";

/// Listens in this folder.
pub fn listen(folder: &Folder) -> Result<UnixListener> {
    // What a killed supervisor left.
    let _ = fs::remove_file(folder.file(SOCKET));
    let (_directory, path) = reachable(folder)?;
    UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", folder.file(SOCKET).display()))
}

/// Nobody listens any more.
pub fn close(folder: &Folder) {
    let _ = fs::remove_file(folder.file(SOCKET));
}

/// Asks, and waits for the answer. The connection is for what comes after it.
pub fn ask(folder: &Folder, request: &Request) -> Result<UnixStream> {
    let (_directory, path) = reachable(folder)?;
    let name = folder.name();
    let mut stream =
        UnixStream::connect(&path).with_context(|| format!("the supervisor of `{name}` does not answer"))?;
    send(&mut stream, request).with_context(|| format!("the supervisor of `{name}` takes no request"))?;
    match receive(&mut stream).with_context(|| format!("the supervisor of `{name}` gives no answer"))? {
        Reply::Done => Ok(stream),
        Reply::Failed(problem) => bail!("{problem}"),
    }
}

/// The socket by a path that is short enough: that of a folder may be longer than the address of a socket (unix(7)). It is
/// good for as long as the directory is open.
fn reachable(folder: &Folder) -> Result<(File, PathBuf)> {
    let directory = File::open(folder.path()).with_context(|| format!("cannot open {}", folder.path().display()))?;
    let by_number = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let path = if by_number.exists() { by_number.join(SOCKET) } else { folder.file(SOCKET) };
    Ok((directory, path))
}

/// Reads what somebody who has connected wants.
pub fn request_of(stream: &mut UnixStream) -> Result<Request> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = receive(stream)?;
    stream.set_read_timeout(None)?;
    Ok(request)
}

/// Sends a line.
pub fn send(stream: &mut UnixStream, message: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(message)? + "\n";
    Ok(stream.write_all(line.as_bytes())?)
}

/// Reads a line, and nothing behind it.
fn receive<T: serde::de::DeserializeOwned>(stream: &mut UnixStream) -> Result<T> {
    let mut line = Vec::new();
    // A byte at a time: what follows belongs to somebody else.
    let mut reader = BufReader::with_capacity(1, stream.take(LINE_LEN_MAX));
    reader.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        bail!("the connection was closed in the middle of a message");
    }
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn folder(depth: usize) -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        let path = (0..depth).fold(temporary.path().to_owned(), |path, _| path.join("a-long-name")).join("web");
        fs::create_dir_all(&path).unwrap();
        (temporary, Folder::at(path).unwrap())
    }

    #[test]
    fn a_request_is_answered_and_the_connection_stays() {
        // Deeper than a socket's address reaches.
        for depth in [0, 20] {
            let (_temporary, folder) = folder(depth);
            let listener = listen(&folder).unwrap();
            let supervisor = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let request = request_of(&mut stream).unwrap();
                stream.write_all(b"\"done\"\nand more").unwrap();
                request
            });
            let save = Request::Save { memory: "/m".into(), disks: vec![("/a".into(), "/b".into())] };
            let mut stream = ask(&folder, &save).unwrap();
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            assert_eq!((supervisor.join().unwrap(), rest.as_str()), (save, "and more"));
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let check = |sent: &[u8], expected: &str| {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(sent).unwrap();
            drop(theirs);
            let error = request_of(&mut ours).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        };
        check(b"", "closed in the middle");
        check(b"{\"do\": \"follow\"}", "closed in the middle");
        check(b"hello\n", "expected");
        check(b"{\"do\": \"dance\"}\n", "unknown variant `dance`");
        check(b"{\"do\": \"stop\", \"now\": true, \"more\": 1}\n", "unknown field `more`");
    }

    #[test]
    fn a_refusal_and_an_absence_are_told() {
        let (_temporary, folder) = folder(0);
        let error = ask(&folder, &Request::Follow).unwrap_err().to_string();
        assert_eq!(error, "the supervisor of `web` does not answer");
        let listener = listen(&folder).unwrap();
        let supervisor = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            request_of(&mut stream).unwrap();
            send(&mut stream, &Reply::Failed("not now".into())).unwrap();
        });
        assert_eq!(ask(&folder, &Request::Console).unwrap_err().to_string(), "not now");
        supervisor.join().unwrap();
        close(&folder);
        assert!(ask(&folder, &Request::Follow).is_err());
    }
}
