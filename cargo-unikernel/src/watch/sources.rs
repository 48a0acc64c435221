//! The folders from which an app is built: its package's, and those of the packages beside it that it depends on.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, PackageId};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::is_source;
use crate::{build::Selection, install, package::selected};

/// Tells when a file in them changes.
pub struct Sources {
    watcher: RecommendedWatcher,
    packages: Vec<PathBuf>,
    watched: BTreeSet<PathBuf>,
}

impl Sources {
    /// Those of the selected package; `changed` is called in another thread.
    pub fn new(selection: &Selection, changed: impl Fn() + Send + 'static) -> Result<Sources> {
        let metadata = metadata(&[]).context("cannot read Cargo.toml")?;
        Sources::of(packages(&metadata, selection.package.as_deref())?, changed)
    }

    fn of(packages: Vec<PathBuf>, changed: impl Fn() + Send + 'static) -> Result<Sources> {
        let heard = move |event: notify::Result<notify::Event>| {
            // An error may hide a change: then a build too many is better than one too few.
            let is_change = |event: notify::Event| {
                !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_source(path))
            };
            if event.map_or(true, is_change) {
                changed();
            }
        };
        let watcher = notify::recommended_watcher(heard).context("cannot watch files")?;
        Ok(Sources { watcher, packages, watched: BTreeSet::new() })
    }

    /// Also watches folders that are new.
    pub fn look_again(&mut self) -> Result<()> {
        for package in &self.packages {
            watch(&mut self.watcher, &mut self.watched, package, RecursiveMode::NonRecursive)?;
            for folder in folders_with_source(package) {
                watch(&mut self.watcher, &mut self.watched, &folder, RecursiveMode::Recursive)?;
            }
        }
        Ok(())
    }
}

/// Without what only other systems need, which would be downloaded for nothing.
fn metadata(options: &[&str]) -> cargo_metadata::Result<Metadata> {
    let options = ["--filter-platform", install::TARGET].iter().chain(options);
    MetadataCommand::new().other_options(options.map(ToString::to_string).collect::<Vec<_>>()).exec()
}

fn watch(
    watcher: &mut RecommendedWatcher,
    watched: &mut BTreeSet<PathBuf>,
    folder: &Path,
    mode: RecursiveMode,
) -> Result<()> {
    // One that was removed and made again is another.
    watched.retain(|known| known.is_dir());
    if watched.contains(folder) {
        return Ok(());
    }
    let advice = "the system may allow too few watches (on Linux: `sysctl fs.inotify.max_user_watches`)";
    watcher.watch(folder, mode).with_context(|| format!("cannot watch {}; {advice}", folder.display()))?;
    watched.insert(folder.to_owned());
    Ok(())
}

/// Not what is built, what is hidden, or another package.
fn folders_with_source(package: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(package).into_iter().flatten().flatten();
    let is_source = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_folder && !is_hidden && name != "target" && !entry.path().join("Cargo.toml").is_file()
    };
    entries.filter(is_source).map(|entry| entry.path()).collect()
}

/// The folders of the selected package and of all that it depends on and that lie on this machine.
fn packages(metadata: &Metadata, name: Option<&str>) -> Result<Vec<PathBuf>> {
    let chosen = selected(metadata, name)?.iter().map(|package| &package.id).collect();
    let needed = with_dependencies(metadata, chosen);
    let local = metadata.packages.iter().filter(|package| package.source.is_none() && needed.contains(&package.id));
    Ok(local.filter_map(|package| package.manifest_path.parent().map(PathBuf::from)).collect())
}

fn with_dependencies<'m>(metadata: &'m Metadata, chosen: Vec<&'m PackageId>) -> BTreeSet<&'m PackageId> {
    let nodes = metadata.resolve.as_ref().map_or(&[][..], |resolve| &resolve.nodes);
    let mut needed: BTreeSet<&PackageId> = chosen.iter().copied().collect();
    let mut queue = VecDeque::from(chosen);
    while let Some(id) = queue.pop_front() {
        let node = nodes.iter().find(|node| node.id == *id);
        let dependencies = node.into_iter().flat_map(|node| &node.dependencies);
        queue.extend(dependencies.filter(|dependency| needed.insert(dependency)));
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn folders() {
        let package = tempfile::tempdir().unwrap();
        for folder in ["src/bin", "site", "target/debug", ".git", "nested"] {
            fs::create_dir_all(package.path().join(folder)).unwrap();
        }
        fs::write(package.path().join("nested/Cargo.toml"), "").unwrap();
        let mut found = folders_with_source(package.path());
        found.sort();
        assert_eq!(found, ["site", "src"].map(|name| package.path().join(name)));
    }

    #[test]
    fn packages_beside_it_are_watched_and_those_of_the_registry_are_not() {
        let metadata = metadata(&["--offline"]).unwrap();
        let root = PathBuf::from(&metadata.workspace_root);
        let found = packages(&metadata, Some("hello")).unwrap();
        for folder in ["examples/hello", "unikernel-rt", "unikernel-rt/macros"] {
            assert!(found.contains(&root.join(folder)), "{folder}: {found:?}");
        }
        assert!(found.iter().all(|folder| folder.starts_with(&root) && !folder.ends_with("net")), "{found:?}");
    }

    #[test]
    fn changes_are_heard_and_files_that_are_read_are_not() {
        let package = tempfile::tempdir().unwrap();
        fs::create_dir(package.path().join("src")).unwrap();
        fs::write(package.path().join("src/lib.rs"), "").unwrap();
        let (sender, heard) = mpsc::channel();
        let mut sources = Sources::of(vec![package.path().to_owned()], move || {
            let _ = sender.send(());
        })
        .unwrap();
        sources.look_again().unwrap();
        fs::read(package.path().join("src/lib.rs")).unwrap();
        fs::create_dir(package.path().join("site")).unwrap();
        heard.recv_timeout(std::time::Duration::from_secs(60)).expect("a new folder is a change");
        sources.look_again().unwrap();
        while heard.try_recv().is_ok() {}
        fs::write(package.path().join("site/index.html"), "text").unwrap();
        heard.recv_timeout(std::time::Duration::from_secs(60)).expect("it is watched, too");
    }
}
