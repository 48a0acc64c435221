//! Which crate a source file or a symbol belongs to.

use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

use crate::install;

/// The folders of all packages that a build may take source from.
pub struct Owners {
    /// Folder and name; the longest path first, as packages lie within others.
    packages: Vec<(PathBuf, String)>,
}

impl Owners {
    /// Asks cargo for the packages of the project in which the image was built. Without one, paths tell nearly as much.
    pub fn new(image: &Path) -> Owners {
        let project = image.ancestors().map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file());
        let mut query = MetadataCommand::new();
        // What an image was built of is here; what other systems would need may not be.
        query.other_options(["--offline", "--filter-platform", install::TARGET].map(String::from));
        if let Some(manifest) = project.filter(|_| !Path::new("Cargo.toml").is_file()) {
            query.manifest_path(manifest);
        }
        let packages = query.exec().map_or_else(|_| Vec::new(), |metadata| metadata.packages);
        let folder = |package: &cargo_metadata::Package| package.manifest_path.parent().map(PathBuf::from);
        let packages = packages.iter().filter_map(|package| Some((folder(package)?, package.name.to_string())));
        Owners::of_packages(packages.collect())
    }

    fn of_packages(mut packages: Vec<(PathBuf, String)>) -> Owners {
        packages.sort_by_key(|(folder, _)| std::cmp::Reverse(folder.as_os_str().len()));
        Owners { packages }
    }

    /// The crate that a source file belongs to.
    pub fn of(&self, file: &str) -> String {
        let package = self.packages.iter().find(|(folder, _)| Path::new(file).starts_with(folder));
        let name = package.map(|(_, name)| name.as_str()).or_else(|| of_path(file));
        name.unwrap_or("(other)").to_owned()
    }
}

/// What the path itself says: Rust's own crates, and those of a registry.
fn of_path(file: &str) -> Option<&str> {
    // `/rustc/COMMIT/library/core/src/…`, `…/lib/rustlib/src/rust/library/core/src/…`
    if let Some((front, rest)) = file.split_once("/library/").filter(|(front, _)| front.contains("rust")) {
        let _ = front;
        return rest.split('/').next();
    }
    // `/rust/deps/hashbrown-0.15.5/src/…`, `…/registry/src/INDEX/bytes-1.10.1/src/…`
    let in_deps = file.split_once("/rust/deps/").map(|(_, rest)| rest);
    let in_registry =
        || file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/')).map(|(_, rest)| rest);
    let folder = in_deps.or_else(in_registry)?.split('/').next()?;
    Some(without_version(folder))
}

/// `embedded-io-async-0.7.0` → `embedded-io-async`.
fn without_version(folder: &str) -> &str {
    let is_version = |(at, _): &(usize, &str)| folder[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    folder.match_indices('-').find(is_version).map_or(folder, |(at, _)| &folder[..at])
}

/// The crate that a symbol of data names: `unikernel_rt::checksum::TABLES` is of `unikernel-rt`. A table of methods counts for its type.
pub fn of_symbol(name: &str) -> Option<String> {
    let name = format!("{:#}", rustc_demangle::try_demangle(name).ok()?);
    let path = name.trim_start_matches(['<', '&', '(', '[', '*', ' ']);
    let end = path.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(path.len());
    let first = &path[..end];
    (!first.is_empty() && path[end..].starts_with("::")).then(|| first.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let packages = [("/src/uk/http", "unikernel-http"), ("/src/uk/http/macros", "unikernel-http-macros")];
        let owners = Owners::of_packages(packages.map(|(folder, name)| (folder.into(), name.into())).into());
        let check = |file: &str, expected: &str| assert_eq!(owners.of(file), expected, "{file}");
        check("/src/uk/http/src/lib.rs", "unikernel-http");
        check("/src/uk/http/macros/src/lib.rs", "unikernel-http-macros");
        check("/src/uk/http2/src/lib.rs", "(other)");
        check("/rustc/0123abcd/library/core/src/fmt/mod.rs", "core");
        check("/home/me/.rustup/toolchains/stable/lib/rustlib/src/rust/library/alloc/src/vec/mod.rs", "alloc");
        check("/rust/deps/hashbrown-0.15.5/src/raw.rs", "hashbrown");
        check("/home/me/.cargo/registry/src/index.crates.io-0/embedded-io-async-0.7.0/src/lib.rs", "embedded-io-async");
        check("/home/me/.cargo/registry/src/index.crates.io-0/x-1.0.0-rc.1/src/lib.rs", "x");
    }

    #[test]
    fn symbols() {
        let check = |name: &str, expected: Option<&str>| assert_eq!(of_symbol(name).as_deref(), expected, "{name}");
        check("_ZN12unikernel_rt8checksum6TABLES17h040131af9c667c9eE", Some("unikernel-rt"));
        check(
            "_ZN70_$LT$unikernel_http..handler..Erased$LT$H$GT$$u20$as$u20$core..Any$GT$4call17h7d50ed601ab5a56aE",
            Some("unikernel-http"),
        );
        check("__unikernel_log", None);
        check("", None);
    }
}
