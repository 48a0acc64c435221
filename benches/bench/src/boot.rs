//! From the start of QEMU to the first answer, or to the first line of the log.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::namespace::set_queue;
use crate::vm::Vm;
use crate::{Result, error};

/// What it took until the first answer.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Guest instructions, firmware included.
    pub instructions: u64,
    /// Time since QEMU was started.
    pub elapsed: Duration,
}

/// How often a guest that does not serve yet is asked.
const STEP: Duration = Duration::from_millis(10);
/// A guest that has accepted a connection gets this long for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Frames that may wait for a booting guest.
const QUEUE_WHILE_BOOTING: u32 = 16;
/// Linux' default, for everything after that.
const QUEUE: u32 = 1000;

/// Waits for the first answer to `GET path` with status 200.
pub fn first_answer(vm: &mut Vm, address: SocketAddr, path: &str, limit: Duration) -> Result<Boot> {
    set_queue(QUEUE_WHILE_BOOTING)?;
    let boot = ask_until_answered(vm, address, path, limit);
    set_queue(QUEUE)?;
    boot
}

fn ask_until_answered(vm: &mut Vm, address: SocketAddr, path: &str, limit: Duration) -> Result<Boot> {
    loop {
        let attempt = Instant::now();
        if answers(address, path).is_some() {
            return Ok(Boot { instructions: vm.counts().instructions, elapsed: vm.started.elapsed() });
        }
        still_running(vm, limit)?;
        std::thread::sleep(STEP.saturating_sub(attempt.elapsed()));
    }
}

/// Waits until the guest has written a line to its console: plain text, or a frame of defmt's.
pub fn first_log_line(vm: &mut Vm, limit: Duration) -> Result {
    loop {
        let console = vm.console();
        if has_log_line(&console) {
            return Ok(());
        }
        still_running(vm, limit)?;
        std::thread::sleep(STEP);
    }
}

/// An error when QEMU has ended, or the time is up.
fn still_running(vm: &mut Vm, limit: Duration) -> Result {
    if let Some(status) = vm.ended()? {
        return Err(vm.obituary(status));
    }
    if vm.started.elapsed() > limit {
        return Err(error(format!("nothing came within {limit:?}; the console said:\n{}", vm.last_words())));
    }
    Ok(())
}

/// One connection with one request; `Some` when the answer has status 200.
pub fn answers(address: SocketAddr, path: &str) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&address, STEP).ok()?;
    // The connection of a failed attempt must not linger.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let host = address.ip();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    (status.starts_with(b"HTTP/1.") && status.ends_with(b" 200")).then_some(())
}

/// A frame stands between the bytes C0 and C1, which occur in no UTF-8 text. Lines that begin with
/// `unikernel:` report a failure.
fn has_log_line(console: &[u8]) -> bool {
    if let Some(start) = memchr::memchr(0xc0, console) {
        return console[start..].contains(&0xc1);
    }
    let complete = memchr::memrchr(b'\n', console).map_or(&console[..0], |end| &console[..end]);
    let mut lines = complete.split(|&byte| byte == b'\n');
    lines.any(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"unikernel:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(console: &[u8], want: bool) {
        assert_eq!(has_log_line(console), want);
    }

    #[test]
    fn nothing_yet() {
        check(b"", false);
    }

    #[test]
    fn half_a_frame() {
        check(b"\xc0\x01\x02", false);
    }

    #[test]
    fn a_frame() {
        check(b"\r\n\xc0\x01\x02\xc1", true);
    }

    #[test]
    fn text() {
        check(b"hello\r\n", true);
    }

    #[test]
    fn a_failure_is_no_log_line() {
        check(b"unikernel: out of memory\n", false);
    }
}
