//! Reads a folder.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// A file of the site.
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    /// Seconds since 1970.
    pub(crate) modified: u64,
    /// The file itself first, then its compressed forms.
    pub(crate) variants: Vec<Variant>,
}

pub(crate) struct Variant {
    /// The absolute path, for `include_bytes!`.
    pub(crate) source: String,
    /// As in `Content-Encoding`; empty for the file itself.
    pub(crate) coding: &'static str,
    pub(crate) etag: String,
}

const CODINGS: [(&str, &str); 2] = [("br", "br"), ("gz", "gzip")];

/// The files below `root`, sorted by their path.
pub(crate) fn read(root: &Path) -> Result<Vec<File>, String> {
    let mut sources = BTreeMap::new();
    walk(root, "", &mut sources).map_err(|error| format!("cannot read the folder {}: {error}", root.display()))?;
    let is_variant = |path: &str| {
        CODINGS.iter().any(|(extension, _)| {
            path.strip_suffix(extension)
                .and_then(|path| path.strip_suffix('.'))
                .is_some_and(|of| sources.contains_key(of))
        })
    };
    sources.iter().filter(|(path, _)| !is_variant(path)).map(|(path, source)| file(path, source, &sources)).collect()
}

fn walk(folder: &Path, prefix: &str, sources: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::Error::other("a name is not UTF-8"))?;
        if name.starts_with('.') && name != ".well-known" {
            continue;
        }
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{prefix}{name}/"), sources)?;
        } else {
            sources.insert(format!("{prefix}{name}"), entry.path().canonicalize()?);
        }
    }
    Ok(())
}

fn file(path: &str, source: &Path, sources: &BTreeMap<String, PathBuf>) -> Result<File, String> {
    let mut variants = vec![variant(source, "")?];
    for (extension, coding) in CODINGS {
        if let Some(source) = sources.get(&format!("{path}.{extension}")) {
            variants.push(variant(source, coding)?);
        }
    }
    Ok(File { path: path.into(), modified: modified(source)?, variants })
}

fn variant(source: &Path, coding: &'static str) -> Result<Variant, String> {
    let bytes = fs::read(source).map_err(|error| format!("cannot read {}: {error}", source.display()))?;
    let path = source.to_str().ok_or_else(|| format!("{} is not UTF-8", source.display()))?;
    Ok(Variant { source: path.into(), coding, etag: format!("\"{:016x}-{:x}\"", fnv(&bytes), bytes.len()) })
}

fn modified(source: &Path) -> Result<u64, String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return epoch.parse().map_err(|_| "SOURCE_DATE_EPOCH is not a number of seconds".into());
    }
    let time = fs::metadata(source).and_then(|metadata| metadata.modified());
    let time = time.map_err(|error| format!("cannot read the time of {}: {error}", source.display()))?;
    Ok(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// FNV-1a: the same for the same bytes in every build, and different for any two versions of one file in practice.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ *byte as u64).wrapping_mul(0x100_0000_01b3))
}
