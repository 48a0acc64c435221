//! Writes an archive: the ustar format of POSIX, with an extended header for what does not fit in it (pax(1)).

use std::io::{self, Write};

use super::folder::{Item, ItemKind};

const BLOCK_LEN: usize = 512;
/// The room for a name or target in a header.
const NAME_LEN_MAX: usize = 100;
/// Eleven octal digits.
const LEN_MAX: u64 = 0o77_777_777_777;

/// An archive that is written from its start to its end.
pub struct Archive<W> {
    out: W,
    /// Bytes of the current content that are to come.
    left: u64,
    padding: usize,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub fn new(out: W) -> Archive<W> {
        Archive { out, left: 0, padding: 0 }
    }

    /// Begins an entry. The content of a file must be written before the next one.
    pub fn entry(&mut self, item: &Item) -> io::Result<()> {
        let (kind, len, target) = match &item.kind {
            ItemKind::Folder => (b'5', 0, ""),
            ItemKind::File { len, .. } => (b'0', *len, ""),
            ItemKind::Link(target) => (b'2', 0, target.as_str()),
        };
        let name = if kind == b'5' { format!("{}/", item.path) } else { item.path.clone() };
        let mut records = Vec::new();
        for (key, value, fits) in [
            ("path", &*name, name.len() <= NAME_LEN_MAX),
            ("linkpath", target, target.len() <= NAME_LEN_MAX),
            ("size", &len.to_string(), len <= LEN_MAX),
            ("mtime", &item.modified.to_string(), item.modified <= LEN_MAX),
        ] {
            if !fits {
                records.extend_from_slice(&record(key, value));
            }
        }
        if !records.is_empty() {
            self.header("pax", b'x', 0o644, records.len() as u64, item.modified, "")?;
            self.content(&records)?;
        }
        self.header(&name, kind, item.mode, len, item.modified, target)
    }

    /// The next bytes of the current file.
    ///
    /// # Errors
    ///
    /// They are more than its header says: the file has grown meanwhile.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(changed)?;
        self.out.write_all(bytes)?;
        if self.left == 0 {
            self.out.write_all(&[0; BLOCK_LEN][..std::mem::take(&mut self.padding)])?;
        }
        Ok(())
    }

    /// Two blocks of zeros are the end.
    pub fn finish(mut self) -> io::Result<W> {
        if self.left > 0 {
            return Err(changed());
        }
        self.out.write_all(&[0; 2 * BLOCK_LEN])?;
        Ok(self.out)
    }

    fn header(&mut self, name: &str, kind: u8, mode: u16, len: u64, modified: u64, target: &str) -> io::Result<()> {
        if self.left > 0 {
            return Err(changed());
        }
        let mut header = [0; BLOCK_LEN];
        let mut put = |at: usize, bytes: &[u8], most: usize| {
            let len = bytes.len().min(most);
            header[at..at + len].copy_from_slice(&bytes[..len]);
        };
        put(0, name.as_bytes(), NAME_LEN_MAX);
        put(100, format!("{mode:07o}").as_bytes(), 7);
        put(108, b"0000000", 7);
        put(116, b"0000000", 7);
        put(124, format!("{:011o}", len.min(LEN_MAX)).as_bytes(), 11);
        put(136, format!("{:011o}", modified.min(LEN_MAX)).as_bytes(), 11);
        // The checksum counts itself as spaces.
        put(148, b"        ", 8);
        put(156, &[kind], 1);
        put(157, target.as_bytes(), NAME_LEN_MAX);
        put(257, b"ustar\x0000", 8);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.left = len;
        self.padding = len.next_multiple_of(BLOCK_LEN as u64).wrapping_sub(len) as usize;
        self.out.write_all(&header)
    }
}

fn changed() -> io::Error {
    io::Error::other("it changed while it was read; try again")
}

/// `LEN KEY=VALUE\n`, where the length counts itself.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut len = rest.len() + 1;
    while len != rest.len() + len.to_string().len() {
        len += 1;
    }
    format!("{len}{rest}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        assert_eq!(record("path", "a"), b"9 path=a\n");
        for (value_len, len) in [(1, 9), (2, 11), (90, 99), (91, 101), (989, 999), (990, 1001)] {
            let record = record("path", &"n".repeat(value_len));
            assert_eq!(record.len(), len);
            assert!(record.starts_with(format!("{len} path=n").as_bytes()));
        }
    }
}
