//! This terminal joined with a machine's serial port.

use std::{
    io::{self, IsTerminal, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    thread,
};

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{
    control::{self, Request},
    machine,
    record::Description,
    store::Folder,
};
use crate::{
    console::{
        decode::Decoder,
        harmless,
        split::{Piece, Splitter},
    },
    image,
};

/// Ctrl-], as telnet has it: few programs want it for themselves.
const DETACH: u8 = 0x1d;

/// Shows what the machine says and types what is typed, until the machine's supervisor ends or Ctrl-] is pressed.
pub fn join(folder: &Folder) -> Result<()> {
    let elf = machine::elf(folder, &Description::read(folder)?);
    let decoder = elf.map_or_else(|| Ok(Decoder::none()), |elf| Decoder::new(&image::read(&elf)?))?;
    let mut stream = control::ask(folder, &Request::Console)?;
    let raw = Raw::enter()?;
    if raw.is_some() {
        eprint!("unikernel: joined with `{}`; Ctrl-] leaves it running\r\n", folder.name());
    }
    let keys = stream.try_clone().context("cannot use the connection twice")?;
    let is_terminal = raw.is_some();
    thread::spawn(move || type_in(io::stdin().lock(), keys, is_terminal));
    let shown = show(&mut stream, &decoder, is_terminal, &mut io::stdout());
    drop(raw);
    shown
}

/// Sends keys until Ctrl-]. The end of a file or a pipe is not the end of what the machine says.
fn type_in(mut from: impl Read, mut to: UnixStream, is_terminal: bool) {
    let mut buffer = [0; 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let typed = &buffer[..len];
        let end = typed.iter().position(|key| is_terminal && *key == DETACH);
        if to.write_all(&typed[..end.unwrap_or(len)]).is_err() || end.is_some() {
            break;
        }
    }
    if is_terminal {
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// Text is shown as it comes, without waiting for the end of a line; log frames are decoded.
fn show(from: &mut UnixStream, decoder: &Decoder, is_terminal: bool, out: &mut impl Write) -> Result<()> {
    let newline = if is_terminal { "\r\n" } else { "\n" };
    let mut splitter = Splitter::default();
    let mut buffer = [0; 4096];
    let mut is_within_line = false;
    loop {
        let len = from.read(&mut buffer).unwrap_or(0);
        let last = if len == 0 { splitter.finish() } else { None };
        for piece in splitter.push(&buffer[..len]).into_iter().chain(last) {
            match piece {
                Piece::Text(text) => {
                    is_within_line = !text.ends_with('\n');
                    write!(out, "{}", harmless(&text.replace('\r', "")).replace('\n', newline))?;
                }
                Piece::Frame(frame) => {
                    let before = if is_within_line { newline } else { "" };
                    write!(out, "{before}{}{newline}", decoder.line(&frame).replace('\n', newline))?;
                    is_within_line = false;
                }
            }
        }
        out.flush()?;
        if len == 0 {
            return Ok(());
        }
    }
}

/// A terminal that hands on every key; as it was before, when this is dropped.
struct Raw(Termios);

impl Raw {
    /// `None` where stdin is no terminal.
    fn enter() -> Result<Option<Raw>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin()).context("cannot ask the terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).context("cannot set up the terminal")?;
        Ok(Some(Raw(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        eprintln!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::decode;

    fn check(said: &[u8], is_terminal: bool, expected: &str) {
        let decoder = Decoder::new(&decode::tests::elf_with(&[("defmt_info", "up")])).unwrap();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(said).unwrap();
        drop(theirs);
        let mut out = Vec::new();
        show(&mut ours, &decoder, is_terminal, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_is_said_is_shown() {
        check(b"login: ", false, "login: ");
        check(b"one\r\ntwo\x1b[2J\n", false, "one\ntwo\\u{1b}[2J\n");
        check(b"one\ntwo", true, "one\r\ntwo");
        check(b"half\xc0\x01\0\0\0\0\0\0\0\0\0\xc1", false, "half\n   0.000000 INFO  up\n");
    }

    #[test]
    fn keys_are_typed_until_the_one_that_leaves() {
        let check = |keys: &[u8], is_terminal: bool, expected: &[u8]| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            type_in(keys, ours, is_terminal);
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).unwrap();
            assert_eq!(heard, expected);
        };
        check(b"ls\r\x03", true, b"ls\r\x03");
        check(b"ls\x1dmore", true, b"ls");
        check(b"a\x1db", false, b"a\x1db");
    }
}
