//! Fetches Debian's packages and finds files in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::ElfFile;

use crate::{Result, error};

/// The files of all packages in one folder.
pub struct Unpacked {
    files: Vec<PathBuf>,
}

impl Unpacked {
    /// Reads the file whose path ends with these components.
    pub fn read(&self, end: &str) -> Result<Vec<u8>> {
        let path = self.files.iter().find(|path| path.ends_with(end));
        let path = path.ok_or_else(|| error(format!("no Debian package brought {end}")))?;
        Ok(fs::read(path)?)
    }

    /// The kernel's image.
    pub fn kernel(&self) -> Result<&Path> {
        let named =
            |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
        let path = self.files.iter().find(named);
        Ok(path.ok_or_else(|| error("no Debian package brought a kernel"))?)
    }
}

/// Another name for every change of what is downloaded.
const FOLDER: &str = "debian-1";

/// The packages, downloaded and unpacked unless that was done before.
pub fn in_cache(cache: &Path) -> Result<Unpacked> {
    let folder = cache.join(FOLDER);
    // Written last, since an interrupted download must not look finished.
    let complete = folder.join("complete");
    if !complete.exists() {
        fetch(&folder)?;
        fs::write(&complete, "")?;
    }
    let mut files = Vec::new();
    collect(&folder.join("root"), &mut files)?;
    Ok(Unpacked { files })
}

/// Downloads and unpacks kernel, busybox, nginx and its libraries into `folder`.
fn fetch(folder: &Path) -> Result {
    let (debs, root) = (folder.join("debs"), folder.join("root"));
    fs::create_dir_all(&debs)?;
    fs::create_dir_all(&root)?;
    let mut names = vec!["busybox-static".to_owned(), "nginx-common".into(), "nginx".into()];
    names.extend(depends("nginx", |name| name.starts_with("lib") || name == "zlib1g")?);
    let kernel = depends("linux-image-cloud-amd64", |name| name.starts_with("linux-image-"))?;
    names.extend(kernel.into_iter().take(1));
    run(Command::new("apt-get").arg("download").args(&names).current_dir(&debs))?;
    for deb in fs::read_dir(&debs)? {
        run(Command::new("dpkg").arg("-x").arg(deb?.path()).arg(&root))?;
    }
    Ok(())
}

/// All libraries a program needs, and those that they need.
pub fn libraries(unpacked: &Unpacked, program: &[u8]) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    let mut new = needed(program)?;
    while let Some(library) = new.pop() {
        if all.insert(library.clone()) {
            new.extend(needed(&unpacked.read(&library)?)?);
        }
    }
    Ok(all)
}

fn needed(program: &[u8]) -> Result<Vec<String>> {
    let table = ElfFile::<FileHeader64<Endianness>>::parse(program)?.elf_dynamic_table()?;
    let mut names = Vec::new();
    for entry in &table {
        if entry.tag == DT_NEEDED {
            names.push(String::from_utf8_lossy(table.string(entry)?).into_owned());
        }
    }
    Ok(names)
}

/// The packages one depends on, as far as they pass.
fn depends(package: &str, pass: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let listing = run(Command::new("apt-cache").args(["depends", package]))?;
    let names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(names.filter(|name| pass(name)).map(str::to_owned).collect())
}

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|cause| {
        error(format!(
            "cannot start {name}: {cause}; the Linux guest is made of Debian packages, leave it out with --no-linux"
        ))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(error(format!("{name} failed: {reason}; is the package list current (apt-get update)?")))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
