//! `image list`.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::Record;
use crate::{
    fs::print,
    inspect::table::{Align, Table},
    instance::{local::record::now_ms, view::time},
};

/// Which images were made by `image create`.
#[derive(clap::Args)]
pub struct List {
    /// Prints them as JSON.
    #[arg(long)]
    json: bool,
}

impl List {
    /// Prints them.
    pub fn exec(self) -> Result<u8> {
        let records = Record::all()?;
        if self.json {
            let all: Vec<Value> = records.iter().map(to_json).collect();
            print(&Value::from(all).to_string())?;
            return Ok(0);
        }
        if records.is_empty() {
            eprintln!("there is no image; make one with `cargo unikernel image create`");
            return Ok(0);
        }
        let left = |title| (title, Align::Left);
        let mut table = Table::new(&[
            left("PACKAGE"),
            left("FORMAT"),
            ("MIB", Align::Right),
            left("AGE"),
            left("STATE"),
            left("FILE"),
        ]);
        let now = now_ms();
        for record in &records {
            table.push([
                record.package.clone(),
                record.format.to_string(),
                record.len.div_ceil(1 << 20).to_string(),
                time(now.saturating_sub(record.created_ms) / 1000),
                state(record).into(),
                record.file.display().to_string(),
            ]);
        }
        print(table.text().trim_end())?;
        Ok(0)
    }
}

fn to_json(record: &Record) -> Value {
    json!({
        "file": record.file, "format": record.format, "package": record.package, "created_ms": record.created_ms,
        "sha256": record.sha256, "len": record.len, "state": state(record),
    })
}

/// Whether the file is still there. Whether it is the same is for `sha256sum --check` to find out, which reads all of it.
fn state(record: &Record) -> &'static str {
    match fs::metadata(&record.file) {
        Ok(file) if file.len() == record.len => "there",
        Ok(_) => "changed",
        Err(_) => "gone",
    }
}
