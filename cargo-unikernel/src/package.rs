//! Finds the package an image was built from, for its settings and for readable paths.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde_json::Value;

use crate::settings::PackageSettings;

/// What is known about an image's origin; all empty for an image without its sources.
#[derive(Debug, Default)]
pub struct Origin {
    /// `[package.metadata.unikernel]`.
    pub settings: PackageSettings,
    /// The folder that source paths are shown relative to.
    pub workspace: Option<PathBuf>,
}

/// Asks cargo which package has a binary or test of this name.
pub fn origin_of(image: &Path) -> Result<Origin> {
    let mut query = MetadataCommand::new();
    query.no_deps();
    if let Some(manifest) = manifest_from_cargo() {
        query.manifest_path(manifest);
    }
    // No Cargo.toml here: then the image was copied from elsewhere, which is fine.
    let Ok(metadata) = query.exec() else { return Ok(Origin::default()) };
    let settings = match find(&metadata, image) {
        Some(package) => settings(package)?,
        None => PackageSettings::default(),
    };
    Ok(Origin { settings, workspace: Some(metadata.workspace_root.into()) })
}

/// Cargo tells a runner the package in the environment. But when the runner is itself started by `cargo run`,
/// as the alias in this workspace does, these variables describe the runner's own package.
fn manifest_from_cargo() -> Option<PathBuf> {
    let own = env::var("CARGO_PKG_NAME").is_ok_and(|name| name == env!("CARGO_PKG_NAME"));
    let folder = env::var_os("CARGO_MANIFEST_DIR").filter(|_| !own)?;
    Some(PathBuf::from(folder).join("Cargo.toml")).filter(|manifest| manifest.is_file())
}

fn find<'m>(metadata: &'m Metadata, image: &Path) -> Option<&'m Package> {
    let name = target_name(image)?;
    let has_target = |package: &&&Package| package.targets.iter().any(|target| target.name.replace('-', "_") == name);
    metadata.workspace_packages().iter().find(has_target).copied()
}

/// `…/release/static-site` → `static_site`; `…/deps/static_site-0123456789abcdef` too.
fn target_name(image: &Path) -> Option<String> {
    let stem = image.file_name()?.to_str()?.replace('-', "_");
    let hash =
        stem.rsplit_once('_').filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    Some(if is_test(image) { hash.map(|(name, _)| name.to_owned()).unwrap_or(stem) } else { stem })
}

/// Cargo leaves test binaries under `deps`, and everything else next to it.
pub fn is_test(image: &Path) -> bool {
    image.parent().is_some_and(|folder| folder.ends_with("deps"))
}

/// The packages that a command of cargo is about: the one with this name, or of this folder, or all.
pub fn selected<'m>(metadata: &'m Metadata, name: Option<&str>) -> Result<Vec<&'m Package>> {
    let here = env::current_dir().context("the current folder is gone; change to one that exists")?;
    let manifest = here.ancestors().map(|folder| folder.join("Cargo.toml")).find(|file| file.is_file());
    let is_selected = |package: &&Package| match name {
        Some(name) => package.name.as_str() == name,
        None => manifest.as_ref().is_some_and(|file| package.manifest_path == *file),
    };
    let members = metadata.workspace_packages();
    let selected: Vec<_> = members.iter().copied().filter(is_selected).collect();
    // In the root of a workspace, or with one of cargo's longer ways to name a package.
    Ok(if selected.is_empty() { members } else { selected })
}

fn settings(package: &Package) -> Result<PackageSettings> {
    let settings = parse(package.metadata.get("unikernel"));
    let settings = settings.with_context(|| format!("[package.metadata.unikernel] in {}", package.manifest_path))?;
    let folder = package.manifest_path.parent().map(PathBuf::from).unwrap_or_default();
    Ok(PackageSettings { folder, ..settings })
}

const KEYS: [&str; 6] = ["ports", "memory", "machine", "net", "disks", "volumes"];

fn parse(value: Option<&Value>) -> Result<PackageSettings> {
    let Some(value) = value else { return Ok(PackageSettings::default()) };
    let table = value.as_object().context("is no table")?;
    if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        bail!("has an unknown key `{unknown}`; known are `{}`", KEYS.join("`, `"));
    }
    for (key, value) in table {
        let one = Value::from_iter([(key.as_str(), value.clone())]);
        serde_json::from_value::<PackageSettings>(one).with_context(|| format!("has a wrong value for `{key}`"))?;
    }
    let settings: PackageSettings = serde_json::from_value(value.clone())?;
    crate::settings::Settings::merge(&settings, Default::default(), false).map_err(anyhow::Error::msg)?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, expected: &str) {
        let text = parse(Some(&value)).map_or_else(|error| format!("{error:#}"), |_| "accepted".into());
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn wrong_settings_are_named() {
        check(json!({}), "accepted");
        check(json!({ "ports": ["8080:80"], "memory": "64M", "machine": "microvm", "net": true }), "accepted");
        check(json!({ "disks": ["site"], "volumes": ["state=s.img,size=1M"] }), "accepted");
        check(
            json!({ "port": 80 }),
            "has an unknown key `port`; known are `ports`, `memory`, `machine`, `net`, `disks`",
        );
        check(json!({ "ports": "80" }), "has a wrong value for `ports`: invalid type: string");
        check(json!({ "net": "yes" }), "has a wrong value for `net`: invalid type: string");
        check(json!({ "ports": ["http"] }), "`http` is no port; write HOST:GUEST");
        check(json!({ "memory": "lots" }), "`lots` is no memory size");
        check(json!({ "disks": ["a,serial=ü"] }), "`ü` is no name of a disk");
        check(json!({ "volumes": ["state"] }), "`state` is no volume");
        check(json!({ "volumes": ["a=x", "a=y"] }), "two disks have the name `a`");
        check(json!({ "machine": "virt" }), "`virt` is no machine type");
        check(json!(["ports"]), "is no table");
    }

    #[test]
    fn the_name_of_an_image_leads_to_its_package() {
        let check = |path: &str, name: &str| assert_eq!(target_name(Path::new(path)).as_deref(), Some(name));
        check("target/x/release/static-site", "static_site");
        check("target/x/release/deps/vm_tests-0123456789abcdef", "vm_tests");
        check("target/x/debug/hello", "hello");
    }
}
