//! The file of boot arguments: words on as many lines as one likes, and lines that begin with `#` for those who read it.

/// The longest command line that a kernel takes.
pub const LEN_MAX: usize = 2048;
/// A longer file is refused, comments included.
pub const FILE_LEN_MAX: usize = 16 * 1024;

/// What is wrong with a file that is too long, in either way.
pub const TOO_LONG: &str = "unikernel/boot-arguments.txt is too long: its arguments may have 2048 bytes, and 16 KiB with \
                            comments; shorten it";

/// The arguments as one line, with a NUL behind it.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; LEN_MAX + 1],
    len: usize,
}

impl Line {
    /// Takes the words of a file.
    ///
    /// # Errors
    ///
    /// They are too long, or no text; the error says what to do.
    pub fn parse(file: &[u8]) -> Result<Line, &'static str> {
        // Some editors begin a file with a mark of its encoding.
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        let text = core::str::from_utf8(file)
            .map_err(|_| "unikernel/boot-arguments.txt is not UTF-8; save it in this encoding")?;
        if text.contains('\0') {
            return Err("unikernel/boot-arguments.txt has a NUL in it; save it as plain text");
        }
        let mut line = Line { bytes: [0; LEN_MAX + 1], len: 0 };
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        for word in lines.flat_map(str::split_ascii_whitespace) {
            if line.len > 0 {
                line.push(b" ")?;
            }
            line.push(word.as_bytes())?;
        }
        Ok(line)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let end = self.len + bytes.len();
        // The last byte stays NUL.
        self.bytes[..LEN_MAX].get_mut(self.len..end).ok_or(TOO_LONG)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// The line.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The line with its NUL.
    pub fn with_nul(&self) -> &[u8] {
        &self.bytes[..=self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::String, vec};

    fn check(file: &str, expected: &str) {
        let line = Line::parse(file.as_bytes());
        assert_eq!(line.as_ref().map(Line::bytes), Ok(expected.as_bytes()), "{file:?}");
    }

    #[test]
    fn words_on_lines() {
        check("", "");
        check("\n \n", "");
        check("ip=dhcp", "ip=dhcp");
        check("  ip=10.0.2.15/24   gw=10.0.2.2\r\n\r\nlog=json\r\n", "ip=10.0.2.15/24 gw=10.0.2.2 log=json");
        check("# network\nip=dhcp\n  # log=debug\nname=a#b", "ip=dhcp name=a#b");
        check("\u{feff}greeting=hej", "greeting=hej");
        check("city=Malmö", "city=Malmö");
    }

    #[test]
    fn what_no_kernel_takes() {
        let longest = "x".repeat(LEN_MAX);
        check(&longest, &longest);
        assert_eq!(Line::parse(longest.as_bytes()).unwrap().with_nul().last(), Some(&0));
        let fails = |file: &[u8], part: &str| {
            let error = Line::parse(file).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        fails("x".repeat(LEN_MAX + 1).as_bytes(), "2048 bytes");
        fails((String::from("a ") + &longest).as_bytes(), "2048 bytes");
        fails(&[b'a', 0xff], "not UTF-8");
        fails(&vec![0; 512], "a NUL");
    }
}
