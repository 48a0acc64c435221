//! Measures the images and prints one table, beside a Linux guest with nginx: guest instructions
//! and requests a second, uploads, TLS, floods, disks, boot, idle, size, memory. See `benches/README.md`.
//!
//! [`measure`] has the measurements in the table's order; [`profile`] shows where the instructions
//! go. Everything runs inside namespaces of its own ([`namespace`]).

#![forbid(unsafe_code)]

mod answer;
mod boot;
mod cases;
mod chance;
mod client;
mod connections;
mod disk;
mod flood;
mod heap;
mod linux;
// One file for both sides, each of which uses a part of it.
#[allow(dead_code, reason = "some of it is for the plugin alone")]
#[path = "../../insn-plugin/src/layout.rs"]
mod layout;
mod load;
mod measure;
mod mixed;
mod namespace;
mod profile;
mod project;
// The image computes what the client compares.
#[path = "../../bench-site/src/received.rs"]
mod received;
mod report;
mod rows;
mod size;
mod tls;
mod tools;
mod upload;
mod vm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use disk::images::Images;
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
    /// 100 MB from the client to the guest.
    Upload,
    /// TLS 1.3: handshakes, and a large file by cipher.
    Tls,
    /// Floods of packets beside an honest client.
    Flood,
    /// Reads, writes and durable puts on a disk, and a site that is served from it.
    Disk,
    /// Instructions a second with nothing to do.
    Idle,
    /// Stripped images.
    Size,
    /// Smallest memory that serves.
    Memory,
    /// Instructions a request with each protection turned off.
    Protections,
    /// Load beside 10,000 idle connections.
    Connections,
    /// Minutes of mixed load with every answer checked.
    Mixed,
    /// Measure what it stands beside with nginx on Linux only; alone: all that is compared.
    Linux,
    /// Where the instructions of a case go, function by function.
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
    /// The boot arguments of bench-site or that guest.
    #[arg(long, value_name = "ARGUMENTS", default_value = project::ARGUMENTS)]
    append: String,
    /// Also write all values to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Shorter runs: good for instructions, rough for requests a second.
    #[arg(long)]
    quick: bool,
    /// The machine of all measurements but `boot`, which takes several.
    #[arg(long, value_enum, default_value = "q35")]
    machine: vm::Machine,
    /// Leave the Linux guest out.
    #[arg(long)]
    no_linux: bool,
    /// How long the mixed load lasts.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Only this case of load, upload, tls, flood or disk, to measure or profile; may be repeated. A profile can also be of
    /// boot, log (start to first log line) and idle.
    #[arg(long, value_name = "CASE", value_parser = case_name)]
    case: Vec<String>,
    /// Profile: how many functions to show.
    #[arg(long, default_value_t = 40)]
    top: usize,
    /// Profile: what to sum up by.
    #[arg(long, value_enum, default_value = "function")]
    by: profile::By,
}

impl Options {
    /// Whether one of the measurements that were asked for includes this one.
    fn wants(&self, what: What) -> bool {
        let compared = COMPARED.contains(&what);
        self.what.contains(&what)
            || (self.what.contains(&What::All) && what != What::Profile && self.has_cases(what))
            || (self.what == [What::Linux] && compared && self.has_cases(what))
    }

    /// Whether cases were named of which this measurement has one, or none were.
    fn has_cases(&self, what: What) -> bool {
        self.case.is_empty() || !self.cases(what).is_empty()
    }

    /// The names of this measurement's cases that are to be measured.
    fn cases(&self, what: What) -> Vec<&'static str> {
        let mut names = cases::names(what);
        names.retain(|name| self.case.is_empty() || self.case.iter().any(|case| case == name));
        names
    }

    /// Whether our images are to be measured: `linux` turns the others it stands with to nginx.
    fn wants_ours(&self) -> bool {
        !self.what.contains(&What::Linux)
    }

    /// Whether nginx is to be measured.
    fn wants_linux(&self) -> bool {
        let compared = COMPARED.iter().any(|what| self.wants(*what));
        !self.wants_ours() || (compared && !self.no_linux)
    }
}

/// What is measured on both sides.
const COMPARED: [What; 8] =
    [What::Boot, What::Load, What::Upload, What::Tls, What::Flood, What::Disk, What::Idle, What::Connections];

/// A name of a case that there is.
fn case_name(name: &str) -> std::result::Result<String, String> {
    let measured = [What::Load, What::Upload, What::Tls, What::Flood, What::Disk].into_iter().flat_map(cases::names);
    let all: Vec<&str> = measured.chain(cases::PROFILES).collect();
    if all.contains(&name) { Ok(name.to_owned()) } else { Err(format!("there are {}", all.join(", "))) }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result {
    let project = Project::find()?;
    match namespace::inside() {
        None => {
            prepare(options, &project)?;
            namespace::enter().map(|never| match never {})
        }
        Some(folder) => {
            let outcome = measure_all(options, &project, &folder);
            fs::remove_dir_all(&folder)?;
            outcome
        }
    }
}

/// Builds and downloads, with the machine's ordinary network.
fn prepare(options: &Options, project: &Project) -> Result {
    let with_disks = options.wants(What::Disk);
    tools::check(with_disks)?;
    project.build_plugin()?;
    if options.wants_ours() {
        project.build_images(&images(options))?;
        if options.wants(What::Protections) {
            project.build_variants()?;
        }
    }
    if options.wants_linux() && COMPARED.iter().any(|what| *what != What::Disk && options.wants(*what)) {
        project.build_upload_sink()?;
        Linux::prepare(&project.cache, &project.certificates(), &project.program("upload-sink"))?;
    }
    if options.wants_linux() && with_disks {
        project.build_disk_linux()?;
        Linux::prepare_disk(&project.cache, &project.program("disk-linux"))?;
    }
    if with_disks {
        Images::in_cache(&project.cache).prepare()?;
    }
    Ok(())
}

/// The packages that are needed.
fn images(options: &Options) -> Vec<&'static str> {
    let mut images = Vec::new();
    let with_site = options.wants(What::Disk) && options.cases(What::Disk).contains(&cases::DISK_SITE);
    let others = options.what.iter().any(|what| ![What::Size, What::Memory, What::Disk].contains(what));
    if options.guest.is_none() && (with_site || others) {
        images.push("bench-site");
    }
    if options.wants(What::Disk) {
        images.push("bench-disk");
    }
    if with_site {
        images.push("site-from-disk");
    }
    if options.wants(What::Size) || options.wants(What::Memory) {
        images.extend(["hello", "static-site"]);
    }
    images
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
