//! A file that appears under its name when it is complete.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use signal_hook::{consts::TERM_SIGNALS, iterator::Signals};

/// What must go when this process is told to end.
static DRAFTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();
/// Somebody else ends this process after a signal.
static IS_ENDED_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// A file under a name of its own, until [`finish`](Self::finish). Dropped, or when a signal ends this process, it is
/// removed.
pub struct Draft {
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// A draft beside `target`.
    ///
    /// # Errors
    ///
    /// `target` has no name.
    pub fn of(target: &Path) -> Result<Draft> {
        Draft::called(target, "draft")
    }

    /// The same, where several are needed on the way to one file: each has a word of its own.
    ///
    /// # Errors
    ///
    /// `target` has no name.
    pub fn called(target: &Path, word: &str) -> Result<Draft> {
        let name = target.file_name().with_context(|| format!("`{}` names no file", target.display()))?;
        let path = target.with_file_name(format!(".{}.{word}-{}", name.to_string_lossy(), process::id()));
        WATCH.call_once(watch);
        drafts(|drafts| drafts.push(path.clone()));
        Ok(Draft { path, target: target.to_owned() })
    }

    /// From now on the caller ends this process after a signal; drafts are removed by it all the same.
    #[cfg(feature = "aws")]
    pub fn leave_signals_to_caller() {
        IS_ENDED_ELSEWHERE.store(true, Ordering::Relaxed);
    }

    /// Where it is for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name; what was there under it is replaced.
    ///
    /// # Errors
    ///
    /// It cannot be renamed.
    pub fn finish(self) -> Result<()> {
        let renamed = fs::rename(&self.path, &self.target);
        renamed.with_context(|| format!("cannot write {}", self.target.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        drafts(|drafts| drafts.retain(|path| *path != self.path));
        // After `finish` there is none.
        let _ = fs::remove_file(&self.path);
    }
}

fn drafts<T>(work: impl FnOnce(&mut Vec<PathBuf>) -> T) -> T {
    work(&mut DRAFTS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Without it a signal would leave the draft behind; that is all that fails when it cannot be had.
fn watch() {
    let Ok(mut signals) = Signals::new(TERM_SIGNALS) else { return };
    thread::spawn(move || {
        for signal in signals.forever() {
            // One that cannot be removed was finished, or not begun.
            drafts(|drafts| drafts.iter().for_each(|path| drop(fs::remove_file(path))));
            if !IS_ENDED_ELSEWHERE.load(Ordering::Relaxed) {
                process::exit(128 + signal);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_finished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let draft = Draft::of(&target).unwrap();
        fs::write(draft.path(), "half").unwrap();
        assert_eq!(names().len(), 1);
        drop(draft);
        assert!(names().is_empty());
        let draft = Draft::of(&target).unwrap();
        fs::write(draft.path(), "whole").unwrap();
        draft.finish().unwrap();
        assert_eq!((names(), fs::read(&target).unwrap()), (vec!["a".into()], b"whole".to_vec()));
        assert!(Draft::of(Path::new("/")).is_err());
    }
}
