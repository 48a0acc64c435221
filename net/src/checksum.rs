//! The Internet checksum (RFC 1071), eight bytes at a time.
//!
//! Sums are kept in the order of memory read as little-endian words: ones' complement addition does not care
//! (RFC 1071, section 2 B), so nothing is swapped until the end, and there `to_le_bytes` puts it back.

/// A running sum. Start from [`Sum::default`].
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds `bytes`; only the last piece of a packet may have an odd length.
    #[inline]
    pub(crate) fn add(mut self, bytes: &[u8]) -> Sum {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self = self.add_word(u64::from_le_bytes(word.try_into().expect("chunks of eight bytes")));
        }
        let rest = words.remainder();
        // Headers end in four bytes, data anywhere.
        let (four, rest) = match rest.split_first_chunk::<4>() {
            Some((four, rest)) => (u64::from(u32::from_le_bytes(*four)), rest),
            None => (0, rest),
        };
        let last = match *rest {
            [] => 0,
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_le_bytes([a, b])),
            [a, b, c, ..] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        };
        self.add_word(four + last)
    }

    /// Of an IP header without options.
    #[inline(always)]
    pub(crate) fn of_header(header: &[u8; 20]) -> Sum {
        let [a @ .., _, _, _, _, _, _, _, _, _, _, _, _] = header;
        let [_, _, _, _, _, _, _, _, b @ .., _, _, _, _] = header;
        let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, c @ ..] = header;
        Sum(u64::from_le_bytes(*a)).add_word(u64::from_le_bytes(*b)).add_word(u32::from_le_bytes(*c).into())
    }

    #[inline(always)]
    fn add_word(self, word: u64) -> Sum {
        let (sum, carry) = self.0.overflowing_add(word);
        // After a carry the sum is below its maximum, so this cannot overflow again.
        Sum(sum.wrapping_add(carry.into()))
    }

    /// The sum in 16 bits, as it goes into a packet before it is complemented.
    #[inline]
    fn fold(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        for _ in 0..3 {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    /// The bytes of the sum, not complemented: what a device wants to find in the field it shall complete.
    pub(crate) fn partial(self) -> [u8; 2] {
        self.fold().to_le_bytes()
    }

    /// The bytes of a finished checksum.
    pub(crate) fn finish(self) -> [u8; 2] {
        (!self.fold()).to_le_bytes()
    }

    /// Adds the protocol's field of a pseudo header.
    #[inline]
    pub(crate) fn add_protocol(self, protocol: u8) -> Sum {
        self.add_word(u64::from(protocol) << 8)
    }

    /// Adds a length of 16 bits.
    #[inline]
    pub(crate) fn add_len(self, len: u16) -> Sum {
        self.add_word(u64::from(len.swap_bytes()))
    }

    /// Whether data summed with its checksum is intact.
    pub(crate) fn is_intact(self) -> bool {
        self.fold() == 0xffff
    }
}

/// The sum of the pseudo header (RFC 9293, section 3.1) of an IPv4 packet whose transport part has `len` bytes.
#[inline]
pub(crate) fn pseudo_header4(ip_header: &[u8], len: u16) -> Sum {
    let addresses = u64::from_le_bytes(ip_header[12..20].try_into().expect("eight bytes"));
    Sum(addresses).add_protocol(ip_header[9]).add_len(len)
}

/// The same for IPv6 (RFC 8200, section 8.1); the protocol is that of the transport part, whatever headers are between.
#[inline]
pub(crate) fn pseudo_header6(ip_header: &[u8], protocol: u8, len: u16) -> Sum {
    Sum::default().add(&ip_header[8..40]).add_protocol(protocol).add_len(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: [u8; 2]) {
        assert_eq!(Sum::default().add(bytes).finish(), expected);
    }

    /// RFC 1071, section 3: the sum is ddf2.
    #[test]
    fn the_example_of_the_rfc() {
        check(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], [!0xdd, !0xf2]);
    }

    #[test]
    fn nothing() {
        check(&[], [0xff, 0xff]);
    }

    #[test]
    fn an_odd_length() {
        check(&[0x12, 0x34, 0x56], [!0x68, !0x34]);
    }

    #[test]
    fn carries_go_round() {
        check(&[0xff; 1460], [0, 0]);
    }

    /// Against the definition, two bytes at a time, for every length and alignment of the end.
    #[test]
    fn every_length() {
        let bytes: std::vec::Vec<u8> = (0..100u32).map(|n| (n * 37 + 11) as u8).collect();
        for len in 0..bytes.len() {
            let naive: u32 = bytes[..len]
                .chunks(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
                .sum();
            let naive = (naive >> 16) + (naive & 0xffff);
            check(&bytes[..len], (!(naive as u16)).to_be_bytes());
        }
    }
}
