//! What is done to a disk: the image, the program that does the same in the Linux guest, and the tool that measures both
//! share this file.

use core::fmt;

/// Bytes of one read of a file from start to end.
pub const READ_LEN: usize = 128 * 1024;
/// Bytes of one random read, and of one append.
pub const BLOCK_LEN: usize = 4096;
/// Random reads that are in flight at a time.
pub const DEPTH: usize = 16;
/// Bytes of a key that is put: as long as an identifier.
pub const KEY_LEN: usize = 16;
/// Bytes of a value that is put.
pub const VALUE_LEN: usize = 100;
/// Different keys. All are there before anything is measured, so each put replaces a value.
pub const KEYS: u64 = 10_000;
/// Writers of a busy store.
pub const WRITERS: usize = 64;
/// The file that is read from start to end.
pub const LARGE_FILE: &str = "large.bin";

/// Written before the work is prepared for the last time; then nothing is executed for [`PAUSE_MILLIS`].
pub const BEGIN: &str = "disk: begin";
/// Written after the pause: the work follows.
pub const GO: &str = "disk: go";
/// Written right after the work; then comes the same pause again.
pub const END: &str = "disk: end";
/// Begins the line with what was done, see [`Done`].
pub const DONE: &str = "disk: done";
/// Begins the line that says why nothing can be measured.
pub const FAILED: &str = "disk: failed";
/// In the pauses the tool reads the counter of instructions. It notices when it came too late.
pub const PAUSE_MILLIS: u64 = 400;

/// A file of the image with many.
pub const SOME_FILE: &str = "57/42.bin";

/// What was done, as both sides tell it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Done {
    /// Reads, puts or appends.
    pub operations: u64,
    /// Bytes that were read or written.
    pub bytes: u64,
    /// The checksum of what was read.
    pub sum: Sum,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operations={} bytes={} sum={:016x}", self.operations, self.bytes, self.sum.0)
    }
}

/// Where the random reads of a disk are, one after the other.
pub struct Offsets {
    numbers: Numbers,
    blocks: u64,
    left: u64,
}

impl Offsets {
    /// So many on a disk of this length.
    pub fn new(disk_len: u64, count: u64) -> Offsets {
        Offsets { numbers: Numbers::new(1), blocks: disk_len / BLOCK_LEN as u64, left: count }
    }
}

impl Iterator for Offsets {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        Some(self.numbers.below(self.blocks) * BLOCK_LEN as u64)
    }
}

/// The same "random" numbers on both sides (xorshift, Marsaglia 2003).
#[derive(Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Different for each `seed`.
    pub fn new(seed: u64) -> Numbers {
        Numbers(0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// What a writer puts, one after the other. Writers have keys of their own, so that it is known which value stays.
#[derive(Clone)]
pub struct Puts {
    numbers: Numbers,
    writer: u64,
    writers: u64,
    made: u64,
}

impl Puts {
    /// Those of the writer with this number, of so many.
    pub fn new(writer: u64, writers: u64) -> Puts {
        Puts { numbers: Numbers::new(writer), writer, writers, made: 0 }
    }
}

impl Iterator for Puts {
    type Item = ([u8; KEY_LEN], [u8; VALUE_LEN]);

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.numbers.below(KEYS / self.writers) * self.writers + self.writer;
        self.made += 1;
        Some((key(number), value(self.made * self.writers + self.writer)))
    }
}

/// A key, from its number.
pub fn key(number: u64) -> [u8; KEY_LEN] {
    let mut key = *b"key-000000000000";
    let mut left = number;
    for digit in key.iter_mut().skip(4).rev() {
        *digit += (left % 10) as u8;
        left /= 10;
    }
    key
}

/// A value that tells which put wrote it.
pub fn value(number: u64) -> [u8; VALUE_LEN] {
    let mut value = [0; VALUE_LEN];
    for (index, byte) in value.iter_mut().enumerate() {
        *byte = (number >> (index % 8 * 8)) as u8 ^ index as u8;
    }
    value
}

/// The block that is appended as the one with this number.
pub fn block(number: u64) -> [u8; BLOCK_LEN] {
    let mut block = [0x5a; BLOCK_LEN];
    block[..8].copy_from_slice(&number.to_le_bytes());
    block
}

/// A checksum of what was read. It takes a byte of each block of 4 KiB, so that neither side is measured by its
/// arithmetic. Reads may come in any order and pieces, but not from another place.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sum(pub u64);

impl Sum {
    /// Takes what stands at `offset`.
    pub fn take(&mut self, offset: u64, bytes: &[u8]) {
        let mut block = offset.div_ceil(BLOCK_LEN as u64);
        while let Some(byte) = bytes.get((block * BLOCK_LEN as u64 - offset) as usize) {
            // An odd factor for each place.
            let factor = block.wrapping_mul(0x9e37_79b9_7f4a_7c15) << 1 | 1;
            self.0 = self.0.wrapping_add((u64::from(*byte) + 1).wrapping_mul(factor));
            block += 1;
        }
    }

    /// What both have taken.
    pub fn and(self, other: Sum) -> Sum {
        Sum(self.0.wrapping_add(other.0))
    }
}
