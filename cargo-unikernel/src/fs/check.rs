//! `image fs check`: whether everything can be read.

use anyhow::Result;
use serde::Serialize;
use unikernel_blockfs::{Report, Volume, VolumeInfo};

use super::{
    open::{Access, Image, on_disk},
    text::printable,
};

/// What is checked.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    image: Image,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Findings {
    /// `None`: it could not be mounted.
    format: Option<String>,
    has_checksums: bool,
    folders: u64,
    files: u64,
    bytes: u64,
    problem_count: u64,
    problems: Vec<String>,
}

impl Arguments {
    pub(super) fn exec(self) -> Result<u8> {
        let findings = on_disk(&self.image, Access::Read, async |disk| {
            Ok(match Volume::mount(disk).await {
                Ok(volume) => Findings::of(volume.info(), &volume.check().await),
                Err(error) => Findings::unmounted(&error),
            })
        })?;
        let text = if self.json { serde_json::to_string_pretty(&findings)? } else { findings.text() };
        super::text::print(&text)?;
        Ok((findings.problem_count > 0).into())
    }
}

impl Findings {
    fn of(info: &VolumeInfo, report: &Report) -> Findings {
        Findings {
            format: Some(format!("{:?}", info.format).to_lowercase()),
            has_checksums: info.content.is_some(),
            folders: report.folders,
            files: report.files,
            bytes: report.len,
            problem_count: report.problem_count,
            problems: report.problems.iter().map(ToString::to_string).collect(),
        }
    }

    fn unmounted(error: &unikernel_blockfs::Error) -> Findings {
        let problems = vec![error.to_string()];
        Findings { format: None, has_checksums: false, folders: 0, files: 0, bytes: 0, problem_count: 1, problems }
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self.problems.iter().map(|problem| printable(problem)).collect();
        let more = self.problem_count - self.problems.len() as u64;
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        if let Some(format) = &self.format {
            let Findings { folders, files, bytes, .. } = self;
            let sums = if self.has_checksums { "checked against its checksum" } else { "without checksums to check" };
            let state = if self.problem_count == 0 { "ok" } else { "damaged" };
            lines.push(format!("{state}: {format}, {files} files in {folders} folders, {bytes} bytes read, {sums}"));
        }
        lines.join("\n")
    }
}
