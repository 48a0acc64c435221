//! Boot modules: files that the loader puts into memory beside the image, such as certificates and keys.
//!
//! `cargo unikernel run --module FILE` passes files; with QEMU or Firecracker themselves it is their initrd, one file or
//! a cpio archive of several (`cpio -o -H newc`).

use crate::{Acquire, Error, Machine, Result};
use alloc::{format, string::String, vec::Vec};

/// What a module is called that has no name.
const NAME_DEFAULT: &str = "initrd";

/// Boot modules by name. As an argument of `main`: all that nobody has taken yet, which may be none.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{Acquire, Machine, Modules};
///
/// // As `cargo unikernel run --module motd=FILE` does.
/// let mut machine = Machine::new();
/// machine.add_module("motd", b"hello")?;
///
/// let mut modules = Modules::acquire(&mut machine).await?;
/// assert_eq!(modules.take("motd")?, b"hello");
/// // Nobody else finds it any more.
/// assert!(modules.take("motd").is_err());
/// # Ok::<_, unikernel_rt::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct Modules(Vec<(String, &'static [u8])>);

impl Modules {
    /// The module of this name: the last of a path in an archive counts, directories belong to the name
    /// (`certs/key.pem`). A module without a name is called `initrd`.
    pub fn get(&self, name: &str) -> Option<&'static [u8]> {
        self.0.iter().find(|(its, _)| its == name).map(|(_, bytes)| *bytes)
    }

    /// Takes the module of this name.
    ///
    /// # Errors
    ///
    /// There is none, or it was taken before.
    pub fn take(&mut self, name: &str) -> Result<&'static [u8]> {
        let found = self.0.iter().position(|(its, _)| its == name);
        found.map(|place| self.0.remove(place).1).ok_or_else(|| {
            Error::msg(format!(
                "this unikernel needs the boot module `{name}`; start it with `cargo unikernel run --module {name}=FILE`, \
                 or give QEMU `-initrd` a cpio archive with that file"
            ))
        })
    }

    /// Names and contents, in the loader's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'static [u8])> {
        self.0.iter().map(|(name, bytes)| (name.as_str(), *bytes))
    }

    pub(crate) fn add(&mut self, name: &str, bytes: &'static [u8]) -> Result {
        let name = if name.is_empty() { NAME_DEFAULT } else { name };
        if !bytes.starts_with(cpio::MAGIC) {
            self.0.push((name.into(), bytes));
            return Ok(());
        }
        let files = cpio::files(bytes).ok_or_else(|| {
            Error::msg(format!("the boot module `{name}` is a cpio archive that is damaged or cut off; make it again"))
        })?;
        self.0.extend(files.into_iter().map(|(name, bytes)| (name.into(), bytes)));
        Ok(())
    }
}

impl Acquire for Modules {
    async fn acquire(machine: &mut Machine) -> Result<Modules> {
        Ok(machine.take_modules())
    }
}

/// Reads the "newc" format of cpio (cpio(5)): a header of hexadecimal numbers, the name and the content, each padded to
/// four bytes.
mod cpio {
    use alloc::vec::Vec;

    pub(super) const MAGIC: &[u8] = b"070701";
    const HEADER_LEN: usize = 110;
    const MODE: usize = 14;
    const CONTENT_LEN: usize = 54;
    const NAME_LEN: usize = 94;
    const TRAILER: &str = "TRAILER!!!";
    const KIND_MASK: usize = 0o170_000;
    const KIND_FILE: usize = 0o100_000;

    /// The ordinary files. `None` where the archive is damaged.
    pub(super) fn files(archive: &'static [u8]) -> Option<Vec<(&'static str, &'static [u8])>> {
        let mut files = Vec::new();
        let mut rest = archive;
        loop {
            let header = rest.get(..HEADER_LEN).filter(|header| header.starts_with(MAGIC))?;
            let name_end = HEADER_LEN.checked_add(number(header, NAME_LEN)?)?;
            // The name ends with a zero byte.
            let name = core::str::from_utf8(rest.get(HEADER_LEN..name_end)?.strip_suffix(b"\0")?).ok()?;
            if name == TRAILER {
                return Some(files);
            }
            let start = name_end.next_multiple_of(4);
            let end = start.checked_add(number(header, CONTENT_LEN)?)?;
            if number(header, MODE)? & KIND_MASK == KIND_FILE {
                let name = name.strip_prefix("./").unwrap_or(name).trim_start_matches('/');
                files.push((name, rest.get(start..end)?));
            }
            rest = rest.get(end.next_multiple_of(4)..)?;
        }
    }

    /// Eight digits.
    fn number(header: &[u8], at: usize) -> Option<usize> {
        let digits = core::str::from_utf8(header.get(at..at + 8)?).ok()?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
        usize::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mode: u32, content: &str) -> String {
        let numbers = [1, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        let digits: String = numbers.iter().map(|number| format!("{number:08x}")).collect();
        let pad = |text: String| format!("{text}{}", "\0".repeat(text.len().next_multiple_of(4) - text.len()));
        pad(pad(format!("070701{digits}{name}\0")) + content)
    }

    fn archive() -> String {
        entry(".", 0o40755, "")
            + &entry("./a", 0o100644, "alpha")
            + &entry("certs/key.pem", 0o100600, "secret")
            + &entry("link", 0o120777, "a")
            + &entry("empty", 0o100644, "")
            + &entry("TRAILER!!!", 0, "")
    }

    /// `name=content` of all modules, or the error.
    fn check(name: &str, bytes: &str, expected: Result<&str, &str>) {
        let mut machine = Machine::new();
        let added = machine.add_module(name, bytes.as_bytes().to_vec().leak());
        let found = added.map(|()| {
            let modules = machine.take_modules();
            let text = |bytes| core::str::from_utf8(bytes).unwrap();
            modules.iter().map(|(name, bytes)| format!("{name}={} ", text(bytes))).collect::<String>()
        });
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn a_module_is_what_the_loader_passed() {
        check("key.pem", "secret", Ok("key.pem=secret "));
        check("", "secret", Ok("initrd=secret "));
    }

    #[test]
    fn an_archive_is_its_files() {
        check("", &archive(), Ok("a=alpha certs/key.pem=secret empty= "));
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let whole = archive();
        let expected = "the boot module `initrd` is a cpio archive that is damaged or cut off; make it again";
        // Padding and the rest of the trailer's numbers are not missed.
        let trailer = whole.len() - 124;
        for len in 6..trailer + 110 + 11 {
            check("", &whole[..len], Err(expected));
        }
        for digit in ["g", "+", "f"] {
            let mut damaged = whole.clone();
            damaged.replace_range(94..95, digit);
            check("", &damaged, Err(expected));
        }
    }

    #[test]
    fn a_module_is_taken_once() {
        let mut machine = Machine::new();
        machine.add_module("a", b"1").unwrap();
        assert_eq!(machine.take_module("a").unwrap(), b"1");
        let error = machine.take_module("a").unwrap_err().to_string();
        assert!(
            error.starts_with("this unikernel needs the boot module `a`; start it with `cargo unikernel run"),
            "{error}"
        );
    }
}
