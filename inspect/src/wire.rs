//! The answers, for both sides. On the network they are JSON.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// Some tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    /// When they were looked at, in microseconds since the machine began.
    pub now_micros: u64,
    /// By their numbers.
    pub tasks: Vec<Task>,
    /// `from` of the next page; `None` after the last.
    pub next: Option<usize>,
}

/// A task: see `unikernel_rt::task::TaskInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Task {
    pub id: usize,
    pub name: String,
    pub state: String,
    pub waits_for: String,
    pub polls: u64,
    pub run_time_micros: u64,
    pub longest_poll_micros: u64,
}

/// Some sockets, and on the first page what the stack counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Sockets {
    pub sockets: Vec<Socket>,
    /// `from` of the next page; `None` after the last.
    pub next: Option<u64>,
}

/// A socket: see `unikernel_net::SocketInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Socket {
    pub state: String,
    pub local: String,
    pub peer: Option<String>,
    pub owner: String,
    pub receive_queue: usize,
    pub send_queue: usize,
    pub retransmits: u32,
    pub round_trip_micros: Option<u64>,
    pub congestion_window: u32,
}

/// The heap, in bytes: see `unikernel_rt::heap`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Heap {
    pub in_use: usize,
    pub peak: usize,
    pub total: usize,
    /// Blocks by size, without the sizes of which there are none.
    pub classes: Vec<HeapClass>,
    /// By whom blocks in use were allocated since the port was opened.
    #[serde(default)]
    pub sites: HeapSites,
}

/// Samples of the blocks in use, by the code that allocated them: see `unikernel_rt::heap::sites`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSites {
    /// Whose addresses those of the sites are: the image's build id, in hex.
    pub build: String,
    /// One block in about so many bytes is sampled; 0 where none are.
    pub interval: usize,
    /// Bytes that nothing is known about since there were too many samples.
    pub missed: usize,
    /// Those with the most bytes, these first.
    pub sites: Vec<HeapSite>,
}

/// A place in the code, and the ways there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSite {
    /// Return addresses in the image, the innermost first.
    pub frames: Vec<u64>,
    /// Blocks that were sampled.
    pub samples: usize,
    /// The bytes that they stand for.
    pub bytes: usize,
}

/// The blocks of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapClass {
    /// The longest of them, in bytes; `None` for all that are longer than those of the others.
    pub block_len_max: Option<usize>,
    /// How many are in use.
    pub blocks: usize,
    /// Bytes that serve this size.
    pub held: usize,
}

/// The answer to a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// How long the machine has been running.
    pub uptime_micros: u64,
    /// Its wall clock, since 1970.
    pub unix_micros: u64,
}

/// Which lines are logged: see `unikernel_rt::log::level`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// More detailed lines are not in the image.
    pub built: String,
    /// What was set.
    pub rules: Vec<LevelRule>,
}

/// What is logged of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelRule {
    /// Its path; empty for all that have no rule of their own.
    pub module: String,
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`.
    pub level: String,
}

/// How a capture is going.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureCounts {
    /// Frames that passed the filter.
    pub seen: u64,
    /// Those of them that were not sent, because the reader was too slow.
    pub dropped: u64,
}

/// The header of a capture's answer that has its number.
pub const CAPTURE_HEADER: &str = "Capture";
