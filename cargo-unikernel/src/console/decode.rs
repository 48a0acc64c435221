//! Decodes log frames with the format strings that defmt left in the ELF.

use anyhow::{Context, Result, ensure};
use defmt_decoder::{DecodeError, Frame, Table};
use object::{Object, ObjectSection};

use super::harmless;

/// Knows the format strings of one image.
pub struct Decoder {
    table: Option<Table>,
}

impl Decoder {
    /// Reads the strings; an image that logs nothing has none, which is no error.
    pub fn new(elf: &[u8]) -> Result<Decoder> {
        let file = object::File::parse(elf).context("the image cannot be read")?;
        let Some(section) = file.section_by_name(".defmt") else { return Ok(Decoder::none()) };
        ensure!(
            section.address() == 0,
            "the section .defmt of the image is at {:#x} instead of 0; link with `-C link-arg=-Tdefmt.x`, as \
             the workspace's .cargo/config.toml does (RUSTFLAGS in the environment replaces what is there)",
            section.address()
        );
        Ok(Decoder { table: Table::parse(elf).context("the section .defmt of the image is damaged")? })
    }

    /// Decodes nothing.
    pub fn none() -> Decoder {
        Decoder { table: None }
    }

    /// One line for one frame: time, level, message. A frame that makes no sense is shown as it is.
    pub fn line(&self, frame: &[u8]) -> String {
        match self.table.as_ref().map(|table| table.decode(frame)) {
            None => format!("(log frame {} without a decoder)", hex(frame)),
            Some(Ok((decoded, _))) => show(&decoded),
            Some(Err(problem)) => {
                let why = match problem {
                    DecodeError::UnexpectedEof => "is too short",
                    DecodeError::Malformed => "does not fit this image; is it the ELF that is running?",
                };
                format!("(log frame {} {why})", hex(frame))
            }
        }
    }
}

/// `   0.012345 INFO  message`; further lines of a message are indented, so that none can pose as a log line.
fn show(frame: &Frame<'_>) -> String {
    let time = frame.display_timestamp().map(|time| time.to_string()).unwrap_or_default();
    let level = frame.level().map(|level| level.as_str().to_uppercase()).unwrap_or_default();
    let message = harmless(&frame.display_message().to_string()).replace('\n', "\n                  ");
    format!("{time:>11} {level:<5} {message}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
