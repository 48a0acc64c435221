//! Memory that a device may write to directly.

use crate::work::BLOCK_LEN;

/// Bytes that start at a multiple of a block's length, as `O_DIRECT` wants them.
pub struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// So many zeros.
    pub fn new(len: usize) -> Aligned {
        let bytes = vec![0; len + BLOCK_LEN];
        let start = bytes.as_ptr().align_offset(BLOCK_LEN);
        Aligned { bytes, start, len }
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}
