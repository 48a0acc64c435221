//! `image inspect`.

use std::{fmt::Write, fs, path::PathBuf};

use anyhow::Result;
use object::{
    Endianness,
    elf::{ELF_NOTE_GNU, FileHeader64, NT_GNU_BUILD_ID},
    read::elf::{FileHeader, ProgramHeader},
};
use serde_json::json;

use super::Record;
use crate::{
    boot_disk::{Opened, hash::sha256_of},
    fs::print,
};

/// What is looked into.
#[derive(clap::Args)]
pub struct Inspect {
    /// A disk, an ELF file or an archive of an OCI image.
    image: PathBuf,
    /// Prints it as JSON.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// Prints what is in it.
    pub fn exec(self) -> Result<u8> {
        let opened = Opened::open(&self.image)?;
        let (file_len, sha256) = (fs::metadata(&self.image)?.len(), sha256_of(&self.image)?);
        // Without a home there are no notes, and the image is as readable.
        let record = Record::find(&self.image).ok().flatten();
        let build = build_id(&opened.kernel);
        if self.json {
            let reference = opened.reference.as_ref().map(ToString::to_string);
            let kernel = json!({ "len": opened.kernel.len(), "build_id": build });
            let is_same = record.as_ref().map(|record| record.sha256 == sha256);
            let made = record.map(|record| json!({ "package": record.package, "created_ms": record.created_ms }));
            let volumes: Vec<_> = opened.volumes().map(|part| &part.name).collect();
            let all = json!({
                "file": self.image, "format": opened.format, "file_len": file_len, "sha256": sha256, "reference": reference,
                "kernel": kernel, "boot_arguments": opened.arguments, "config": opened.config,
                "partitions": opened.partitions, "volumes": volumes,
                "made": made, "is_as_made": is_same,
            });
            print(&all.to_string())?;
            return Ok(0);
        }
        let mut text = format!("file         {} ({}, {file_len} bytes)\n", self.image.display(), opened.format);
        let mut line = |title: &str, value: &str| {
            let _ = writeln!(text, "{title:<13}{value}");
        };
        line("sha256", &sha256);
        if let Some(record) = &record {
            let state = if record.sha256 == sha256 { "as it was made" } else { "changed since it was made" };
            line("package", &format!("{}, {state}", record.package));
        }
        if let Some(reference) = &opened.reference {
            line("reference", &reference.to_string());
        }
        line("kernel", &format!("{} KiB", opened.kernel.len().div_ceil(1024)));
        line("build", build.as_deref().unwrap_or("without a build id"));
        line("arguments", &opened.arguments.join(" "));
        if let Some(keys) = &opened.config {
            // Not the values, of which any may be secret.
            line("config", &keys.join(" "));
        }
        for part in &opened.partitions {
            let (number, name, mib, at) = (part.number, &part.name, part.len >> 20, part.start >> 20);
            line("partition", &format!("{number} `{name}`, {mib} MiB at {at} MiB"));
        }
        print(text.trim_end())?;
        Ok(0)
    }
}

/// The build id in hex, from what is loaded: there are no other notes in a kernel.
fn build_id(kernel: &[u8]) -> Option<String> {
    let header = FileHeader64::<Endianness>::parse(kernel).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, kernel).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, kernel) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID {
                return Some(note.desc().iter().map(|byte| format!("{byte:02x}")).collect());
            }
        }
    }
    None
}
