//! Turns the bytes of a VM's console into readable lines.
//!
//! The bytes are UTF-8 text with log frames between ([`split`]); frames are decoded with the format strings
//! in the ELF ([`decode`]), and the addresses of a crash report become functions and lines ([`report`]).

pub(crate) mod builds;
pub mod decode;
pub mod report;
pub mod split;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{fs::escaped, image, package, symbols::Symbols};
use decode::Decoder;
use report::Reports;
use split::{Piece, Splitter};

/// Decodes a saved log.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image the log comes from, exactly that build; without it, the build is looked for under cargo's target folder.
    #[arg(long)]
    elf: Option<PathBuf>,
    /// The log as the machine wrote it; `-` reads it from stdin.
    log: PathBuf,
}

/// Reads the log and writes it readable to stdout.
pub fn symbolize(arguments: Arguments) -> Result<u8> {
    let log = read(&arguments.log).with_context(|| format!("cannot read the log {}", arguments.log.display()))?;
    let elf = match arguments.elf {
        Some(elf) => elf,
        None => builds::find(&log)?,
    };
    let bytes = image::read(&elf)?;
    let workspace = package::origin_of(&elf)?.workspace;
    let mut console = Console::new(&elf, &bytes, workspace.as_deref(), io::stdout().lock());
    console.write(&log)?;
    console.finish()?;
    Ok(0)
}

fn read(log: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match log.to_str() {
        Some("-") => io::stdin().read_to_end(&mut bytes)?,
        _ => File::open(log)?.read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// What is longer becomes several lines.
const LINE_LEN_MAX: usize = 64 * 1024;

/// Writes readable lines to `W`.
pub struct Console<W> {
    splitter: Splitter,
    decoder: Decoder,
    reports: Reports,
    /// Text after the last newline.
    line: String,
    out: W,
}

impl<W: Write> Console<W> {
    /// Prepares for the console of this image. What cannot be decoded later is said here, once.
    pub fn new(path: &Path, elf: &[u8], workspace: Option<&Path>, out: W) -> Console<W> {
        let decoder = Decoder::new(elf).unwrap_or_else(|problem| {
            eprintln!("unikernel: log lines cannot be decoded: {problem:#}");
            Decoder::none()
        });
        let reports = Reports::new(Symbols::new(path, elf, workspace), build_id(elf));
        Console { splitter: Splitter::default(), decoder, reports, line: String::new(), out }
    }

    /// Takes bytes as they come, cut anywhere; complete lines are written at once.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in self.splitter.push(bytes) {
            self.piece(piece)?;
        }
        self.out.flush()
    }

    /// Writes what was still waiting for its end.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(piece) = self.splitter.finish() {
            self.piece(piece)?;
        }
        self.end_line()?;
        self.out.flush()
    }

    /// Writes the report of the last crash again, if something came after it.
    pub fn repeat_report(&mut self) -> io::Result<()> {
        let lines = self.reports.said_before_the_end();
        if !lines.is_empty() {
            writeln!(self.out, "unikernel: once more, the report of the crash:")?;
        }
        lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))?;
        self.out.flush()
    }

    /// The exit code that a machine would have had that has halted after a crash instead.
    pub fn halted(&self) -> Option<u8> {
        self.reports.halted()
    }

    /// How often the machine has crashed and started again.
    pub fn restarts(&self) -> usize {
        self.reports.restarts()
    }

    fn piece(&mut self, piece: Piece) -> io::Result<()> {
        match piece {
            Piece::Text(text) => self.text(&text),
            Piece::Frame(frame) => {
                self.end_line()?;
                writeln!(self.out, "{}", self.reports.log_line(self.decoder.line(&frame)))
            }
        }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        for part in text.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                None => {
                    self.line.push_str(part);
                    // No line of ours is so long, and a machine could write one without an end.
                    if self.line.len() > LINE_LEN_MAX {
                        self.whole_line()?;
                    }
                }
                Some(end) => {
                    self.line.push_str(end);
                    self.whole_line()?;
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        if self.line.is_empty() { Ok(()) } else { self.whole_line() }
    }

    fn whole_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        for line in self.reports.annotate(&harmless(line.trim_end_matches('\r'))) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}

/// Log lines carry what strangers sent: control characters must not reach the terminal.
pub fn harmless(text: &str) -> String {
    escaped(text, &['\t', '\n'])
}

pub(crate) fn build_id(elf: &[u8]) -> Option<String> {
    use object::Object;
    let file = object::File::parse(elf).ok()?;
    let id = file.build_id().ok()??;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], expected: &str) {
        check_with(b"", input, expected);
    }

    fn check_with(elf: &[u8], input: &[u8], expected: &str) {
        for cut in 0..=input.len() {
            let mut out = Vec::new();
            let mut console = Console::new(Path::new("/nonexistent"), elf, None, &mut out);
            console.write(&input[..cut]).unwrap();
            console.write(&input[cut..]).unwrap();
            console.finish().unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn lines_come_out_whole() {
        check(b"", "");
        check(b"one\r\ntwo\n", "one\ntwo\n");
        check("grün, no newline".as_bytes(), "grün, no newline\n");
        check(b"\x1b[31mred\x07\n", "\\u{1b}[31mred\\u{7}\n");
        check(b"half\xc0\x01\xc1line\n", "half\n(log frame 01 without a decoder)\nline\n");
        check(b"bad \xff byte\n", "bad \u{fffd} byte\n");
    }

    #[test]
    fn a_line_without_an_end_is_shown_in_parts() {
        let mut out = Vec::new();
        let mut console = Console::new(Path::new("/nonexistent"), b"", None, &mut out);
        (0..2 * LINE_LEN_MAX / 1000).for_each(|_| console.write(&[b'x'; 1000]).unwrap());
        console.finish().unwrap();
        let lines: Vec<usize> = String::from_utf8(out).unwrap().lines().map(str::len).collect();
        assert_eq!((lines.len(), lines.iter().sum::<usize>()), (2, 2 * LINE_LEN_MAX / 1000 * 1000), "{lines:?}");
    }

    #[test]
    fn log_lines_come_between_text_lines() {
        let elf = decode::tests::elf_with(&[("defmt_info", "up {=u8}")]);
        let log = b"boot\n\xc0\x01\0\x40\xe2\x01\0\0\0\0\0\xdb\xe0\xc1bye\n";
        check_with(&elf, log, "boot\n   0.123456 INFO  up 192\nbye\n");
    }
}
