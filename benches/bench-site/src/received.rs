//! What is told about a body that was sent: its length and a checksum. The image, the program that does the same in the
//! Linux guest, and the client that compares share this file.

/// The checksum takes one byte of so many: enough to notice a piece that is missing, doubled or in another's place,
/// and so few that neither side is measured by its arithmetic. Prime, so that no segment size is a multiple.
const STRIDE: usize = 251;

/// A body, as far as it has come.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Received {
    /// Bytes up to now.
    pub len: u64,
    sum: u64,
    /// Bytes to skip before the next one that counts.
    skip: usize,
}

impl Received {
    /// Takes the next piece.
    pub fn take(&mut self, piece: &[u8]) {
        let mut at = self.skip;
        while let Some(byte) = piece.get(at) {
            self.sum = self.sum.rotate_left(5) ^ u64::from(*byte);
            at += STRIDE;
        }
        self.skip = at - piece.len();
        self.len = self.len.wrapping_add(piece.len() as u64);
    }

    /// The checksum.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}
