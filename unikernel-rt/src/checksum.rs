//! Checksums against damage, not against attackers.

use crate::platform;

/// The polynomial of CRC32C (Castagnoli; RFC 3720, 12.1), bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[n][byte]`: what a byte does to the sum when `n` more follow.
static TABLES: [[u32; 256]; 8] = tables();

/// The CRC32C of `bytes`, or of what came before and `bytes` when `before` is the sum of the former; 0 at the start. On
/// the machine one instruction takes eight bytes, where the CPU has SSE4.2.
///
/// ```
/// use unikernel_rt::checksum::crc32c;
/// assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
/// assert_eq!(crc32c(crc32c(0, b"12345"), b"6789"), 0xe306_9283);
/// ```
pub fn crc32c(before: u32, bytes: &[u8]) -> u32 {
    !platform::crc32c(!before, bytes).unwrap_or_else(|| by_tables(!before, bytes))
}

/// Eight bytes at a time (Kounavis and Berry 2005, "slicing-by-8").
fn by_tables(mut sum: u32, bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut mixed = [0; 8];
        mixed.copy_from_slice(word);
        mixed.iter_mut().zip(sum.to_le_bytes()).for_each(|(byte, old)| *byte ^= old);
        sum = (0..8).fold(0, |sum, place| sum ^ TABLES[7 - place][usize::from(mixed[place])]);
    }
    words.remainder().iter().fold(sum, |sum, byte| (sum >> 8) ^ TABLES[0][usize::from(sum as u8 ^ byte)])
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut more = 1;
    while more < 8 {
        let mut byte = 0;
        while byte < 256 {
            let sum: u32 = tables[more - 1][byte];
            tables[more][byte] = (sum >> 8) ^ tables[0][(sum & 0xff) as usize];
            byte += 1;
        }
        more += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// RFC 3720, B.4.
    #[test]
    fn vectors() {
        let up: Vec<u8> = (0..32).collect();
        let down: Vec<u8> = (0..32).rev().collect();
        for (bytes, expected) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&up, 0x46dd_794e),
            (&down, 0x113f_db5c),
            (&[], 0),
        ] {
            assert_eq!(crc32c(0, bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn parts_of_every_length() {
        let bytes: Vec<u8> = (0..100_u8).map(|byte| byte.wrapping_mul(37)).collect();
        for middle in 0..bytes.len() {
            assert_eq!(crc32c(crc32c(0, &bytes[..middle]), &bytes[middle..]), crc32c(0, &bytes), "{middle}");
        }
    }
}
