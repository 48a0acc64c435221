//! Writes a folder whole or not at all: under another name first, which then becomes the name.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

/// What only an app's own `.cargo/config.toml` may say: cargo adds up what it finds in all folders above.
const OWN_FLAG: &str = "-Tunikernel.ld";

/// Refuses a folder that exists, and one in which images could not be linked.
pub fn check_place(folder: &Path) -> Result<()> {
    if folder.symlink_metadata().is_ok() {
        bail!("{}", exists(folder));
    }
    let here = std::env::current_dir().context("the current folder is gone; change to one that exists")?;
    let has_flags = |above: &&Path| {
        let config = fs::read_to_string(above.join(".cargo/config.toml"));
        config.is_ok_and(|text| text.contains(OWN_FLAG))
    };
    if let Some(above) = here.ancestors().find(has_flags) {
        bail!(
            "an app cannot lie within {}, whose .cargo/config.toml would give the linker the same options once more; change to a \
             folder outside",
            above.display()
        );
    }
    Ok(())
}

fn exists(folder: &Path) -> String {
    format!("{} exists already; choose another name, or move it away", folder.display())
}

/// Writes the files. False, and nothing is left, when it was interrupted.
pub fn write(folder: &Path, files: &[(&str, String)], interrupted: &AtomicBool) -> Result<bool> {
    let name = folder.file_name().and_then(|name| name.to_str()).context("an app's folder has a name")?;
    let draft = Draft(folder.with_file_name(format!(".{name}.{}", std::process::id())));
    fs::create_dir(&draft.0).with_context(|| format!("cannot make a folder in {}", here()))?;
    for (path, text) in files {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let file = draft.0.join(path);
        let made = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, text));
        made.with_context(|| format!("cannot write {name}/{path}"))?;
    }
    match renameat_with(CWD, &draft.0, CWD, folder, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => bail!("{}", exists(folder)),
        // Some file systems cannot promise it; it was not there a moment ago.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(&draft.0, folder),
        other => other.map_err(Into::into),
    }
    .with_context(|| format!("cannot make the folder {name}"))?;
    Ok(true)
}

fn here() -> String {
    std::env::current_dir().map_or_else(|_| "this folder".into(), |folder| folder.display().to_string())
}

/// A folder that is not finished. It goes when it is dropped; a finished one has another name.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in a folder after writing `files` to `app` in it, and the result.
    fn check(files: &[(&str, &str)], interrupted: bool, prepare: impl FnOnce(&Path)) -> (Vec<String>, String) {
        let folder = tempfile::TempDir::new().unwrap();
        prepare(folder.path());
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
        let result = write(&folder.path().join("app"), &files, &AtomicBool::new(interrupted));
        let result = result.map_or_else(|error| format!("{error:#}"), |whole| whole.to_string());
        let left = fs::read_dir(folder.path()).unwrap().flatten();
        let left = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
        (left, result.replace(folder.path().to_str().unwrap(), "FOLDER"))
    }

    #[test]
    fn whole_or_not_at_all() {
        let app = || vec!["app".to_owned()];
        assert_eq!(check(&[("a", "1"), ("b/c/d", "2")], false, |_| ()), (app(), "true".into()));
        assert_eq!(check(&[("a", "1")], true, |_| ()), (vec![], "false".into()));
        let (left, result) = check(&[("a", "1"), ("a/b", "a file is no folder")], false, |_| ());
        assert!(left.is_empty() && result.starts_with("cannot write app/a/b: "), "{left:?} {result}");
        let appears = |folder: &Path| fs::create_dir(folder.join("app")).unwrap();
        let expected = "FOLDER/app exists already; choose another name, or move it away";
        assert_eq!(check(&[("a", "1")], false, appears), (app(), expected.into()));
    }
}
