//! What an instance says, kept: decoded lines with the time of each, in two files of bounded size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::{fs::OpenOptionsExt, net::UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{SendFlags, send},
};
use unikernel_rt::time::Rfc3339;

use super::{record::now_ms, store::Folder};

/// The lines of late.
pub const FILE: &str = "console.log";
/// Those before.
pub const OLD_FILE: &str = "console.log.1";

/// When a file has so many bytes, the next one begins; there are two, so twice this is kept at most.
const FILE_LEN_MAX: u64 = 8 << 20;

/// Writes lines. A disk that is full loses lines, and never stops a machine.
pub struct Log {
    folder: Folder,
    file: Option<File>,
    len: u64,
    len_max: u64,
    lost: u64,
    /// Who wants to know of new lines.
    followers: Vec<UnixStream>,
}

impl Log {
    /// Goes on with the log of this instance.
    pub fn open(folder: &Folder) -> Log {
        Log { folder: folder.clone(), file: None, len: 0, len_max: FILE_LEN_MAX, lost: 0, followers: Vec::new() }
    }

    /// Tells it of every change, with a byte, and with one at once. It is forgotten when it is closed.
    pub fn add_follower(&mut self, follower: UnixStream) {
        self.followers.push(follower);
        self.tell_followers();
    }

    /// Writes lines, the last of which may lack its end.
    pub fn append(&mut self, text: &str) {
        let lines = text.split_inclusive('\n').map(|line| line.strip_suffix('\n').unwrap_or(line));
        let stamp = stamp(now_ms());
        let count = lines.clone().count() as u64;
        let mut bytes = String::new();
        if self.lost > 0 {
            let lost = self.lost;
            bytes += &format!("{stamp} unikernel: {lost} lines are lost: the log could not be written\n");
        }
        lines.for_each(|line| bytes += &format!("{stamp} {line}\n"));
        match self.write(bytes.as_bytes()) {
            Ok(()) => self.lost = 0,
            Err(_) => self.lost += count,
        }
        self.tell_followers();
    }

    /// A byte that does not fit is not needed: one waits already.
    fn tell_followers(&mut self) {
        self.followers.retain(|follower| hand_on(follower, b"\n"));
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_some() && self.len >= self.len_max {
            self.file = None;
            fs::rename(self.path(FILE), self.path(OLD_FILE))?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(FILE))?;
            self.len = file.metadata()?.len();
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).inspect_err(|_| {
            // No half line stays.
            let _ = file.set_len(self.len);
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }
}

/// Sends what fits without waiting; false when nobody is there any more.
pub fn hand_on(stream: &UnixStream, bytes: &[u8]) -> bool {
    let sent = send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    sent.is_ok() || sent == Err(Errno::AGAIN)
}

/// A log that several threads write to.
pub type SharedLog = Arc<Mutex<Log>>;

/// Does something with a log.
pub fn with<T>(log: &SharedLog, work: impl FnOnce(&mut Log) -> T) -> T {
    // A writer that panicked has left whole lines.
    work(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What the console's decoder writes to: lines go on when they are flushed.
pub struct Lines {
    log: SharedLog,
    waiting: Vec<u8>,
}

impl Lines {
    /// Into this log.
    pub fn new(log: &SharedLog) -> Lines {
        Lines { log: Arc::clone(log), waiting: Vec::new() }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let lines = std::mem::take(&mut self.waiting);
            with(&self.log, |log| log.append(&String::from_utf8_lossy(&lines)));
        }
        Ok(())
    }
}

/// The time before a line; all have the same length and sort as they come.
pub fn stamp(ms: u64) -> String {
    Rfc3339(Duration::from_millis(ms)).to_string()
}

/// How many bytes that is.
pub const STAMP_LEN: usize = "2026-01-01T00:00:00.000000Z".len();

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn log(len_max: u64) -> (tempfile::TempDir, Log) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        fs::create_dir(&path).unwrap();
        let log = Log { len_max, ..Log::open(&Folder::at(path).unwrap()) };
        (folder, log)
    }

    /// Without the times.
    fn lines(log: &Log, name: &str) -> String {
        let text = fs::read_to_string(log.path(name)).unwrap_or_default();
        text.lines().map(|line| line[STAMP_LEN + 1..].to_owned() + "|").collect()
    }

    #[test]
    fn each_line_has_its_time() {
        let (_folder, mut log) = log(FILE_LEN_MAX);
        log.append("one\ntwo\n");
        log.append("three");
        assert_eq!(lines(&log, FILE), "one|two|three|");
        let text = fs::read_to_string(log.path(FILE)).unwrap();
        assert!(text.lines().all(|line| line[..STAMP_LEN] <= stamp(now_ms())[..] && line.starts_with("20")), "{text}");
    }

    #[test]
    fn two_files_are_kept() {
        let (_folder, mut log) = log(100);
        (0..10).for_each(|number| log.append(&format!("a line that is number {number}")));
        assert_eq!(lines(&log, OLD_FILE), "a line that is number 6|a line that is number 7|");
        assert_eq!(lines(&log, FILE), "a line that is number 8|a line that is number 9|");
        assert_eq!(fs::read_dir(log.folder.path()).unwrap().count(), 2);
        // A supervisor that comes later goes on.
        let mut next = Log { len_max: 100, ..Log::open(&log.folder) };
        next.append("more");
        assert_eq!(lines(&log, FILE), "a line that is number 8|a line that is number 9|more|");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (_folder, mut log) = log(FILE_LEN_MAX);
        fs::create_dir(log.path(FILE)).unwrap();
        log.append("a\nb\n");
        log.append("c\n");
        fs::remove_dir(log.path(FILE)).unwrap();
        log.append("d\n");
        log.append("e\n");
        assert_eq!(lines(&log, FILE), "unikernel: 3 lines are lost: the log could not be written|d|e|");
    }

    #[test]
    fn followers_are_told_and_never_waited_for() {
        let (_folder, mut log) = log(FILE_LEN_MAX);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (gone, _) = UnixStream::pair().unwrap();
        log.add_follower(ours);
        log.add_follower(gone);
        // Far more than fits.
        (0..10_000).for_each(|_| log.append("x"));
        assert_eq!(log.followers.len(), 1);
        let mut byte = [0];
        theirs.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"\n");
    }
}
