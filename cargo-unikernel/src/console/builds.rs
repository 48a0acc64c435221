//! Finds the image that a log comes from, by the build that a crash report in it names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

use crate::install;

/// The image of the last crash report of the log, among what cargo has built here.
pub fn find(log: &[u8]) -> Result<PathBuf> {
    let id = named_in(log).context("the log names no build; say which image it comes from, with --elf ELF")?;
    of_build(&id)
}

/// The image of a build id in hex, among what cargo has built here.
pub fn of_build(id: &str) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().no_deps().exec();
    let metadata = metadata.context("there is no package here whose builds could be searched; use --elf ELF")?;
    let folder = metadata.target_directory.into_std_path_buf().join(install::TARGET);
    let found = images(&folder).into_iter().find(|image| is_build(image, id));
    found.with_context(|| {
        format!("no image under {} is build {id}; name the one that it comes from with --elf ELF", folder.display())
    })
}

fn named_in(log: &[u8]) -> Option<String> {
    let log = String::from_utf8_lossy(log);
    let ids = log.lines().filter_map(|line| line.strip_prefix("unikernel: build "));
    ids.map(|id| id.trim().to_owned()).rfind(|id| !id.is_empty())
}

/// Files without an extension in the folders of the profiles: apps, and tests in `deps`.
fn images(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let profiles = list(folder).flat_map(|profile| [profile.join("deps"), profile]);
    profiles.flat_map(|folder| list(&folder)).filter(|file| file.is_file() && file.extension().is_none()).collect()
}

fn is_build(image: &Path, id: &str) -> bool {
    fs::read(image).is_ok_and(|elf| super::build_id(&elf).as_deref() == Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_names_the_build() {
        let check = |log: &[u8], id: Option<&str>| assert_eq!(named_in(log).as_deref(), id);
        check(b"up\r\n", None);
        check(b"unikernel: build \r\n", None);
        check(b"\xc0\x01\xc1unikernel: panic\r\nunikernel: build 0a1b\r\nunikernel: build 2c3d\r\nbye", Some("2c3d"));
    }
}
