//! `image delete`.

use std::{fs, io::ErrorKind, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::Record;
use crate::{
    boot_disk::{BESIDE, beside},
    fs::print,
};

/// Which images are removed.
#[derive(clap::Args)]
pub struct Delete {
    /// Files that `image create` made.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Prints as JSON what was removed.
    #[arg(long)]
    json: bool,
}

impl Delete {
    /// Removes them, and what lies beside each. One that is gone is forgotten.
    pub fn exec(self) -> Result<u8> {
        let mut records = Vec::new();
        // All are known before anything is removed.
        for image in &self.images {
            let Some(record) = Record::find(image)? else {
                bail!(
                    "{} was not made by `cargo unikernel image create`, as far as is known; `image list` shows what was, and `rm` \
                     removes any file",
                    image.display()
                );
            };
            records.push(record);
        }
        let mut removed = Vec::new();
        for record in &records {
            let companions = BESIDE.map(|ending| beside(&record.file, ending));
            for file in [vec![record.file.clone()], companions.into()].concat() {
                match fs::remove_file(&file) {
                    Ok(()) => removed.push(file),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error).with_context(|| format!("cannot remove {}", file.display())),
                }
            }
            record.forget()?;
        }
        if self.json {
            print(&json!({ "removed": removed }).to_string())?;
        }
        Ok(0)
    }
}
