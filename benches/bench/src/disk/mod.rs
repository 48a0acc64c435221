//! What is done to a disk on both sides, and what it takes. The guest's console tells where the work begins and ends.

pub mod images;
// The image and the program in the Linux guest do what the tool counts.
#[allow(dead_code, reason = "some of it is for the guests alone")]
#[path = "../../../bench-disk/src/work.rs"]
pub mod work;

mod console;

use std::time::{Duration, Instant};

use self::console::Console;
use self::images::Image;
use crate::vm::Vm;
use crate::{Result, error};

/// One kind of work.
pub struct DiskCase {
    /// Its name on the command line, for our image too, and the stem of its rows' ids.
    pub id: &'static str,
    /// What is on the disk.
    pub image: Image,
    /// How often it is done; once where it is done as a whole.
    pub count: u64,
    /// The ways in which the program in the Linux guest can do it. The fastest counts.
    pub linux: &'static [&'static str],
    /// What the values are counted for.
    pub per: Per,
}

/// What of the work counts as one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// A read, a put, an append.
    Operation,
    /// A million bytes.
    Megabyte,
    /// All of it: its millions of instructions and its milliseconds are of interest.
    Whole,
}

/// All of them.
pub const CASES: &[DiskCase] = &[
    DiskCase { id: "seq-read", image: Image::Large, count: 1, linux: &["seq-read"], per: Per::Megabyte },
    DiskCase {
        id: "random-read",
        image: Image::Large,
        count: 50_000,
        linux: &["random-read", "random-read-threads"],
        per: Per::Operation,
    },
    DiskCase { id: "kv-1", image: Image::Store, count: 4_000, linux: &["kv-1"], per: Per::Operation },
    DiskCase { id: "kv-64", image: Image::Store, count: 6_400, linux: &["kv-64-batch", "kv-64"], per: Per::Operation },
    DiskCase { id: "append", image: Image::Volume, count: 2_000, linux: &["append"], per: Per::Operation },
    DiskCase { id: "mount", image: Image::Many, count: 1, linux: &["mount"], per: Per::Whole },
];

/// The case with this name.
pub fn case(id: &str) -> Option<&'static DiskCase> {
    CASES.iter().find(|case| case.id == id)
}

/// What a guest did, and what it took.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Reads, puts or appends.
    pub operations: u64,
    /// Bytes that were read or written.
    pub bytes: u64,
    /// The checksum of what was read.
    pub sum: u64,
    /// By the guest's clock.
    pub seconds: f64,
    /// By the host's clock.
    pub host_seconds: f64,
    /// Guest instructions.
    pub instructions: u64,
}

impl Outcome {
    /// How many of what counts.
    fn amount(&self, per: Per) -> f64 {
        match per {
            Per::Operation => self.operations as f64,
            Per::Megabyte => self.bytes as f64 / 1e6,
            Per::Whole => 1.0,
        }
    }

    /// Instructions for one of what counts.
    pub fn instructions_per(&self, per: Per) -> f64 {
        self.instructions as f64 / self.amount(per)
    }

    /// So many of what counts a second.
    pub fn rate_of(&self, per: Per) -> f64 {
        self.amount(per) / self.seconds
    }

    /// Whether the guest's clock and the host's agree, but for how often the console is looked at.
    pub fn clocks_agree(&self) -> bool {
        (self.seconds - self.host_seconds).abs() < 0.05 + 0.05 * self.host_seconds
    }
}

/// How long Linux may take to boot and to prepare its work.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long the work may take.
const WORK_LIMIT: Duration = Duration::from_secs(600);

/// Waits for a guest that has just been started to do its work.
pub fn run(vm: &mut Vm) -> Result<Outcome> {
    let console = &mut Console::new(vm);
    let before = console.count_between(work::BEGIN, work::GO, START_LIMIT)?;
    console.line_with(work::GO, WORK_LIMIT)?;
    let start = Instant::now();
    let after = console.count_between(work::END, work::DONE, WORK_LIMIT)?;
    let told = console.line_with(work::DONE, START_LIMIT)?;
    let outcome = Outcome {
        operations: number(&told, "operations=", 10)?,
        bytes: number(&told, "bytes=", 10)?,
        sum: number(&told, "sum=", 16)?,
        seconds: number(&told, "micros=", 10)? as f64 / 1e6,
        host_seconds: (after.at - start).as_secs_f64(),
        instructions: after.instructions - before.instructions,
    };
    Ok(outcome)
}

/// The number behind `name` in the line that tells what was done.
fn number(line: &str, name: &str, radix: u32) -> Result<u64> {
    let digits = line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name));
    let number = digits.and_then(|digits| u64::from_str_radix(digits, radix).ok());
    number.ok_or_else(|| error(format!("the guest did not tell {name}: {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, name: &str, radix: u32, want: Option<u64>) {
        assert_eq!(number(line, name, radix).ok(), want);
    }

    const LINE: &str = "   2.000001 info  disk: done operations=3 bytes=12288 sum=00000000000000ff micros=17";

    #[test]
    fn a_decimal_number() {
        check(LINE, "bytes=", 10, Some(12_288));
    }

    #[test]
    fn a_hexadecimal_number() {
        check(LINE, "sum=", 16, Some(255));
    }

    #[test]
    fn nothing_told() {
        check("disk: done", "bytes=", 10, None);
    }

    #[test]
    fn guests_understand_what_the_tool_makes_of_their_work() {
        let done = work::Done { operations: 2, bytes: 8192, sum: work::Sum(0xfeed) };
        let line = format!("{} {done} micros=5", work::DONE);
        assert_eq!(number(&line, "operations=", 10).unwrap(), 2);
        assert_eq!(number(&line, "sum=", 16).unwrap(), 0xfeed);
        assert_eq!(number(&line, "micros=", 10).unwrap(), 5);
    }

    fn sum(reads: &[(usize, usize)]) -> work::Sum {
        let content: Vec<u8> = (0..20_000_u32).map(|index| ((index * 7) >> 3) as u8).collect();
        let mut sum = work::Sum::default();
        reads.iter().for_each(|(start, end)| sum.take(*start as u64, &content[*start..*end]));
        sum
    }

    #[test]
    fn the_order_and_the_pieces_of_reads_do_not_matter() {
        let whole = sum(&[(0, 20_000)]);
        assert_eq!(sum(&[(8192, 20_000), (0, 8192)]), whole);
        assert_eq!(sum(&[(0, 1), (1, 4096), (4096, 4097), (4097, 13_000), (13_000, 20_000)]), whole);
    }

    #[test]
    fn a_read_that_is_missing_or_of_another_place_is_noticed() {
        let whole = sum(&[(0, 20_000)]);
        assert_ne!(sum(&[(0, 12_288), (16_384, 20_000)]), whole);
        let mut elsewhere = work::Sum::default();
        elsewhere.take(4096, &[7; 100]);
        let mut there = work::Sum::default();
        there.take(8192, &[7; 100]);
        assert_ne!(elsewhere, there);
    }

    #[test]
    fn writers_share_no_key() {
        let keys = |writer| work::Puts::new(writer, 64).take(1_000).map(|(key, _)| key);
        let first: std::collections::BTreeSet<_> = keys(0).collect();
        assert!(keys(1).all(|key| !first.contains(&key)));
    }
}
