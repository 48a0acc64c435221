//! The kernel's file: an ELF with a PVH entry (Xen, docs/misc/pvh), which may be put anywhere.

use crate::{ReadAt, memory::PAGE, number};
use core::ops::Range;

/// Segments that are loaded; ours have three.
const SEGMENTS_MAX: usize = 8;
const HEADER_LEN: usize = 64;
/// As the ELF says; other lengths are none of ours.
const PROGRAM_HEADER_LEN: usize = 56;
const NOTES_LEN_MAX: usize = 1024;
/// Larger ones are refused: they would leave no room below the first GiB.
const SPAN_MAX: u64 = 512 << 20;

const TYPE_LOAD: u64 = 1;
const TYPE_NOTE: u64 = 4;
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const NOTE_ENTRY: u64 = 18;

const DAMAGED: &str = "unikernel/kernel.elf is damaged, or no unikernel image; create the image again";
const NO_ENTRY: &str = "unikernel/kernel.elf has no PVH entry, so it is no unikernel image; create the image again";

/// A part of the file, and where it belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where it is in the file.
    pub place: u64,
    /// How many bytes of it are in the file.
    pub len: u64,
    /// How many it has in memory; what is not in the file is zero.
    pub memory_len: u64,
    /// Where it begins, from where the kernel is put.
    pub offset: u64,
}

/// What is to be loaded.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    segments: [Segment; SEGMENTS_MAX],
    segments_len: usize,
    /// How much memory it takes, in whole pages.
    pub len: u64,
    /// Where it is entered, from where it is put.
    pub entry: u64,
}

impl Kernel {
    /// Reads the headers.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no kernel.
    pub fn read(file: &mut impl ReadAt) -> Result<Kernel, &'static str> {
        let mut header = [0; HEADER_LEN];
        file.read_at(0, &mut header)?;
        // 64 bits, little-endian, version 1, for x86-64, with program headers as we know them.
        let is_ours = header.starts_with(b"\x7fELF\x02\x01\x01")
            && number(&header, 18, 2) == 62
            && number(&header, 54, 2) == PROGRAM_HEADER_LEN as u64;
        if !is_ours {
            return Err(DAMAGED);
        }
        let mut found = Found::default();
        for index in 0..number(&header, 56, 2) {
            let mut program = [0; PROGRAM_HEADER_LEN];
            let place = number(&header, 32, 8).checked_add(index * PROGRAM_HEADER_LEN as u64).ok_or(DAMAGED)?;
            file.read_at(place, &mut program)?;
            found.add(file, &program)?;
        }
        found.kernel()
    }

    /// What is loaded, in the order of the file.
    pub fn segments(&self) -> &[Segment] {
        &self.segments[..self.segments_len]
    }
}

#[derive(Default)]
struct Found {
    /// `offset` is still the address at which it was linked.
    segments: [Segment; SEGMENTS_MAX],
    segments_len: usize,
    entry: Option<u64>,
}

impl Found {
    fn add(&mut self, file: &mut impl ReadAt, header: &[u8; PROGRAM_HEADER_LEN]) -> Result<(), &'static str> {
        let segment = Segment {
            place: number(header, 8, 8),
            len: number(header, 32, 8),
            memory_len: number(header, 40, 8),
            offset: number(header, 24, 8),
        };
        match number(header, 0, 4) {
            TYPE_LOAD if segment.memory_len > 0 => {
                if segment.len > segment.memory_len || segment.offset.checked_add(segment.memory_len).is_none() {
                    return Err(DAMAGED);
                }
                *self.segments.get_mut(self.segments_len).ok_or(DAMAGED)? = segment;
                self.segments_len += 1;
            }
            TYPE_NOTE if self.entry.is_none() => {
                let mut notes = [0; NOTES_LEN_MAX];
                let len = usize::try_from(segment.len).ok().filter(|len| *len <= NOTES_LEN_MAX).ok_or(DAMAGED)?;
                file.read_at(segment.place, &mut notes[..len])?;
                self.entry = entry_note(&notes[..len]);
            }
            _ => {}
        }
        Ok(())
    }

    fn kernel(mut self) -> Result<Kernel, &'static str> {
        let loaded = &mut self.segments[..self.segments_len];
        let start = loaded.iter().map(|segment| segment.offset).min().ok_or(DAMAGED)? / PAGE * PAGE;
        let end = loaded.iter().map(|segment| segment.offset + segment.memory_len).max().ok_or(DAMAGED)?;
        if end - start > SPAN_MAX {
            return Err(DAMAGED);
        }
        loaded.iter_mut().for_each(|segment| segment.offset -= start);
        let entry = self.entry.ok_or(NO_ENTRY)?.checked_sub(start).filter(|entry| *entry < end - start);
        Ok(Kernel {
            segments: self.segments,
            segments_len: self.segments_len,
            len: (end - start).next_multiple_of(PAGE),
            entry: entry.ok_or(DAMAGED)?,
        })
    }
}

/// The entry among the notes of a segment: a name, a kind and a value each, padded to four bytes.
fn entry_note(mut notes: &[u8]) -> Option<u64> {
    let padded = |len: u64| usize::try_from(len).ok()?.checked_next_multiple_of(4);
    let part = |range: Range<usize>, notes: &[u8]| notes.get(range).map(<[u8]>::len);
    while notes.len() >= 12 {
        let (name_len, value_len) = (padded(number(notes, 0, 4))?, padded(number(notes, 4, 4))?);
        let value = name_len.checked_add(12)?;
        let end = value.checked_add(value_len)?;
        part(value..end, notes)?;
        if number(notes, 8, 4) == NOTE_ENTRY && notes[12..value].starts_with(b"Xen\0") && value_len >= 4 {
            return Some(number(notes, value, 4));
        }
        notes = &notes[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    fn put(elf: &mut [u8], at: usize, value: u64, len: usize) {
        elf[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    }

    /// Two segments and a note; linked at 1 MiB.
    fn elf() -> Vec<u8> {
        let mut elf = vec![0; 0x1000];
        elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        for (at, value, len) in [(18, 62, 2), (32, 64, 8), (54, 56, 2), (56, 3, 2)] {
            put(&mut elf, at, value, len);
        }
        for (index, kind, place, address, len, memory_len) in [
            (0, 1, 0_u64, 0x10_0000_u64, 0x800_u64, 0x800_u64),
            (1, 1, 0x800, 0x10_1800, 0x100, 0x2000),
            (2, 4, 0x200, 0x10_0200, 20, 20),
        ] {
            let at = 64 + index * 56;
            put(&mut elf, at, kind, 4);
            for (field, value) in [(8, place), (24, address), (32, len), (40, memory_len)] {
                put(&mut elf, at + field, value, 8);
            }
        }
        elf[0x200..0x214].copy_from_slice(b"\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0\x40\0\x10\0");
        elf
    }

    fn read(elf: &[u8]) -> Result<Kernel, &'static str> {
        Kernel::read(&mut &*elf)
    }

    #[test]
    fn a_kernel() {
        let kernel = read(&elf()).unwrap();
        let data = Segment { place: 0x800, len: 0x100, memory_len: 0x2000, offset: 0x1800 };
        assert_eq!((kernel.entry, kernel.len, kernel.segments().len()), (0x40, 0x4000, 2));
        assert_eq!(kernel.segments()[1], data);
    }

    #[test]
    fn other_files() {
        let changed = |at: usize, value: u64, len: usize, expected: &str| {
            let mut elf = elf();
            put(&mut elf, at, value, len);
            assert_eq!(read(&elf), Err(expected), "{at}");
        };
        changed(0, 0, 4, DAMAGED);
        changed(18, 40, 2, DAMAGED);
        changed(56, 0, 2, DAMAGED);
        changed(56, 2, 2, NO_ENTRY);
        changed(0x208, 1, 4, NO_ENTRY);
        changed(0x200, u64::from(u32::MAX), 4, NO_ENTRY);
        changed(0x210, 0x20_0000, 4, DAMAGED);
        changed(64 + 32, 0x801, 8, DAMAGED);
        changed(64 + 40, u64::MAX, 8, DAMAGED);
        changed(64 + 56 + 40, 1 << 30, 8, DAMAGED);
        assert!(read(b"MZ").is_err());
        assert!(read(&elf()[..0x100]).is_err());
    }

    /// Whatever single byte of the headers is damaged: an error, or something that can be loaded.
    #[test]
    fn damage_is_no_panic() {
        for at in 0..0x240 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut elf = elf();
                elf[at] = value;
                if let Ok(kernel) = read(&elf) {
                    assert!(kernel.segments().iter().all(|part| part.offset + part.memory_len <= kernel.len));
                }
            }
        }
    }
}
