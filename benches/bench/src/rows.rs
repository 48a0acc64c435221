//! The table's rows: what is measured, and what is to be reached.

/// Rows that belong together, under a heading.
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// The rows, in order.
    pub cases: &'static [Case],
}

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
    /// Requests, handshakes, reads, puts or megabytes (of a million bytes) a second: the only unit of which more is better.
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
    /// At most this part of what Linux takes in the same run.
    PartOfLinux(f64),
    /// At most this many times our own value of another case.
    TimesCase(f64, &'static str),
}

const fn row(id: &'static str, title: &'static str, unit: Unit, target: Target) -> Case {
    Case { id, title, unit, target }
}

use Target::{AtMost, Exactly, None, PartOfLinux, TimesCase, TimesLinux};
use Unit::{Count, Instructions, Kilobytes, Mebibytes, Millions, Milliseconds, PerSecond};

/// All rows, in the order of the table.
pub const SECTIONS: &[Section] = &[
    Section { title: "Requests", cases: REQUESTS },
    Section { title: "Upload, one connection", cases: UPLOADS },
    Section { title: "TLS 1.3, ECDSA P-256, X25519", cases: TLS },
    Section { title: "100,000 SYNs from random addresses in 10 s, beside an honest client", cases: FLOOD_SYN },
    Section { title: "100,000 SYNs from four addresses in 10 s, beside an honest client", cases: FLOOD_FEW },
    Section { title: "100,000 ACKs from random addresses in 10 s, beside an honest client", cases: FLOOD_ACK },
    Section { title: "100,000 resets in 10 s, in the name of the honest client's kept connection", cases: FLOOD_RST },
    Section { title: "Disk, virtio-blk; Linux: EROFS, ext4, SQLite (WAL, synchronous=FULL)", cases: DISK },
    Section { title: "Many connections", cases: CONNECTIONS },
    Section { title: "Protections: hello, 64 connections", cases: PROTECTIONS },
    Section { title: "Boot, idle, size, memory", cases: MACHINE },
    Section { title: "Mixed load", cases: MIXED },
];

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Case> {
    SECTIONS.iter().flat_map(|section| section.cases)
}

const REQUESTS: &[Case] = &[
    row("hello1.insn", "hello, 1 connection: instructions/request", Instructions, AtMost(6_000.0)),
    row("hello16.insn", "hello, 16 connections: instructions/request", Instructions, None),
    row("hello64.insn", "hello, 64 connections: instructions/request", Instructions, AtMost(3_000.0)),
    row("page16.insn", "600-byte page, 16 connections: instructions/request", Instructions, None),
    row("100k16.insn", "100 KiB, 16 connections: instructions/request", Instructions, AtMost(60_000.0)),
    row("10m1.insn", "10 MiB, 1 connection: instructions/request", Instructions, AtMost(7e6)),
    row("close16.insn", "a connection each, 16 at a time: instructions/request", Instructions, AtMost(10_000.0)),
    row("hello1.rate", "hello, 1 connection: requests/s", PerSecond, None),
    row("hello16.rate", "hello, 16 connections: requests/s", PerSecond, None),
    row("hello64.rate", "hello, 64 connections: requests/s", PerSecond, TimesLinux(4.0)),
    row("page16.rate", "600-byte page, 16 connections: requests/s", PerSecond, None),
    row("100k16.rate", "100 KiB, 16 connections: requests/s", PerSecond, TimesLinux(2.0)),
    row("10m1.rate", "10 MiB, 1 connection: MB/s", PerSecond, TimesLinux(1.0)),
    row("close16.rate", "a connection each, 16 at a time: requests/s", PerSecond, None),
];

const UPLOADS: &[Case] = &[
    row("upload.insn", "100 MB to the guest: instructions/MB", Instructions, None),
    row("upload.rate", "100 MB to the guest: MB/s", PerSecond, TimesLinux(1.0)),
];

const TLS: &[Case] = &[
    row("tls-full.insn", "connection, handshake, hello: instructions", Instructions, None),
    row("tls-resumed.insn", "connection, resumed handshake, hello: instructions", Instructions, None),
    row("tls-aes.insn", "10 MiB, AES-128-GCM: instructions/MB", Instructions, None),
    row("tls-chacha.insn", "10 MiB, ChaCha20-Poly1305: instructions/MB", Instructions, None),
    row("tls-full.rate", "connection, handshake, hello: times/s", PerSecond, TimesLinux(1.0)),
    row("tls-resumed.rate", "connection, resumed handshake, hello: times/s", PerSecond, None),
    row("tls-aes.rate", "10 MiB, AES-128-GCM: MB/s", PerSecond, TimesLinux(1.0)),
    row("tls-chacha.rate", "10 MiB, ChaCha20-Poly1305: MB/s", PerSecond, TimesLinux(1.0)),
];

/// The rows of a flood; `p50` and `p99` are the honest client's, of all its requests.
macro_rules! flood_rows {
    ($id:literal) => {
        &[
            row(concat!($id, ".sent"), "packets sent", Count, None),
            row(concat!($id, ".insn"), "instructions/packet", Instructions, None),
            row(concat!($id, ".failures"), "honest requests that failed", Count, Exactly(0.0)),
            row(concat!($id, ".keep.p50.quiet"), "kept connection, p50 without: ms", Milliseconds, None),
            row(concat!($id, ".keep.p50"), "kept connection, p50 under it: ms", Milliseconds, None),
            row(concat!($id, ".keep.p99.quiet"), "kept connection, p99 without: ms", Milliseconds, None),
            row(
                concat!($id, ".keep.p99"),
                "kept connection, p99 under it: ms",
                Milliseconds,
                TimesCase(3.0, concat!($id, ".keep.p99.quiet")),
            ),
            row(concat!($id, ".new.p50.quiet"), "a connection each, p50 without: ms", Milliseconds, None),
            row(concat!($id, ".new.p50"), "a connection each, p50 under it: ms", Milliseconds, None),
            row(concat!($id, ".new.p99.quiet"), "a connection each, p99 without: ms", Milliseconds, None),
            row(
                concat!($id, ".new.p99"),
                "a connection each, p99 under it: ms",
                Milliseconds,
                TimesCase(3.0, concat!($id, ".new.p99.quiet")),
            ),
            row(concat!($id, ".first"), "heap in use after boot: KB", Kilobytes, None),
            row(concat!($id, ".before"), "heap in use after a first flood: KB", Kilobytes, None),
            row(
                concat!($id, ".after"),
                "heap in use after the flood: KB",
                Kilobytes,
                TimesCase(1.0, concat!($id, ".before")),
            ),
        ]
    };
}

const FLOOD_SYN: &[Case] = flood_rows!("flood-syn");
const FLOOD_FEW: &[Case] = flood_rows!("flood-few");
const FLOOD_ACK: &[Case] = flood_rows!("flood-ack");
const FLOOD_RST: &[Case] = flood_rows!("flood-rst");

const DISK: &[Case] = &[
    row("seq-read.insn", "256 MB file from EROFS, cold: instructions/MB", Instructions, PartOfLinux(0.5)),
    row("seq-read.rate", "256 MB file from EROFS, cold: MB/s", PerSecond, TimesLinux(1.0)),
    row("random-read.insn", "4 KiB at random, 16 in flight: instructions/read", Instructions, None),
    row("random-read.rate", "4 KiB at random, 16 in flight: reads/s", PerSecond, TimesLinux(1.5)),
    row("kv-1.insn", "durable puts of 100 bytes, 1 writer: instructions/put", Instructions, None),
    row("kv-1.rate", "durable puts of 100 bytes, 1 writer: puts/s", PerSecond, TimesLinux(1.0)),
    row("kv-64.insn", "durable puts of 100 bytes, 64 writers: instructions/put", Instructions, None),
    row("kv-64.rate", "durable puts of 100 bytes, 64 writers: puts/s", PerSecond, TimesLinux(1.0)),
    row("append.insn", "4 KiB appends, each synchronous: instructions/append", Instructions, None),
    row("append.rate", "4 KiB appends, each synchronous: appends/s", PerSecond, None),
    row("mount.insn", "mount of 10,000 files, 1 GB, and one read: million instructions", Millions, AtMost(5.0)),
    row("mount.ms", "mount of 10,000 files, 1 GB, and one read: ms", Milliseconds, None),
    row("disk-site.embedded", "600 bytes, 64 connections, embedded: instructions/request", Instructions, None),
    row(
        "disk-site.insn",
        "600 bytes, 64 connections, site-from-disk: instructions/request",
        Instructions,
        TimesCase(1.2, "disk-site.embedded"),
    ),
];

const CONNECTIONS: &[Case] = &[
    row("idle10k.accepted", "idle connections accepted, 256 MiB", Count, Exactly(10_000.0)),
    row("idle10k.without", "hello64, 256 MiB, no other connections: instructions/request", Instructions, None),
    row(
        "idle10k.insn",
        "hello64, 256 MiB, beside 10,000 idle: instructions/request",
        Instructions,
        TimesCase(1.15, "idle10k.without"),
    ),
];

const PROTECTIONS: &[Case] = &[
    row("protections.shipped", "as shipped: instructions/request", Instructions, TimesCase(1.05, "protections.none")),
    row("protections.on", "an image that can turn them off, all on", Instructions, None),
    row("protections.no-execute", "the same, data may run", Instructions, None),
    row("protections.read-only", "the same, everything may be written", Instructions, None),
    row("protections.null-page", "the same, with a null page", Instructions, None),
    row("protections.stack-guard", "the same, without guards of stacks", Instructions, None),
    row("protections.layout", "the same, one layout for all boots", Instructions, None),
    row("protections.heap", "the same, without the heap's checks", Instructions, None),
    row("protections.cpu", "the same, without SMEP, SMAP, UMIP", Instructions, None),
    row("protections.watchdog", "the same, without the watchdog", Instructions, None),
    row("protections.overflow-checks", "the same, all on, arithmetic that wraps", Instructions, None),
    row("protections.none", "none of all these", Instructions, None),
];

const MACHINE: &[Case] = &[
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
];

const MIXED: &[Case] = &[
    row("mixed.answers", "right answers", Count, None),
    row("mixed.wrong", "wrong answers", Count, Exactly(0.0)),
    row("mixed.stalls", "stalls", Count, Exactly(0.0)),
    row("mixed.slowest", "slowest probe, ms", Milliseconds, None),
    row("mixed.first", "heap in use after boot: KB", Kilobytes, None),
    row("mixed.before", "heap in use after a first minute: KB", Kilobytes, None),
    row("mixed.after", "heap in use after the load: KB", Kilobytes, TimesCase(1.0, "mixed.before")),
];
