//! The 512 bytes before an entry (POSIX.1-1988, 10.1.1), and what extends them.

use crate::{Disk, error::Cause};
use alloc::{string::String, vec::Vec};

/// Headers and contents are in blocks of this length.
pub(super) const BLOCK_LEN: u64 = 512;

/// Extended headers are short texts; longer ones are refused rather than read into memory.
const EXTENDED_LEN_MAX: u64 = 64 * 1024;

const CHECKSUM: core::ops::Range<usize> = 148..156;
const KIND: usize = 156;

pub(super) struct Header {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) len: u64,
    pub(super) modified: u64,
    pub(super) kind: u8,
}

/// An entry with everything that is known of it.
pub(super) struct Complete {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: u8,
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) modified: Option<u64>,
}

impl Header {
    /// `None` for the zeros at the end.
    pub(super) fn parse(block: &[u8]) -> Result<Option<Header>, Cause> {
        let Some(block) = block.first_chunk::<{ BLOCK_LEN as usize }>() else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = block.iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { 32 } else { u64::from(*byte) });
        if number(&block[CHECKSUM]) != Some(sum.sum()) {
            return Err(Cause::damaged("a header of the archive is not what its checksum says"));
        }
        let len = number(&block[124..136]).ok_or(Cause::damaged("a length in the archive is no number"))?;
        let mut path = text(&block[..100]).to_vec();
        // GNU tar uses the field for something else, and says so with another version.
        let prefix = text(&block[345..500]);
        if block[257..263] == *b"ustar\0" && !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
        let link = text(&block[157..257]).to_vec();
        Ok(Some(Header { path, link, len, modified: number(&block[136..148]).unwrap_or(0), kind: block[KIND] }))
    }

    /// Whether it only tells more about the entry after it.
    pub(super) fn is_about_the_next(&self) -> bool {
        matches!(self.kind, b'x' | b'g' | b'L' | b'K')
    }

    /// Whether its length is that of a content that follows; links may have the length of what they lead to.
    fn has_content(&self) -> bool {
        !matches!(self.kind, b'1' | b'2' | b'3' | b'4' | b'5' | b'6')
    }
}

/// What extended headers say about the next entry.
#[derive(Default)]
pub(super) struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    len: Option<u64>,
    modified: Option<u64>,
}

impl Extended {
    /// How many bytes of content follow `header`.
    pub(super) fn len_of(&self, header: &Header) -> u64 {
        if header.is_about_the_next() {
            header.len
        } else if header.has_content() {
            self.len.unwrap_or(header.len)
        } else {
            0
        }
    }

    pub(super) async fn read(&mut self, header: &Header, disk: &Disk, start: u64) -> Result<(), Cause> {
        if header.len > EXTENDED_LEN_MAX {
            return Err(Cause::damaged("an extended header of the archive is too long"));
        }
        let bytes = disk.read(start, header.len as usize).await?;
        match header.kind {
            b'L' => self.path = Some(text(&bytes).to_vec()),
            b'K' => self.link = Some(text(&bytes).to_vec()),
            b'x' => self.read_records(&bytes)?,
            // Of all entries: comments and defaults that nobody needs to read files.
            _ => {}
        }
        Ok(())
    }

    /// `LENGTH KEYWORD=VALUE\n`, the length that of the whole record (POSIX.1-2001, pax, "Extended Header").
    fn read_records(&mut self, mut bytes: &[u8]) -> Result<(), Cause> {
        while !bytes.is_empty() && bytes[0] != 0 {
            let (record, rest) = split_record(bytes).ok_or(Cause::damaged("an extended header has no records"))?;
            bytes = rest;
            let Some(equals) = record.iter().position(|byte| *byte == b'=') else { continue };
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.len = Some(decimal(value).ok_or(Cause::damaged("a size in the archive is no number"))?),
                b"mtime" => self.modified = decimal(value.split(|byte| *byte == b'.').next().unwrap_or_default()),
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(Cause::unsupported("the archive has sparse files; make it without `--sparse`"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn complete(self, header: Header, start: u64) -> Complete {
        let len = self.len_of(&header);
        Complete {
            path: self.path.unwrap_or(header.path),
            link: self.link.unwrap_or(header.link),
            kind: header.kind,
            start,
            len,
            modified: Some(self.modified.unwrap_or(header.modified)),
        }
    }
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
    Some((record, &bytes[len..]))
}

fn decimal(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between spaces and NULs; or, with the highest bit set, binary (GNU tar).
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let is_small = high.iter().skip(1).all(|byte| *byte == 0) && high.first().is_none_or(|byte| *byte == 0x80);
        return is_small.then(|| low.try_into().ok().map(u64::from_be_bytes))?;
    }
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_padding(byte)).unwrap_or(field.len());
    let digits = field[start..].split(is_padding).next().unwrap_or_default();
    let octal = core::str::from_utf8(digits).ok()?;
    if octal.is_empty() { Some(0) } else { u64::from_str_radix(octal, 8).ok() }
}

/// As text, where it is some.
pub(super) fn utf8(path: Vec<u8>) -> Result<String, Cause> {
    String::from_utf8(path).map_err(|_| Cause::unsupported("a name in the archive is not UTF-8"))
}
