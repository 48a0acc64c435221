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
    /// Reads the strings; an image that logs nothing has none, which is no error, and neither has no image at all.
    pub fn new(elf: &[u8]) -> Result<Decoder> {
        if elf.is_empty() {
            return Ok(Decoder::none());
        }
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use object::{
        Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
        write::{Object, Symbol, SymbolSection},
    };

    /// An ELF whose `.defmt` holds these entries (tag, format string) at index 1, 2, …; index 0 is the time.
    pub fn elf_with(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut elf = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let section = elf.add_section(Vec::new(), b".defmt".to_vec(), SectionKind::ReadOnlyData);
        elf.append_section_data(section, &vec![0; entries.len() + 1], 1);
        let mut add = |name: String, value, section| {
            let (kind, scope) = (SymbolKind::Data, SymbolScope::Linkage);
            let name = name.into_bytes();
            elf.add_symbol(Symbol {
                name,
                value,
                size: 1,
                kind,
                scope,
                weak: false,
                section,
                flags: SymbolFlags::None,
            });
        };
        add("_defmt_version_ = 4".into(), 0, SymbolSection::Absolute);
        add("_defmt_encoding_ = raw".into(), 0, SymbolSection::Absolute);
        let time = [("defmt_timestamp", "{=u64:us}")];
        for (index, (tag, data)) in time.iter().chain(entries).enumerate() {
            let name = serde_json::json!({
                "package": "app", "tag": tag, "data": data, "disambiguator": index.to_string(), "crate_name": "app",
            });
            add(name.to_string(), index as u64, SymbolSection::Section(section));
        }
        elf.write().unwrap()
    }

    const ENTRIES: [(&str, &str); 5] = [
        ("defmt_info", "booted"),
        ("defmt_warn", "{=u8} of {=str}"),
        ("defmt_error", "two\nlines"),
        ("defmt_debug", "{=str}"),
        ("defmt_println", "plain"),
    ];

    fn check(frame: &[u8], expected: &str) {
        let decoder = Decoder::new(&elf_with(&ENTRIES)).unwrap();
        assert_eq!(decoder.line(frame), expected);
    }

    /// Index, then the time in microseconds, then the arguments; all little-endian.
    fn frame(index: u8, micros: u64, arguments: &[u8]) -> Vec<u8> {
        [&[index, 0][..], &micros.to_le_bytes(), arguments].concat()
    }

    #[test]
    fn frames_become_lines() {
        check(&frame(1, 12_345, b""), "   0.012345 INFO  booted");
        check(&frame(1, 3_600_000_000, b""), "3600.000000 INFO  booted");
        check(&frame(2, 0, b"\x07\x02\0\0\0hi"), "   0.000000 WARN  7 of hi");
        check(&frame(3, 1, b""), "   0.000001 ERROR two\n                  lines");
        check(&frame(5, 1, b""), "   0.000001       plain");
    }

    #[test]
    fn control_characters_of_strangers_are_shown_not_sent() {
        check(&frame(4, 0, b"\x03\0\0\0a\x1bb"), "   0.000000 DEBUG a\\u{1b}b");
    }

    #[test]
    fn senseless_frames_are_shown_as_they_are() {
        check(&[], "(log frame  is too short)");
        check(&frame(2, 0, b"\x07\xff"), "(log frame 0200000000000000000007ff is too short)");
        check(
            &frame(9, 0, b""),
            "(log frame 09000000000000000000 does not fit this image; is it the ELF that is running?)",
        );
    }

    #[test]
    fn an_image_without_format_strings_is_no_error() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(Decoder::new(&own).unwrap().table.is_none());
    }

    #[test]
    fn format_strings_at_a_wrong_place_are_an_error() {
        let mut elf = elf_with(&ENTRIES);
        set_address(&mut elf, 0x1000);
        let text = Decoder::new(&elf).err().unwrap().to_string();
        assert!(text.starts_with("the section .defmt of the image is at 0x1000 instead of 0; link with"), "{text}");
    }

    /// Patches `sh_addr` of the one section that has the length of `.defmt`.
    fn set_address(elf: &mut [u8], address: u64) {
        let table = u64::from_le_bytes(elf[0x28..0x30].try_into().unwrap()) as usize;
        let len = (ENTRIES.len() as u64 + 1).to_le_bytes();
        let header = (table..elf.len()).step_by(64).find(|at| elf[at + 0x20..at + 0x28] == len).unwrap();
        elf[header + 0x10..header + 0x18].copy_from_slice(&address.to_le_bytes());
    }
}
