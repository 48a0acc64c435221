//! Names: the long ones of VFAT in UTF-16, and the short ones of eight and three letters that go with them.

use super::entry::{ENTRY_LEN, ESCAPED_FREE, Entry, FREE};
use crate::error::Cause;
use alloc::{string::String, vec::Vec};

/// A long name has at most so many units of UTF-16, ...
pub(super) const UNITS_MAX: usize = 255;
/// ... in entries with so many each, ...
const UNITS_IN_ENTRY: usize = 13;
/// ... at these places.
const UNITS_AT: [usize; UNITS_IN_ENTRY] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
const ENTRIES_MAX: usize = UNITS_MAX.div_ceil(UNITS_IN_ENTRY);
/// In the number of the entry that comes first, and has the name's end.
const IS_LAST: u8 = 0x40;
/// What Windows allows in a long name and not in a short one.
const NOT_IN_SHORT: &[u8] = b"+,;=[]";

/// The upper half of code page 437, in which short names are read.
const CODE_PAGE: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A name that is looked for or made.
pub(super) struct Name {
    units: Vec<u16>,
    /// The same with every letter as a capital.
    folded: Vec<u16>,
}

impl Name {
    /// Checks that FAT allows the name.
    pub(super) fn parse(name: &str) -> Result<Name, Cause> {
        let is_bad = |letter: char| {
            letter < ' ' || matches!(letter, '"' | '*' | '/' | ':' | '<' | '>' | '?' | '\\' | '|' | '\u{7f}')
        };
        let units: Vec<u16> = name.encode_utf16().collect();
        if name.is_empty() || name.contains(is_bad) || name.ends_with(['.', ' ']) || units.len() > UNITS_MAX {
            return Err(Cause::InvalidName);
        }
        let folded = units.iter().copied().map(fold).collect();
        Ok(Name { units, folded })
    }

    /// Whether a name on the disk is this one, but for the case of its letters.
    pub(super) fn is(&self, units: &[u16]) -> bool {
        units.len() == self.folded.len() && units.iter().zip(&self.folded).all(|(unit, folded)| fold(*unit) == *folded)
    }

    /// Whether it is the same, letter for letter.
    pub(super) fn is_exactly(&self, name: &str) -> bool {
        name.encode_utf16().eq(self.units.iter().copied())
    }

    /// The short name, if the name is one.
    pub(super) fn as_short(&self) -> Option<[u8; 11]> {
        let basis = Basis::of(&self.units);
        (!basis.is_lossy && basis.has_capitals_only).then(|| basis.numbered(0))
    }

    pub(super) fn basis(&self) -> Basis {
        Basis::of(&self.units)
    }

    /// The entries that hold the name, in the order of the disk: those of the long name, if it needs one, and `entry`
    /// with the short name.
    pub(super) fn entries(&self, short: &[u8; 11], mut entry: Entry) -> Vec<u8> {
        entry.set_short_name(short);
        let mut bytes = Vec::with_capacity((1 + ENTRIES_MAX) * ENTRY_LEN);
        if self.as_short().as_ref() != Some(short) {
            let parts = self.units.chunks(UNITS_IN_ENTRY).enumerate();
            let count = parts.len();
            for (number, units) in parts.rev() {
                let number = number as u8 + 1;
                let order = if usize::from(number) == count { number | IS_LAST } else { number };
                bytes.extend_from_slice(&long_entry(order, units, checksum(short)));
            }
        }
        bytes.extend_from_slice(&entry.0);
        bytes
    }

    /// How many entries a name needs at most.
    pub(super) fn entries_max(&self) -> u32 {
        match self.as_short() {
            Some(_) => 1,
            None => self.units.len().div_ceil(UNITS_IN_ENTRY) as u32 + 1,
        }
    }
}

fn long_entry(order: u8, units: &[u16], checksum: u8) -> [u8; ENTRY_LEN] {
    let mut entry = [0; ENTRY_LEN];
    (entry[0], entry[11], entry[13]) = (order, 0x0f, checksum);
    for (number, at) in UNITS_AT.into_iter().enumerate() {
        // A name ends with a zero, if there is room, and the rest has all bits set.
        let unit = units.get(number).copied().unwrap_or(if number == units.len() { 0 } else { 0xffff });
        entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
    }
    entry
}

/// A letter as a capital, where both have one unit.
fn fold(unit: u16) -> u16 {
    if unit < 0x80 {
        return (unit as u8).to_ascii_uppercase().into();
    }
    let Some(letter) = char::from_u32(unit.into()) else { return unit };
    let mut capitals = letter.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(capital), None) => u16::try_from(capital as u32).unwrap_or(unit),
        _ => unit,
    }
}

/// Ties the entries of a long name to the short one.
fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// What short names of a long one begin with.
pub(super) struct Basis {
    stem: Vec<u8>,
    ending: [u8; 3],
    /// The short name does not say all of the long one, so it gets a number.
    is_lossy: bool,
    has_capitals_only: bool,
}

impl Basis {
    fn of(units: &[u16]) -> Basis {
        let dot = units.iter().rposition(|unit| *unit == u16::from(b'.')).filter(|at| *at > 0);
        let (stem, ending) = units.split_at(dot.unwrap_or(units.len()));
        let mut basis = Basis { stem: Vec::new(), ending: *b"   ", is_lossy: false, has_capitals_only: true };
        let stem = basis.letters(stem, 8);
        let letters = basis.letters(ending.get(1..).unwrap_or(&[]), 3);
        basis.is_lossy |= stem.is_empty();
        basis.stem = stem;
        basis.ending[..letters.len()].copy_from_slice(&letters);
        basis
    }

    fn letters(&mut self, units: &[u16], len_max: usize) -> Vec<u8> {
        let mut letters = Vec::new();
        for unit in units {
            let letter = u8::try_from(*unit).ok().filter(u8::is_ascii);
            let letter = match letter {
                Some(b' ' | b'.') => None,
                Some(letter) if NOT_IN_SHORT.contains(&letter) => Some(b'_'),
                Some(letter) => Some(letter.to_ascii_uppercase()),
                None => Some(b'_'),
            };
            let is_same = letter.is_some_and(|letter| fold(*unit) == u16::from(letter));
            self.is_lossy |= !is_same || letters.len() == len_max;
            self.has_capitals_only &= letter.map(u16::from) == Some(*unit);
            letters.extend(letter.filter(|_| letters.len() < len_max));
        }
        letters
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    /// The short name with `~number` at its end; 0 for none.
    pub(super) fn numbered(&self, number: u32) -> [u8; 11] {
        let tail = if number == 0 { String::new() } else { alloc::format!("~{number}") };
        let kept = self.kept(tail.len());
        let mut name = [b' '; 11];
        name[..kept].copy_from_slice(&self.stem[..kept]);
        name[kept..kept + tail.len()].copy_from_slice(tail.as_bytes());
        name[8..].copy_from_slice(&self.ending);
        name
    }

    fn kept(&self, tail_len: usize) -> usize {
        self.stem.len().min(8 - tail_len)
    }

    /// The number with which a short name is one of these: it is taken.
    pub(super) fn number_of(&self, short: &[u8; 11]) -> Option<u32> {
        let stem = short[..8].trim_ascii_end();
        if short[8..] != self.ending {
            return None;
        }
        if stem == self.stem {
            return Some(0);
        }
        let at = stem.iter().rposition(|letter| *letter == b'~')?;
        let digits = &stem[at + 1..];
        let is_number = digits.first().is_some_and(|digit| *digit != b'0') && digits.iter().all(u8::is_ascii_digit);
        let is_ours = is_number && stem[..at] == self.stem[..self.kept(digits.len() + 1)];
        is_ours.then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }
}

/// Puts names together from entries that come in the order of the disk.
pub(super) struct Reader {
    units: [u16; ENTRIES_MAX * UNITS_IN_ENTRY],
    len: usize,
    /// The number of the entry that has to come next, and the checksum of all of them.
    expected: u8,
    checksum: u8,
    /// Entries read so far; 0 when what came before was no part of a long name.
    pub(super) count: u32,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { units: [0; ENTRIES_MAX * UNITS_IN_ENTRY], len: 0, expected: 0, checksum: 0, count: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.count = 0;
    }

    /// Takes a part of a long name.
    pub(super) fn push(&mut self, entry: &Entry) {
        let number = entry.0[0] & !IS_LAST;
        if entry.0[0] & IS_LAST != 0 && (1..=ENTRIES_MAX).contains(&number.into()) {
            (self.count, self.checksum) = (0, entry.0[13]);
            self.len = usize::from(number) * UNITS_IN_ENTRY;
        } else if self.count == 0 || number != self.expected || number == 0 || entry.0[13] != self.checksum {
            return self.reset();
        }
        let start = (usize::from(number) - 1) * UNITS_IN_ENTRY;
        for (unit, at) in self.units[start..].iter_mut().zip(UNITS_AT) {
            *unit = u16::from_le_bytes([entry.0[at], entry.0[at + 1]]);
        }
        if self.count == 0 {
            let last = &self.units[start..self.len];
            self.len = start + last.iter().position(|unit| *unit == 0).unwrap_or(last.len());
        }
        self.expected = number - 1;
        self.count += 1;
    }

    /// The long name that belongs to this short one, if it came whole and can be a name.
    pub(super) fn long(&self, short: &[u8; 11]) -> Option<&[u16]> {
        let name = &self.units[..self.len];
        let is_whole = self.count > 0 && self.expected == 0 && self.checksum == checksum(short);
        let is_name = !name.is_empty() && name.len() <= UNITS_MAX && !name.iter().any(|unit| matches!(unit, 0 | 0x2f));
        let is_dots = name.iter().all(|unit| *unit == 0x2e) && name.len() < 3;
        (is_whole && is_name && !is_dots).then_some(name)
    }
}

/// A short name as it is shown.
pub(super) struct Short {
    units: [u16; 12],
    len: usize,
}

impl Short {
    pub(super) fn of(entry: &Entry) -> Short {
        let mut name = *entry.short_name();
        if name[0] == ESCAPED_FREE {
            name[0] = FREE;
        }
        let mut short = Short { units: [0; 12], len: 0 };
        short.push(name[..8].trim_ascii_end(), entry.0[12] & 0x08 != 0);
        let ending = name[8..].trim_ascii_end();
        if !ending.is_empty() {
            short.push(b".", false);
            short.push(ending, entry.0[12] & 0x10 != 0);
        }
        short
    }

    fn push(&mut self, letters: &[u8], is_lower: bool) {
        for letter in letters {
            let letter = if is_lower { letter.to_ascii_lowercase() } else { *letter };
            self.units[self.len] = letter_of(letter);
            self.len += 1;
        }
    }

    pub(super) fn units(&self) -> &[u16] {
        &self.units[..self.len]
    }
}

fn letter_of(byte: u8) -> u16 {
    match byte {
        b'/' | 0 => char::REPLACEMENT_CHARACTER as u16,
        0x80.. => CODE_PAGE.chars().nth(usize::from(byte) - 0x80).map_or(0xfffd, |letter| letter as u16),
        _ => byte.into(),
    }
}

/// A volume's name.
pub(super) fn label(bytes: &[u8; 11]) -> String {
    let units: Vec<u16> = bytes.trim_ascii_end().iter().map(|byte| letter_of(*byte)).collect();
    String::from_utf16_lossy(&units)
}
