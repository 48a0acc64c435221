//! What the disks are filled with: every word tells its place, so that none can be mistaken for another.

/// The word at this place of the disk, a multiple of 8. The tests on the host know the same formula.
pub fn word(place: u64) -> u64 {
    (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

/// Fills the bytes that begin at `place`.
pub fn fill(place: u64, bytes: &mut [u8]) {
    for (index, word_bytes) in bytes.chunks_exact_mut(8).enumerate() {
        word_bytes.copy_from_slice(&word(place + 8 * index as u64).to_le_bytes());
    }
}

/// Whether the bytes that begin at `place` are those of the pattern.
pub fn is_right(place: u64, bytes: &[u8]) -> bool {
    let mut words = bytes.chunks_exact(8).enumerate();
    words.all(|(index, bytes)| bytes == word(place + 8 * index as u64).to_le_bytes())
}
