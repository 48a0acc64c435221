//! QEMU's fw_cfg (docs/specs/fw_cfg.rst of QEMU): a selector, and a register that reads on in what was selected.

use super::text::TEXT_LEN_MAX;
use crate::{Error, Result};
use alloc::{vec, vec::Vec};
use zeroize::Zeroizing;

/// What the configuration is called there. Names below `opt/` are left to users.
const FILE: &[u8] = b"opt/unikernel/config";

const SIGNATURE: u16 = 0x00;
const DIRECTORY: u16 = 0x19;
/// Length, selector, two bytes for nothing, name; the numbers are big-endian.
const ENTRY_LEN: usize = 64;
const NAME: usize = 8;
/// QEMU has 16 to 32 places for files, and what a user asks for.
const FILES_MAX: u32 = 1024;

/// The two registers.
pub(crate) trait Registers {
    /// Selects an item and goes to its beginning.
    fn select(&mut self, item: u16);
    /// Reads on in it; zeros follow its end.
    fn read(&mut self, into: &mut [u8]);
}

/// The configuration; `None` where there is no fw_cfg, or no such file in it.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
pub(crate) fn read(registers: &mut impl Registers) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let mut signature = [0; 4];
    registers.select(SIGNATURE);
    registers.read(&mut signature);
    if &signature != b"QEMU" {
        return Ok(None);
    }
    let Some((item, len)) = find(registers)? else { return Ok(None) };
    if len > TEXT_LEN_MAX {
        return Err(Error::msg(
            "the configuration in fw_cfg is longer than 64 KiB; give large values as files, by a boot module or a volume",
        ));
    }
    let mut text = Zeroizing::new(vec![0; len]);
    registers.select(item);
    registers.read(&mut text);
    Ok(Some(text))
}

/// The file's selector and length.
fn find(registers: &mut impl Registers) -> Result<Option<(u16, usize)>> {
    let mut count = [0; 4];
    registers.select(DIRECTORY);
    registers.read(&mut count);
    let count = u32::from_be_bytes(count);
    if count > FILES_MAX {
        return Err(Error::msg("fw_cfg says that it has more than 1024 files, which no QEMU has; is it one?"));
    }
    for _ in 0..count {
        let mut entry = [0; ENTRY_LEN];
        registers.read(&mut entry);
        let [a, b, c, d, high, low, ..] = entry;
        let name = entry[NAME..].split(|byte| *byte == 0).next();
        if name == Some(FILE) {
            let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            return Ok(Some((u16::from_be_bytes([high, low]), len)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{
        format,
        string::{String, ToString},
    };

    /// Items by their selectors.
    struct Fake {
        items: Vec<(u16, Vec<u8>)>,
        selected: u16,
        at: usize,
        reads: usize,
    }

    impl Registers for Fake {
        fn select(&mut self, item: u16) {
            (self.selected, self.at) = (item, 0);
        }
        fn read(&mut self, into: &mut [u8]) {
            let item = self.items.iter().find(|(item, _)| *item == self.selected);
            for byte in into {
                // Where nothing is, the bus floats.
                *byte = item.map_or(0xff, |(_, bytes)| bytes.get(self.at).copied().unwrap_or_default());
                (self.at, self.reads) = (self.at + 1, self.reads + 1);
            }
        }
    }

    fn entry(len: u32, item: u16, name: &str) -> Vec<u8> {
        let mut entry = [&len.to_be_bytes()[..], &item.to_be_bytes(), &[0; 2], name.as_bytes()].concat();
        entry.resize(ENTRY_LEN, 0);
        entry
    }

    /// What is found where the directory says that it has so many files.
    fn check(signature: &str, count: u32, entries: &[Vec<u8>], expected: Result<Option<&str>, &str>) {
        let directory = [&count.to_be_bytes()[..], &entries.concat()].concat();
        let items = vec![
            (SIGNATURE, signature.into()),
            (DIRECTORY, directory),
            (0x20, b"bios".to_vec()),
            (0x21, b"env.A=1".to_vec()),
        ];
        let mut fake = Fake { items, selected: 0, at: 0, reads: 0 };
        let found = read(&mut fake).map(|text| text.map(|text| format!("{}", text.escape_ascii())));
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found.as_ref().map(Option::as_deref).map_err(String::as_str), expected);
        assert!(fake.reads < 200_000);
    }

    #[test]
    fn the_file_is_found() {
        let (bios, config) = (entry(4, 0x20, "bios-geometry"), entry(7, 0x21, "opt/unikernel/config"));
        check("QEMU", 2, &[bios.clone(), config.clone()], Ok(Some("env.A=1")));
        check("QEMU", 1, core::slice::from_ref(&bios), Ok(None));
        check("QEMU", 1, &[bios, config.clone()], Ok(None));
        check("QEMU", 0, &[], Ok(None));
        check("QEMU", 1, &[entry(7, 0x21, "opt/unikernel/config2")], Ok(None));
        check("qemu", 1, &[config], Ok(None));
    }

    #[test]
    fn one_that_lies_is_refused() {
        let long = "the configuration in fw_cfg is longer than 64 KiB; give large values as files, by a boot module or a volume";
        check("QEMU", 1, &[entry(u32::MAX, 0x21, "opt/unikernel/config")], Err(long));
        check("QEMU", 1, &[entry(65_537, 0x21, "opt/unikernel/config")], Err(long));
        check(
            "QEMU",
            u32::MAX,
            &[],
            Err("fw_cfg says that it has more than 1024 files, which no QEMU has; is it one?"),
        );
        check("QEMU", 1024, &[], Ok(None));
        check("QEMU", 1, &[entry(9, 0x21, "opt/unikernel/config")], Ok(Some("env.A=1\\x00\\x00")));
        check("QEMU", 1, &[entry(2, 0x77, "opt/unikernel/config")], Ok(Some("\\xff\\xff")));
    }
}
