//! The cases that can be asked for by name.

use crate::What;
use crate::disk;
use crate::flood::FLOODS;
use crate::load::Load;
use crate::tls::{Suite, Tls};

/// A load case: its row of instructions, its row of requests a second, and what it does.
pub struct LoadCase {
    /// Name on the command line, and stem of the two rows' ids.
    pub id: &'static str,
    /// What is asked for, and how.
    pub load: Load,
    /// What the instructions are counted for.
    pub instructions_per: Per,
    /// Of what there are so many a second.
    pub rate_of: Per,
}

/// What an answer counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// One.
    Answer,
    /// The millions of bytes of its body.
    Megabyte,
}

impl LoadCase {
    const fn new(id: &'static str, load: Load) -> LoadCase {
        LoadCase { id, load, instructions_per: Per::Answer, rate_of: Per::Answer }
    }

    /// Bytes a second instead of requests.
    const fn in_megabytes(self) -> LoadCase {
        LoadCase { rate_of: Per::Megabyte, ..self }
    }

    /// So many times an answer counts.
    pub fn times(&self, per: Per) -> f64 {
        match per {
            Per::Answer => 1.0,
            Per::Megabyte => self.load.body_len as f64 / 1e6,
        }
    }
}

const fn keep_alive(path: &'static str, body_len: usize, connections: usize) -> Load {
    Load { path, body_len, connections, close: false, tls: None }
}

/// A connection for each request, so many at a time.
const fn closing(connections: usize, tls: Option<Tls>) -> Load {
    Load { path: "/hello", body_len: HELLO_LEN, connections, close: true, tls }
}

const fn bulk(id: &'static str, suite: Suite) -> LoadCase {
    let tls = Some(Tls { suite, resumes: false });
    let load = Load { tls, ..keep_alive("/10m.bin", FILE_LENS[2], 1) };
    LoadCase { id, load, instructions_per: Per::Megabyte, rate_of: Per::Megabyte }
}

/// The body of `/hello`.
pub const HELLO_LEN: usize = 13;
/// Lengths of the files `/`, `/100k.bin`, `/10m.bin`.
pub const FILE_LENS: [usize; 3] = [600, 100 * 1024, 10 * 1024 * 1024];

/// What `load` measures.
pub const LOADS: &[LoadCase] = &[
    LoadCase::new("hello1", keep_alive("/hello", HELLO_LEN, 1)),
    LoadCase::new("hello16", keep_alive("/hello", HELLO_LEN, 16)),
    LoadCase::new("hello64", keep_alive("/hello", HELLO_LEN, 64)),
    LoadCase::new("page16", keep_alive("/", FILE_LENS[0], 16)),
    LoadCase::new("100k16", keep_alive("/100k.bin", FILE_LENS[1], 16)),
    LoadCase::new("10m1", keep_alive("/10m.bin", FILE_LENS[2], 1)).in_megabytes(),
    LoadCase::new("close16", closing(16, None)),
];

/// What `tls` measures.
pub const TLS_LOADS: &[LoadCase] = &[
    LoadCase::new("tls-full", closing(16, Some(Tls { suite: Suite::Aes128, resumes: false }))),
    LoadCase::new("tls-resumed", closing(16, Some(Tls { suite: Suite::Aes128, resumes: true }))),
    bulk("tls-aes", Suite::Aes128),
    bulk("tls-chacha", Suite::ChaCha20),
];

/// The case of `disk` that is a load: `site-from-disk` beside the embedded files.
pub const DISK_SITE: &str = "disk-site";

/// The one case of `upload`.
pub const UPLOAD: &str = "upload";

/// The names on the command line of a measurement's cases; empty where it has no choice.
pub fn names(of: What) -> Vec<&'static str> {
    match of {
        What::Load => LOADS.iter().map(|case| case.id).collect(),
        What::Tls => TLS_LOADS.iter().map(|case| case.id).collect(),
        What::Flood => FLOODS.iter().map(|flood| flood.id).collect(),
        What::Upload => vec![UPLOAD],
        What::Disk => disk::CASES.iter().map(|case| case.id).chain([DISK_SITE]).collect(),
        _ => Vec::new(),
    }
}

/// What the profile shows beside the cases that are measured.
pub const PROFILES: [&str; 3] = ["boot", "log", "idle"];

/// What is asked of `site-from-disk`, and of `bench-site` beside it.
pub const DISK_SITE_LOAD: Load = keep_alive("/", FILE_LENS[0], 64);

/// The load case with this id.
pub fn load_case(id: &str) -> Option<&'static LoadCase> {
    LOADS.iter().chain(TLS_LOADS).find(|case| case.id == id)
}
