//! SipHash (Aumasson, Bernstein 2012): a hash with a key. Without the key its values cannot be foreseen.

/// SipHash-1-3 of whole words, for tables; the last word has the length of the data in its top byte.
#[inline]
pub(crate) fn siphash13(secret: [u64; 2], words: &[u64]) -> u64 {
    siphash::<1, 3>(secret, words)
}

/// SipHash-2-4 of whole words, for what strangers get to see parts of. All inputs under one secret have the same length.
pub(crate) fn siphash24(secret: [u64; 2], words: &[u64]) -> u64 {
    siphash::<2, 4>(secret, words)
}

#[inline]
fn siphash<const WORD: usize, const END: usize>(secret: [u64; 2], words: &[u64]) -> u64 {
    let mut v = [
        secret[0] ^ 0x736f_6d65_7073_6575,
        secret[1] ^ 0x646f_7261_6e64_6f6d,
        secret[0] ^ 0x6c79_6765_6e65_7261,
        secret[1] ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        v[3] ^= word;
        for _ in 0..WORD {
            round(&mut v);
        }
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..END {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `std`'s `SipHasher13` is private; `DefaultHasher` is it, with a key of zeros.
    #[test]
    fn the_fast_one_is_siphash_1_3() {
        use core::hash::Hasher;
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(&0x0102_0304_0506_0708u64.to_le_bytes());
        hasher.write(&0x090a_0b0cu32.to_le_bytes());
        assert_eq!(siphash13([0, 0], &[0x0102_0304_0506_0708, 12 << 56 | 0x090a_0b0c]), hasher.finish());
    }

    /// Appendix A of the paper: the key 00..0f, the message 00..0e.
    #[test]
    fn the_strong_one_is_siphash_2_4() {
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let words = [0x0706_0504_0302_0100, 15 << 56 | 0x000e_0d0c_0b0a_0908];
        assert_eq!(siphash24(secret, &words), 0xa129_ca61_49be_45e5);
    }
}
