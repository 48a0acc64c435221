//! The part of an ELF file that a machine needs.

use anyhow::{Context, Result};
use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader, ProgramHeader},
};

/// Where the ELF header says where the sections are, how many they are, and which has their names.
const SECTIONS: [(usize, usize); 2] = [(40, 8), (60, 4)];

/// The image without debug information, symbols and log strings: all that is loaded lies at the beginning of the file.
///
/// # Errors
///
/// It is no ELF file, or ends too early.
pub fn stripped(elf: &[u8]) -> Result<Vec<u8>> {
    let header = FileHeader64::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    let headers = header.program_headers(endian, elf)?;
    let headers_end = header.e_phoff(endian) + headers.len() as u64 * 56;
    let ends = headers.iter().map(|part| part.p_offset(endian).saturating_add(part.p_filesz(endian)));
    let end = usize::try_from(ends.max().unwrap_or(0).max(headers_end))?;
    let mut kernel = elf.get(..end).context("the image ends too early; build it again")?.to_vec();
    for (at, len) in SECTIONS {
        kernel[at..at + len].fill(0);
    }
    Ok(kernel)
}
