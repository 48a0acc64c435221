//! Tells an image from other files before QEMU gets it, since QEMU's own message would not help.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use object::{
    Endianness,
    elf::{EM_X86_64, FileHeader64},
    read::elf::{FileHeader, ProgramHeader},
};

/// `XEN_ELFNOTE_PHYS32_ENTRY`: the note by which `qemu -kernel` finds the entry of a PVH image.
const NOTE_PVH_ENTRY: u32 = 18;

/// Reads an ELF and checks that a machine can boot it.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read the image {}", path.display()))?;
    if let Err(reason) = check(&bytes) {
        bail!(
            "{} is not a unikernel image ({reason}); build one with \
             `cargo build --release --target x86_64-unknown-none -p APP`, where APP's main has \
             `#[unikernel_rt::main]`",
            path.display()
        );
    }
    Ok(bytes)
}

fn check(bytes: &[u8]) -> Result<(), &'static str> {
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(|_| "not a 64-bit ELF file")?;
    let endian = header.endian().map_err(|_| "not a 64-bit ELF file")?;
    if header.e_machine(endian) != EM_X86_64 {
        return Err("built for another kind of CPU");
    }
    let headers = header.program_headers(endian, bytes).map_err(|_| "damaged")?;
    let found = headers.iter().any(|segment| has_entry_note(segment, endian, bytes));
    if found { Ok(()) } else { Err("no PVH entry note") }
}

fn has_entry_note(segment: &impl ProgramHeader<Endian = Endianness>, endian: Endianness, bytes: &[u8]) -> bool {
    let Ok(Some(mut notes)) = segment.notes(endian, bytes) else { return false };
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"Xen" && note.n_type(endian).0 == NOTE_PVH_ENTRY {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_named() {
        assert_eq!(check(b"#!/bin/sh"), Err("not a 64-bit ELF file"));
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(check(&own), Err("no PVH entry note"));
        assert_eq!(check(&tiny(NOTE_PVH_ENTRY)), Ok(()));
        assert_eq!(check(&tiny(1)), Err("no PVH entry note"));
    }

    /// An ELF header, one PT_NOTE program header, and one Xen note.
    pub(crate) fn tiny(note_type: u32) -> Vec<u8> {
        let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version 1
        elf.extend([0u64, 64, 0].iter().flat_map(|field| field.to_le_bytes())); // entry, headers, sections
        elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
        elf.extend([4, 0, 0, 0, 4, 0, 0, 0]); // PT_NOTE, readable
        elf.extend([120u64, 0, 0, 20, 20, 4].iter().flat_map(|field| field.to_le_bytes()));
        elf.extend([4, 4, note_type, u32::from_le_bytes(*b"Xen\0"), 0].iter().flat_map(|field| field.to_le_bytes()));
        elf
    }
}
