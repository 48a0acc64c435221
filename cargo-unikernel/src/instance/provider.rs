//! What is asked of whoever runs instances: this computer ([`local`](super::local)), or a cloud.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::Result;
use serde::Serialize;

use super::{Create, Name, Restart};
use crate::{
    firmware::{Bios, Format},
    port::Port,
    settings::Settings,
};

/// Somewhere instances run. All that is said of an instance is said by its name.
pub trait Provider {
    /// What `create` is to make.
    type Order;
    /// That of a command line: builds what has to be built, and checks all that can be checked from here.
    fn order(create: Create) -> Result<Self::Order>;
    /// What [`create`](Self::create) would do, for people; does nothing of it.
    fn plan(&self, order: &Self::Order) -> Result<String>;
    /// Makes an instance and starts it. When that fails or is interrupted, nothing of it is left.
    fn create(&self, order: Self::Order) -> Result<Summary>;
    /// All that there are, by name.
    fn list(&self) -> Result<Vec<Summary>>;
    /// Writes the lines that an instance has logged; with [`Lines::follow`] until it ends.
    fn logs(&self, name: &Name, lines: &Lines, out: &mut dyn Write) -> Result<()>;
    /// Stops it, and returns when it has ended. One that does not run stays so.
    fn stop(&self, name: &Name, urgency: Urgency) -> Result<Summary>;
    /// Starts one that does not run, as it was created.
    fn start(&self, name: &Name) -> Result<Summary>;
    /// Stops it and removes all that belongs to it.
    fn delete(&self, name: &Name, urgency: Urgency) -> Result<()>;
    /// What it uses.
    fn stats(&self, name: &Name) -> Result<Usage>;
    /// Starts a copy of one that runs, with all that is in its memory, and leaves it running.
    fn clone(&self, name: &Name, copy: &Name, ports: &[Port]) -> Result<Summary>;
    /// Joins this terminal and its serial port, until either ends.
    fn console(&self, name: &Name) -> Result<()>;
}

/// What this computer is to make.
#[derive(Clone, Debug)]
pub struct Order {
    /// The name it gets; without one, that of the image with a number if need be.
    pub name: Option<Name>,
    /// What it boots.
    pub image: Image,
    /// The folder that source paths are shown relative to.
    pub workspace: Option<PathBuf>,
    /// Its machine; files have absolute paths.
    pub settings: Settings,
    /// `kvm` or `tcg`, where that was said.
    pub accel: Option<crate::accel::Accel>,
    /// Where a core is written when the app crashes.
    pub cores: Option<PathBuf>,
    /// `key=value` words.
    pub boot_arguments: Vec<String>,
    /// More arguments for QEMU.
    pub extra: Vec<String>,
    /// What comes after its end.
    pub restart: Restart,
}

/// What an instance boots.
#[derive(Clone, Debug)]
pub enum Image {
    /// An ELF, which was looked at.
    Elf(PathBuf),
    /// A disk.
    Disk {
        /// Its file.
        file: PathBuf,
        /// How its content lies there.
        format: Format,
        /// What starts it.
        bios: Bios,
        /// The ELF that is on it, to decode its log with.
        elf: Option<PathBuf>,
    },
}

impl Image {
    /// The file.
    pub fn path(&self) -> &std::path::Path {
        match self {
            Image::Elf(path) | Image::Disk { file: path, .. } => path,
        }
    }
}

/// Which lines of a log.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Goes on with lines to come.
    pub follow: bool,
    /// Only those of the last so much time.
    pub since: Option<Duration>,
    /// Only so many, the last ones.
    pub tail: Option<usize>,
    /// Shows when each was written.
    pub timestamps: bool,
}

/// How an instance is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// By its power button; it has the time of its `stop-timeout=`.
    InOrder,
    /// At once.
    Now,
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: Name,
    /// Who runs it.
    pub provider: &'static str,
    /// What it does.
    pub state: State,
    /// Why, where that has to be said: what is wrong with a damaged one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// For how long it has run since its last start.
    pub up_seconds: Option<u64>,
    /// Where its image came from.
    pub image: PathBuf,
    /// Ports of this machine that lead to it.
    pub ports: Vec<Port>,
    /// Its addresses on networks that it shares, as far as they were known when it started.
    pub addresses: Vec<String>,
    /// How often it was started again by itself, since it was last started.
    pub restarts: u32,
    /// How it last ended.
    pub ended: Option<Ended>,
    /// What comes after its end.
    pub restart: Restart,
    /// Its memory; in a cloud the machine type says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Its machine type.
    pub machine: String,
    /// QEMU's process.
    pub pid: Option<u32>,
    /// Where all that belongs to it is, on this computer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// What its cloud calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It has ended and is about to be started again.
    Restarting,
    /// It was asked to stop.
    Stopping,
    /// It was stopped.
    Stopped,
    /// It ended by itself.
    Ended,
    /// Whoever watched over it is gone, and it with them: killed, or this computer was started anew.
    Dead,
    /// Its files cannot be read.
    Damaged,
}

impl State {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Restarting => "restarting",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Ended => "ended",
            State::Dead => "dead",
            State::Damaged => "damaged",
        }
    }
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// As the runner's exit code.
    pub code: u8,
    /// In words.
    pub words: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What an instance uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// Its name.
    pub name: Name,
    /// For how long it has run.
    pub up_seconds: u64,
    /// Time of the processor that QEMU has used.
    pub cpu_seconds: f64,
    /// Memory of this machine that QEMU takes.
    pub resident_bytes: u64,
    /// Its threads: the virtual CPU is one.
    pub threads: u64,
    /// QEMU's process.
    pub pid: u32,
}
