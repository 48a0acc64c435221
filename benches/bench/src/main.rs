//! Measures the images and prints one table, beside a Linux guest with nginx: guest instructions
//! and requests a second, boot, idle, size, memory. See `benches/README.md`.
//!
//! [`measure`] has the measurements in the table's order; [`profile`] shows where the instructions
//! go. Everything runs inside namespaces of its own ([`namespace`]).

#![forbid(unsafe_code)]

mod answer;
mod boot;
mod cases;
mod connections;
mod linux;
// One file for both sides, each of which uses a part of it.
#[allow(dead_code, reason = "some of it is for the plugin alone")]
#[path = "../../insn-plugin/src/layout.rs"]
mod layout;
mod load;
mod measure;
mod namespace;
mod profile;
mod project;
mod report;
mod size;
mod vm;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use linux::Linux;
use measure::Bench;
use project::Project;

type Error = anyhow::Error;
type Result<T = ()> = anyhow::Result<T>;

/// An error of this program's own.
fn error(text: impl Into<String>) -> Error {
    Error::msg(text.into())
}

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum What {
    /// Everything but the profile.
    All,
    /// Start to first answer, on microvm and q35.
    Boot,
    /// Instructions and requests a second under load.
    Load,
    /// Instructions a second with nothing to do.
    Idle,
    /// Stripped images.
    Size,
    /// Smallest memory that serves.
    Memory,
    /// Load beside 10,000 idle connections.
    Connections,
    /// Minutes of mixed load with every answer checked.
    Mixed,
    /// Only the Linux guest: boot, load, idle.
    Linux,
    /// Where the instructions of a load case go, function by function.
    Profile,
}

/// Measures the unikernel images beside nginx on Linux. Needs root, for a network of its own.
#[derive(Parser)]
pub struct Options {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    what: Vec<What>,
    /// Measure this ELF instead of bench-site. It must serve /hello, /, /100k.bin, /10m.bin.
    #[arg(long, value_name = "ELF")]
    guest: Option<PathBuf>,
    /// The port that guest serves.
    #[arg(long, default_value_t = 80)]
    port: u16,
    /// Also write all values to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Shorter runs: good for instructions, rough for requests a second.
    #[arg(long)]
    quick: bool,
    /// Leave the Linux guest out.
    #[arg(long)]
    no_linux: bool,
    /// How long the mixed load lasts.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The load case to measure or profile; may be repeated (default: all, and hello64 for profile).
    #[arg(long, value_name = "CASE")]
    case: Vec<String>,
    /// Profile: how many functions to show.
    #[arg(long, default_value_t = 40)]
    top: usize,
    /// Profile: count what a function inlines as its own.
    #[arg(long, value_enum, default_value = "function")]
    by: profile::By,
}

impl Options {
    /// Whether one of the measurements that were asked for includes this one.
    fn wants(&self, what: What) -> bool {
        let part_of_all = what != What::Profile;
        self.what.contains(&what) || (part_of_all && self.what.contains(&What::All))
    }

    /// Whether our images are to be measured at all.
    fn wants_ours(&self) -> bool {
        self.what.iter().any(|what| *what != What::Linux)
    }

    /// Whether nginx is to be measured.
    fn wants_linux(&self) -> bool {
        let compared = [What::Boot, What::Load, What::Idle, What::Connections, What::Linux];
        !self.no_linux && compared.iter().any(|what| self.wants(*what))
    }
}

fn main() -> Result {
    let options = Options::parse();
    let project = Project::find()?;
    match namespace::inside() {
        None => {
            prepare(&options, &project)?;
            namespace::enter().map(|never| match never {})
        }
        Some(folder) => {
            let outcome = measure_all(&options, &project, &folder);
            fs::remove_dir_all(&folder)?;
            outcome
        }
    }
}

/// Builds and downloads, with the machine's ordinary network.
fn prepare(options: &Options, project: &Project) -> Result {
    project.build_plugin()?;
    let mut images = Vec::new();
    if options.wants_ours() && options.guest.is_none() {
        images.push("bench-site");
    }
    if options.wants(What::Size) || options.wants(What::Memory) {
        images.extend(["hello", "static-site"]);
    }
    project.build_images(&images)?;
    if options.wants_linux() {
        Linux::prepare(&project.cache)?;
    }
    Ok(())
}

/// Inside the namespaces: measures and prints.
fn measure_all(options: &Options, project: &Project, folder: &Path) -> Result {
    namespace::set_up(folder)?;
    let mut bench = Bench::new(options, project, folder);
    if options.wants(What::Profile) {
        return bench.profile();
    }
    let outcome = bench.measure();
    // What was measured before a failure is worth showing, too.
    println!("{}", bench.report.table());
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", bench.report.json()))?;
    }
    outcome
}
