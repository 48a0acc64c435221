//! Reading all of a volume, to see whether it can be read.

use crate::{
    error::{Error, Result},
    metadata::Kind,
    volume::{Volume, in_circles},
};
use alloc::{string::String, vec, vec::Vec};

/// One read of the check.
const READ_LEN_MAX: usize = 128 * 1024;
/// More problems than this are counted only.
const PROBLEMS_MAX: usize = 100;

/// What [`Volume::check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that were read to their end.
    pub files: u64,
    /// Folders that were listed, with the root.
    pub folders: u64,
    /// Bytes that were read.
    pub len: u64,
    /// What could not be read, and why; the first hundred.
    pub problems: Vec<Error>,
    /// How many problems there are.
    pub problem_count: u64,
}

impl Report {
    /// Whether everything was read.
    pub fn is_clean(&self) -> bool {
        self.problem_count == 0
    }

    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem_count += 1;
                if self.problems.len() < PROBLEMS_MAX {
                    self.problems.push(error);
                }
                None
            }
        }
    }
}

/// Lists every folder and reads every file.
pub(crate) async fn check(volume: &Volume) -> Report {
    let mut report = Report::default();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        if report.folders >= volume.folder_count_max() {
            report.note::<()>(Err(in_circles(&folder)));
            return report;
        }
        let Some(entries) = report.note(volume.list(&folder).await) else { continue };
        report.folders += 1;
        for entry in entries {
            let path = if folder.is_empty() { entry.name } else { alloc::format!("{folder}/{}", entry.name) };
            match entry.kind {
                Kind::Folder => folders.push(path),
                Kind::File => check_file(volume, &path, &mut report).await,
                Kind::Link | Kind::Other => {}
            }
        }
    }
    report
}

async fn check_file(volume: &Volume, path: &str, report: &mut Report) {
    let Some(file) = report.note(volume.open(path).await) else { return };
    let mut at = 0;
    while at < file.len() {
        let Some(bytes) = report.note(file.read_at(at, READ_LEN_MAX).await) else { return };
        at += bytes.len() as u64;
        report.len += bytes.len() as u64;
    }
    report.files += 1;
}
