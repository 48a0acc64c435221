//! The software bill of materials: CycloneDX 1.5 (ECMA-424), with every crate that is linked into the image.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId, TargetKind};
use serde_json::{Value, json};

use super::hash::sha256;
use crate::{build::Selection, install};

/// The document. `image` is the checksum of the image, of which the document's number is made.
pub(super) fn text(selection: &Selection, crates: &[PackageId], image: &str) -> Result<String> {
    let mut query = MetadataCommand::new();
    query.other_options(["--filter-platform".to_owned(), install::TARGET.to_owned(), "--locked".to_owned()]);
    let metadata = query.exec().context("cannot ask cargo for the crates of the image")?;
    let lock = fs::read_to_string(metadata.workspace_root.join("Cargo.lock")).unwrap_or_default();
    let document = document(&metadata, crates, selection, &checksums(&lock), image)?;
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn document(
    metadata: &Metadata,
    crates: &[PackageId],
    selection: &Selection,
    checksums: &BTreeMap<(String, String), String>,
    image: &str,
) -> Result<Value> {
    let linked: BTreeSet<&PackageId> = crates.iter().collect();
    let is_app = |package: &&Package| {
        let is_bin = |target: &cargo_metadata::Target| target.kind.contains(&TargetKind::Bin);
        linked.contains(&package.id)
            && package.targets.iter().any(is_bin)
            && metadata.workspace_members.contains(&package.id)
    };
    let named = |package: &&Package| selection.package.as_ref().is_none_or(|name| package.name.as_str() == name);
    let app = metadata.packages.iter().filter(is_app).find(named).context("cargo names no app that was built")?;
    let others = metadata.packages.iter().filter(|package| linked.contains(&package.id) && package.id != app.id);
    let mut components: Vec<Value> = others.map(|package| component(package, "library", checksums)).collect();
    components.push(toolchain()?);
    components.sort_by_key(|component| component["bom-ref"].to_string());
    let mut root = component(app, "application", checksums);
    root["hashes"] = json!([{ "alg": "SHA-256", "content": image }]);
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": serial_number(image),
        "version": 1,
        "metadata": {
            "component": root,
            "tools": { "components": [{
                "type": "application", "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION"),
            }] },
        },
        "components": components,
        "dependencies": dependencies(metadata, &linked),
    }))
}

fn component(package: &Package, kind: &str, checksums: &BTreeMap<(String, String), String>) -> Value {
    let (name, version) = (package.name.as_str(), package.version.to_string());
    let mut component = json!({
        "type": kind, "bom-ref": purl(package), "name": name, "version": version, "purl": purl(package),
    });
    if let Some(license) = &package.license {
        // Old crates write `MIT/Apache-2.0`, which is no expression of SPDX.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksums.get(&(name.to_owned(), version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(text) = &package.description {
        component["description"] = text.trim().into();
    }
    component
}

/// Package URL (package-url specification, type `cargo`).
fn purl(package: &Package) -> String {
    let version = package.version.to_string().replace('+', "%2B");
    let purl = format!("pkg:cargo/{}@{version}", package.name);
    match package.source.as_ref().and_then(|source| source.repr.strip_prefix("git+")) {
        Some(url) => format!("{purl}?vcs_url=git%2B{}", percent(url)),
        None => purl,
    }
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `core`, `alloc` and `compiler_builtins`, which come with the compiler.
fn toolchain() -> Result<Value> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().context("cannot ask rustc for its version")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.split_whitespace().nth(1).context("rustc does not say its version")?;
    Ok(json!({
        "type": "library", "bom-ref": format!("pkg:generic/rust@{version}"), "name": "rust", "version": version,
        "purl": format!("pkg:generic/rust@{version}"), "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        "description": "core, alloc and compiler_builtins of the toolchain",
    }))
}

/// Which needs which, of those that are linked.
fn dependencies(metadata: &Metadata, linked: &BTreeSet<&PackageId>) -> Vec<Value> {
    let purls: BTreeMap<&PackageId, String> =
        metadata.packages.iter().map(|package| (&package.id, purl(package))).collect();
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).filter(|node| linked.contains(&node.id));
    let mut all: Vec<(String, BTreeSet<String>)> = nodes
        .map(|node| {
            let normal = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
                    && linked.contains(&dependency.pkg)
            });
            (purls[&node.id].clone(), normal.map(|dependency| purls[&dependency.pkg].clone()).collect())
        })
        .collect();
    all.sort();
    all.into_iter().map(|(from, to)| json!({ "ref": from, "dependsOn": to })).collect()
}

/// From Cargo.lock: name and version to the checksum that the registry gave.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |block: &str, key: &str| {
        let value = |line: &str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"').map(str::to_owned);
        block.lines().find_map(value)
    };
    let blocks = lock.split("[[package]]\n").skip(1);
    blocks
        .filter_map(|block| Some(((field(block, "name")?, field(block, "version")?), field(block, "checksum")?)))
        .collect()
}

/// A UUID made of the image, so that the same image has the same document (RFC 9562, version 8).
fn serial_number(image: &str) -> String {
    let hash = sha256(image.as_bytes());
    let bytes: Vec<u8> =
        (0..16).map(|index| u8::from_str_radix(&hash[2 * index..2 * index + 2], 16).expect("is hex")).collect();
    let bytes = <[u8; 16]>::try_from(bytes).expect("sixteen");
    format!("urn:uuid:{}", uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n\n\
                    [[package]]\nname = \"b\"\nversion = \"0.1.0\"\ndependencies = [\n \"a\",\n]\n";
        assert_eq!(checksums(lock), BTreeMap::from([(("a".into(), "1.0.0".into()), "ff".into())]));
        assert!(serial_number("ab").starts_with("urn:uuid:"));
        assert_eq!(percent("https://a.b/c?d=e#f"), "https://a.b/c%3Fd%3De%23f");
    }
}
