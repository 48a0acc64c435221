//! The kernel alone, with its boot arguments in the file: what enters a kernel directly takes it as it is.
//!
//! The arguments are a section, which loaders pass over: they are for the tool, which gives them to whoever enters the kernel.
//! `readelf -p .unikernel.arguments FILE` shows them.

use anyhow::{Context, Result};
use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader, SectionHeader},
};

use super::kernel::stripped;

/// The section's name.
const NAME: &[u8] = b".unikernel.arguments";
/// All names: that of no section, that of the arguments, and that of the names themselves.
const NAMES: &[u8] = b"\0.unikernel.arguments\0.shstrtab\0";
const HEADER_LEN: usize = 64;
/// Types of sections (System V ABI, chapter 4): bytes of a program's own, and names.
const PROGBITS: u32 = 1;
const STRTAB: u32 = 3;

/// The kernel with these boot arguments.
///
/// # Errors
///
/// It is no ELF file, or ends too early.
pub(crate) fn with_arguments(elf: &[u8], arguments: &[String]) -> Result<Vec<u8>> {
    let mut file = stripped(elf)?;
    let text = arguments.join(" ");
    let text_at = file.len();
    file.extend_from_slice(text.as_bytes());
    let names_at = file.len();
    file.extend_from_slice(NAMES);
    file.resize(file.len().next_multiple_of(8), 0);
    let headers_at = file.len();
    let own_name = NAMES.len() - b".shstrtab\0".len();
    file.extend_from_slice(&[0; HEADER_LEN]);
    file.extend(section(1, PROGBITS, text_at, text.len()));
    file.extend(section(own_name, STRTAB, names_at, NAMES.len()));
    // Where the headers are; their length, how many they are, and which has the names.
    file[40..48].copy_from_slice(&(headers_at as u64).to_le_bytes());
    for (at, value) in [(58, HEADER_LEN as u16), (60, 3), (62, 2)] {
        file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    Ok(file)
}

/// The header of a section that is not loaded.
fn section(name: usize, kind: u32, at: usize, len: usize) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend((name as u32).to_le_bytes());
    header.extend(kind.to_le_bytes());
    // flags, address, place, length; link and info; alignment, length of an entry
    header.extend([0, 0, at as u64, len as u64, 0, 1, 0].iter().flat_map(|field: &u64| field.to_le_bytes()));
    header
}

/// The boot arguments in this ELF file; none where it has no such section.
///
/// # Errors
///
/// It is damaged.
pub fn arguments(elf: &[u8]) -> Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, elf)?;
    let Some((_, section)) = sections.section_by_name(endian, NAME) else { return Ok(Vec::new()) };
    let text =
        std::str::from_utf8(section.data(endian, elf)?).context("the boot arguments in the image are no text")?;
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Whether the file was made by [`with_arguments`], so that nothing is lost when it is made again.
///
/// # Errors
///
/// It is damaged.
pub(crate) fn is_ours(elf: &[u8]) -> Result<bool> {
    let header = FileHeader64::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    Ok(header.sections(endian, elf)?.section_by_name(endian, NAME).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_can_be_read_and_replaced() {
        // Any ELF is one for this purpose.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(arguments(&own).unwrap(), [""; 0]);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let first = with_arguments(&own, &words(&["ip=dhcp", "name=a"])).unwrap();
        assert_eq!(arguments(&first).unwrap(), ["ip=dhcp", "name=a"]);
        let second = with_arguments(&first, &words(&["b=c"])).unwrap();
        assert_eq!(arguments(&second).unwrap(), ["b=c"]);
        assert_eq!(stripped(&second).unwrap(), stripped(&own).unwrap());
        assert_eq!(with_arguments(&own, &[]).unwrap(), with_arguments(&second, &[]).unwrap());
        assert!(arguments(b"text").is_err());
    }
}
