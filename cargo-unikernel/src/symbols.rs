//! Addresses to functions and source lines, by the ELF's line tables.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use addr2line::{Loader, demangle_auto};
use object::{Object, ObjectSection, SectionKind};

/// The line tables of one image.
pub struct Symbols {
    loader: Option<Loader>,
    /// Where code is. The tables also describe functions that the linker dropped, as if they were at 0.
    code: Vec<Range<u64>>,
    workspace: Option<PathBuf>,
}

impl Symbols {
    /// Opens the ELF; one without line tables just gives fewer answers.
    pub fn new(path: &Path, elf: &[u8], workspace: Option<&Path>) -> Symbols {
        let code = object::File::parse(elf).map(|file| {
            let sections = file.sections().filter(|section| section.kind() == SectionKind::Text);
            sections.map(|section| section.address()..section.address() + section.size()).collect()
        });
        Symbols {
            loader: Loader::new(path).ok(),
            code: code.unwrap_or_default(),
            workspace: workspace.map(Path::to_owned),
        }
    }

    /// The function at an address, then those it was inlined into, each as `name at file:line:column`.
    pub fn frames(&self, address: u64) -> Vec<String> {
        let is_code = self.code.iter().any(|range| range.contains(&address));
        let Some(loader) = self.loader.as_ref().filter(|_| is_code) else { return Vec::new() };
        let mut found = Vec::new();
        if let Ok(mut frames) = loader.find_frames(address) {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.and_then(|name| Some(name.demangle().ok()?.into_owned()));
                let place = frame.location.and_then(|place| Some((place.file?.to_owned(), place.line, place.column)));
                found.push((name, place));
            }
        }
        if found.is_empty() {
            return symbol(loader, address).into_iter().collect();
        }
        // The outermost is the function as linked. Its symbol has the whole path, line tables only the last part.
        if let Some((name, _)) = found.last_mut() {
            *name = symbol(loader, address).or(name.take());
        }
        found.into_iter().map(|(name, place)| self.frame(name, place)).collect()
    }

    fn frame(&self, name: Option<String>, place: Option<(String, Option<u32>, Option<u32>)>) -> String {
        let name = without_hash(&name.unwrap_or_else(|| "?".into())).to_owned();
        let Some((file, line, column)) = place else { return name };
        let numbers = [line, column].into_iter().flatten().map(|number| format!(":{number}"));
        format!("{name} at {}{}", shorten(&file, self.workspace.as_deref()), numbers.collect::<String>())
    }
}

fn symbol(loader: &Loader, address: u64) -> Option<String> {
    let name = loader.find_symbol(address)?;
    Some(without_hash(&demangle_auto(name.into(), None)).to_owned())
}

/// `core::fmt::write::h0123456789abcdef` → `core::fmt::write`.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((front, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => front,
        _ => name,
    }
}

/// Relative to the workspace, or from the folder that names the crate and its version.
fn shorten(file: &str, workspace: Option<&Path>) -> String {
    if let Some(inside) = workspace.and_then(|root| Path::new(file).strip_prefix(root).ok()) {
        return inside.display().to_string();
    }
    // `~/.cargo/registry/src/INDEX/smoltcp-0.14.0/src/…` and `/rustc/COMMIT/library/core/src/…`
    if let Some((_, crate_path)) = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/')) {
        return crate_path.to_owned();
    }
    let library = file.split_once("/library/").filter(|(front, _)| front.contains("rust"));
    library.map_or(file, |(_, rest)| rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_short() {
        let check = |file: &str, expected: &str| assert_eq!(shorten(file, Some(Path::new("/home/me/app"))), expected);
        check("/home/me/app/src/main.rs", "src/main.rs");
        check("/home/me/.cargo/registry/src/index.crates.io-0/smoltcp-0.14.0/src/lib.rs", "smoltcp-0.14.0/src/lib.rs");
        check("/rustc/0123abcd/library/core/src/panicking.rs", "core/src/panicking.rs");
        check("/elsewhere/x.rs", "/elsewhere/x.rs");
        check("src/main.rs", "src/main.rs");
    }

    #[test]
    fn hashes_are_dropped() {
        assert_eq!(without_hash("core::fmt::write::h0123456789abcdef"), "core::fmt::write");
        assert_eq!(without_hash("app::hello"), "app::hello");
    }
}
