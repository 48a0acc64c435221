//! `image fs ls`.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use unikernel_blockfs::{Kind, Volume};

use super::{
    open::{Access, Image, on_volume},
    text::{date, printable},
};

/// What is listed, and how.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    image: Image,
    /// A folder or file in it.
    #[arg(default_value = "")]
    path: String,
    /// Shows kind, length and time (UTC).
    #[arg(short)]
    long: bool,
    /// Lists folders in folders, too.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Prints JSON: path, kind, length and seconds since 1970.
    #[arg(long, conflicts_with = "long")]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    path: String,
    kind: &'static str,
    len: Option<u64>,
    modified: Option<u64>,
}

impl Arguments {
    pub(super) fn exec(self) -> Result<u8> {
        let (path, recursive) = (self.path.clone(), self.recursive);
        let rows = on_volume(&self.image, Access::Read, async move |volume| rows(&volume, &path, recursive).await)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            serde_json::to_writer_pretty(&mut out, &rows)?;
            writeln!(out)?;
        }
        for row in rows.iter().filter(|_| !self.json) {
            if self.long {
                let (kind, len) = (&row.kind[..1], row.len.map_or("-".into(), |len| len.to_string()));
                write!(out, "{kind} {len:>12} {:>19} ", row.modified.map_or("-".into(), date))?;
            }
            let slash = if row.kind == word(Kind::Folder) { "/" } else { "" };
            writeln!(out, "{}{slash}", printable(&row.path))?;
        }
        out.flush()?;
        Ok(0)
    }
}

async fn rows(volume: &Volume, path: &str, recursive: bool) -> Result<Vec<Row>> {
    let top = path.trim_matches('/');
    if volume.metadata(top).await?.kind != Kind::Folder {
        return Ok(vec![row(volume, top.into(), top, Kind::File).await?]);
    }
    let mut rows = Vec::new();
    // Folders on the way, each with the names that are left, the next one last.
    let mut folders = vec![(String::new(), sorted(volume, top).await?)];
    while let Some((folder, entries)) = folders.last_mut() {
        let Some(entry) = entries.pop() else {
            folders.pop();
            continue;
        };
        let shown = join(folder, &entry.name);
        let path = join(top, &shown);
        rows.push(row(volume, shown.clone(), &path, entry.kind).await?);
        if recursive && entry.kind == Kind::Folder {
            folders.push((shown, sorted(volume, &path).await?));
        }
    }
    Ok(rows)
}

async fn sorted(volume: &Volume, path: &str) -> Result<Vec<unikernel_blockfs::Entry>> {
    let mut entries = volume.list(path).await?;
    entries.sort_unstable_by(|a, b| b.name.cmp(&a.name));
    Ok(entries)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.into() } else { format!("{folder}/{name}") }
}

async fn row(volume: &Volume, shown: String, path: &str, kind: Kind) -> Result<Row> {
    let metadata = match kind {
        Kind::File | Kind::Folder => Some(volume.metadata(path).await?),
        _ => None,
    };
    let kind = metadata.map_or(kind, |metadata| metadata.kind);
    let len = metadata.filter(|metadata| metadata.kind == Kind::File).map(|metadata| metadata.len);
    let modified = metadata.and_then(|metadata| metadata.modified);
    Ok(Row { path: shown, kind: word(kind), len, modified })
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Folder => "directory",
        Kind::Link => "link",
        _ => "other",
    }
}
