//! The table's rows: what is measured, and what is to be reached.

use crate::load::Load;

/// One row.
pub struct Case {
    /// Its name in the JSON file.
    pub id: &'static str,
    /// What the reader sees.
    pub title: &'static str,
    /// What the values are, and how to print them.
    pub unit: Unit,
    /// The value to reach.
    pub target: Target,
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Guest instructions.
    Instructions,
    /// Guest instructions, in millions.
    Millions,
    /// Requests a second: the only unit of which more is better.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Kilobytes of 1,000 bytes.
    Kilobytes,
    /// MiB.
    Mebibytes,
    /// A plain number.
    Count,
}

/// What is to be reached.
#[derive(Clone, Copy, PartialEq)]
pub enum Target {
    /// Nothing in particular: shown for comparison.
    None,
    /// At most this much of the unit.
    AtMost(f64),
    /// Exactly this much.
    Exactly(f64),
    /// At least this many times what Linux reaches in the same run.
    TimesLinux(f64),
    /// At most this many times our own value of another case.
    TimesCase(f64, &'static str),
}

/// A load case: its row of instructions, its row of requests a second, and what it does.
pub struct LoadCase {
    /// Name on the command line, and stem of the two rows' ids.
    pub id: &'static str,
    /// What is asked for, and how.
    pub load: Load,
}

const fn keep_alive(path: &'static str, body_len: usize, connections: usize) -> Load {
    Load { path, body_len, connections, close: false }
}

/// The body of `/hello`.
pub const HELLO_LEN: usize = 13;
/// Lengths of the files `/`, `/100k.bin`, `/10m.bin`.
pub const FILE_LENS: [usize; 3] = [600, 100 * 1024, 10 * 1024 * 1024];

/// What `load` measures.
pub const LOADS: &[LoadCase] = &[
    LoadCase { id: "hello1", load: keep_alive("/hello", HELLO_LEN, 1) },
    LoadCase { id: "hello16", load: keep_alive("/hello", HELLO_LEN, 16) },
    LoadCase { id: "hello64", load: keep_alive("/hello", HELLO_LEN, 64) },
    LoadCase { id: "page16", load: keep_alive("/", FILE_LENS[0], 16) },
    LoadCase { id: "100k16", load: keep_alive("/100k.bin", FILE_LENS[1], 16) },
    LoadCase { id: "10m1", load: keep_alive("/10m.bin", FILE_LENS[2], 1) },
    LoadCase { id: "close16", load: Load { path: "/hello", body_len: HELLO_LEN, connections: 16, close: true } },
];

/// The load case with this id.
pub fn load_case(id: &str) -> Option<&'static LoadCase> {
    LOADS.iter().find(|case| case.id == id)
}

const fn row(id: &'static str, title: &'static str, unit: Unit, target: Target) -> Case {
    Case { id, title, unit, target }
}

use Target::{AtMost, Exactly, None, TimesCase, TimesLinux};
use Unit::{Count, Instructions, Kilobytes, Mebibytes, Millions, Milliseconds, PerSecond};

/// All rows, in the order of the table.
pub const CASES: &[Case] = &[
    row("hello1.insn", "hello, 1 connection: instructions/request", Instructions, AtMost(6_000.0)),
    row("hello16.insn", "hello, 16 connections: instructions/request", Instructions, None),
    row("hello64.insn", "hello, 64 connections: instructions/request", Instructions, AtMost(4_500.0)),
    row("page16.insn", "600-byte page, 16 connections: instructions/request", Instructions, None),
    row("100k16.insn", "100 KiB, 16 connections: instructions/request", Instructions, None),
    row("10m1.insn", "10 MiB, 1 connection: instructions/request", Instructions, None),
    row("close16.insn", "a connection each, 16 at a time: instructions/request", Instructions, AtMost(15_000.0)),
    row("hello1.rate", "hello, 1 connection: requests/s", PerSecond, None),
    row("hello16.rate", "hello, 16 connections: requests/s", PerSecond, None),
    row("hello64.rate", "hello, 64 connections: requests/s", PerSecond, TimesLinux(3.0)),
    row("page16.rate", "600-byte page, 16 connections: requests/s", PerSecond, None),
    row("100k16.rate", "100 KiB, 16 connections: requests/s", PerSecond, None),
    row("10m1.rate", "10 MiB, 1 connection: requests/s", PerSecond, None),
    row("close16.rate", "a connection each, 16 at a time: requests/s", PerSecond, None),
    row("idle10k.accepted", "idle connections accepted, 256 MiB", Count, Exactly(10_000.0)),
    row("idle10k.without", "hello64, 256 MiB, no other connections: instructions/request", Instructions, None),
    row(
        "idle10k.insn",
        "hello64, 256 MiB, beside 10,000 idle: instructions/request",
        Instructions,
        TimesCase(1.15, "idle10k.without"),
    ),
    row("boot.microvm.insn", "start to first answer, microvm: million instructions", Millions, AtMost(5.0)),
    row("boot.microvm.ms", "start to first answer, microvm: ms", Milliseconds, None),
    row(
        "boot.microvm-no-acpi.insn",
        "start to first answer, microvm,acpi=off: million instructions",
        Millions,
        AtMost(5.0),
    ),
    row("boot.microvm-no-acpi.ms", "start to first answer, microvm,acpi=off: ms", Milliseconds, None),
    row("boot.q35.insn", "start to first answer, q35: million instructions", Millions, AtMost(12.0)),
    row("boot.q35.ms", "start to first answer, q35: ms", Milliseconds, None),
    row("idle.insn", "idle: instructions/s", Instructions, AtMost(5_000.0)),
    row("size.hello", "stripped ELF, hello: KB", Kilobytes, AtMost(100.0)),
    row("size.static-site", "stripped ELF, static-site: KB", Kilobytes, None),
    row("size.static-site.bare", "the same without its files: KB", Kilobytes, AtMost(300.0)),
    row("memory.hello", "smallest memory, hello: MiB", Mebibytes, AtMost(3.0)),
    row("memory.static-site", "smallest memory, static-site: MiB", Mebibytes, AtMost(6.0)),
    row("mixed.answers", "mixed load: right answers", Count, None),
    row("mixed.wrong", "mixed load: wrong answers", Count, Exactly(0.0)),
    row("mixed.stalls", "mixed load: stalls", Count, Exactly(0.0)),
    row("mixed.slowest", "mixed load: slowest probe, ms", Milliseconds, None),
    row("mixed.before", "mixed load: heap in use before, KB", Kilobytes, None),
    row("mixed.after", "mixed load: heap in use after, KB", Kilobytes, TimesCase(1.0, "mixed.before")),
];
