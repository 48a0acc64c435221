//! Boot modules: files for the VM's memory, packed into one cpio archive, which QEMU loads as the initrd.

use std::{
    collections::hash_map::DefaultHasher,
    fmt, fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result};

/// A file and the name under which the app finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    name: String,
    path: PathBuf,
}

impl FromStr for ModuleFile {
    type Err = String;
    fn from_str(text: &str) -> Result<ModuleFile, String> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (Some(name.into()), Path::new(path)),
            None => (Path::new(text).file_name().map(|name| name.to_string_lossy().into_owned()), Path::new(text)),
        };
        match name.filter(|name: &String| !name.is_empty()) {
            Some(name) => Ok(ModuleFile { name, path: path.to_owned() }),
            None => Err(format!("`{text}` names no file; write FILE or NAME=FILE, such as `key.pem=certs/my.pem`")),
        }
    }
}

impl fmt::Display for ModuleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.path.display())
    }
}

/// Writes the archive beside the image and returns its path; `None` without modules.
///
/// Its name tells its content, so VMs that start together do not disturb each other, and the same modules take no more
/// room the next time.
pub fn pack(modules: &[ModuleFile], image: &Path) -> Result<Option<PathBuf>> {
    if modules.is_empty() {
        return Ok(None);
    }
    let mut archive = Archive::default();
    for module in modules {
        let content = fs::read(&module.path).with_context(|| format!("cannot read {}", module.path.display()))?;
        archive.entry(&module.name, FILE, &content);
    }
    let bytes = archive.finish();
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let path = image.with_extension(format!("{:016x}.modules", hasher.finish()));
    // A reader must not see half of it.
    let draft = image.with_extension(format!("{}.draft", std::process::id()));
    let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, &path));
    written.with_context(|| format!("cannot write the boot modules to {}", path.display()))?;
    Ok(Some(path))
}

/// An ordinary file that its owner may read: modules may be keys.
const FILE: u32 = 0o100_400;

/// The "newc" format, see cpio(5).
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    /// The header is eight hexadecimal digits for each of 13 numbers; name and content are padded to four bytes.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        // inode, mode, owner, group, links, time, length, four device numbers, name, checksum
        let numbers = [0, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.0.extend_from_slice(b"070701");
        numbers.iter().for_each(|number| self.0.extend_from_slice(format!("{number:08x}").as_bytes()));
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self.pad();
        self.0.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |text: &str, expected: Option<&str>| {
            let found = text.parse::<ModuleFile>().ok().map(|module| module.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("certs/key.pem", Some("key.pem=certs/key.pem"));
        check("key.pem=certs/a=b", Some("key.pem=certs/a=b"));
        check("=a", None);
        check("..", None);
    }

    #[test]
    fn everything_is_aligned() {
        let mut archive = Archive::default();
        archive.entry("a", FILE, b"xyz");
        let bytes = archive.finish();
        // Six bytes of magic, 104 of numbers, the name, and padding.
        assert_eq!(&bytes[110..116], b"a\0xyz\0");
        assert_eq!((&bytes[116..122], bytes.len() % 4), (&b"070701"[..], 0));
    }
}
