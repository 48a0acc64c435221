//! How large the images are once stripped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use memchr::memmem;

use crate::{Result, error};

/// A stripped image.
pub struct Size {
    /// All of its file.
    pub total: u64,
    /// Of these, bytes of files that are served from within it.
    pub files: u64,
}

/// Strips a copy of the image. Of the files below `served`, those whose bytes are found in the
/// image count as its content and not as its code.
pub fn measure(image: &Path, served: Option<&Path>, folder: &Path) -> Result<Size> {
    let copy = folder.join("stripped");
    strip(image, &copy)?;
    let stripped = fs::read(&copy)?;
    let mut files = 0;
    for path in served.map(contents).transpose()?.unwrap_or_default() {
        let content = fs::read(path)?;
        if !content.is_empty() && memmem::find(&stripped, &content).is_some() {
            files += content.len() as u64;
        }
    }
    Ok(Size { total: stripped.len() as u64, files })
}

/// With `strip` of binutils, or with the tool that comes with Rust.
fn strip(image: &Path, copy: &Path) -> Result {
    let gnu = Command::new("strip").arg("-o").arg(copy).arg(image).status();
    if gnu.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let rust = Command::new(rust_objcopy()?).arg("--strip-all").arg(image).arg(copy).status();
    if rust.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(error("neither strip (package binutils) nor Rust's own tool could strip the image"))
}

fn rust_objcopy() -> Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "target-libdir"]).output()?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(libraries.with_file_name("bin").join("rust-objcopy"))
}

/// All files below a folder.
fn contents(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(contents(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
