//! CRC-32C (Castagnoli), the checksum of everything a store writes.

/// The reflected polynomial (RFC 3720, appendix B.4).
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Row `n` takes a byte that `n` others follow: eight bytes at once instead of one.
static TABLES: [[u32; 256]; 8] = tables();

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
    let mut row = 1;
    while row < 8 {
        let mut byte = 0;
        while byte < 256 {
            let sum = tables[row - 1][byte];
            tables[row][byte] = (sum >> 8) ^ tables[0][(sum & 0xff) as usize];
            byte += 1;
        }
        row += 1;
    }
    tables
}

/// The checksum of `bytes` after others whose checksum is `seed`; 0 at the start.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let mut sum = !seed;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mixed = u64::from_le_bytes(*word) ^ u64::from(sum);
        sum = (0..8).fold(0, |sum, place| sum ^ TABLES[7 - place][(mixed >> (8 * place)) as usize & 0xff]);
    }
    for byte in rest {
        sum = (sum >> 8) ^ TABLES[0][((sum ^ u32::from(*byte)) & 0xff) as usize];
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    /// The examples of RFC 3720, appendix B.4.
    #[test]
    fn known_sums() {
        let rising: [u8; 32] = core::array::from_fn(|place| place as u8);
        for (bytes, sum) in [
            (&b""[..], 0),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&rising, 0x46dd_794e),
        ] {
            assert_eq!(crc32c(0, bytes), sum, "{bytes:?}");
            let (start, end) = bytes.split_at(bytes.len() / 3);
            assert_eq!(crc32c(crc32c(0, start), end), sum, "{bytes:?} in two parts");
        }
    }
}
