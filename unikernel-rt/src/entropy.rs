//! Random bytes: ChaCha20 with fast key erasure, seeded by the platform and stirred again while the machine runs.
//!
//! Every batch of output begins with the key of the next batch, and what has been handed out is erased. So whoever
//! reads the machine's memory later learns nothing about numbers drawn earlier
//! (Bernstein, <https://blog.cr.yp.to/20170723-random.html>).

mod chacha;

use crate::platform::{self, with_core};
use chacha::{BLOCK_LEN, KEY_LEN};

/// Bytes drawn before the generator is seeded again.
const RESEED_AFTER_BYTES: usize = 1 << 20;

/// Output made at once: small, because the whole machine has few consumers, but more than a key.
const BATCH_LEN: usize = 4 * BLOCK_LEN;

/// The generator of one core.
pub(crate) struct Generator {
    key: [u8; KEY_LEN],
    batch: [u8; BATCH_LEN],
    /// The bytes of `batch` before this are gone.
    used: usize,
    drawn_bytes: usize,
}

impl Generator {
    pub(crate) fn new(seed: [u8; KEY_LEN]) -> Generator {
        Generator { key: seed, batch: [0; BATCH_LEN], used: BATCH_LEN, drawn_bytes: 0 }
    }

    fn fill(&mut self, mut bytes: &mut [u8]) {
        self.drawn_bytes += bytes.len();
        if self.drawn_bytes > RESEED_AFTER_BYTES {
            self.stir();
        }
        while !bytes.is_empty() {
            if self.used == BATCH_LEN {
                self.refill();
            }
            let batch = &mut self.batch[self.used..];
            let len = batch.len().min(bytes.len());
            let (now, later) = bytes.split_at_mut(len);
            now.copy_from_slice(&batch[..len]);
            batch[..len].fill(0);
            self.used += len;
            bytes = later;
        }
    }

    fn refill(&mut self) {
        for (counter, block) in self.batch.chunks_exact_mut(BLOCK_LEN).enumerate() {
            // The key serves one batch only, so a fixed nonce repeats nothing.
            block.copy_from_slice(&chacha::block(&self.key, counter as u32, &[0; 12]));
        }
        self.key.copy_from_slice(&self.batch[..KEY_LEN]);
        self.batch[..KEY_LEN].fill(0);
        self.used = KEY_LEN;
    }

    /// A new key from the old one and the platform's sources: no weaker than the better of the two.
    fn stir(&mut self) {
        self.refill();
        for (key, fresh) in self.key.iter_mut().zip(platform::seed()) {
            *key ^= fresh;
        }
        self.used = BATCH_LEN;
        self.drawn_bytes = 0;
    }
}

/// Fills `bytes` with random bytes that nobody can predict.
pub fn fill(bytes: &mut [u8]) {
    with_core(|core| core.entropy.borrow_mut().fill(bytes));
}

/// A random number.
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(generator: &mut Generator, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        generator.fill(&mut bytes);
        bytes
    }

    #[test]
    fn the_same_bytes_come_in_pieces_of_any_size() {
        let whole = draw(&mut Generator::new([7; 32]), 5000);
        for piece in [1, 31, 224, 256, 257, 999] {
            let mut generator = Generator::new([7; 32]);
            let pieces: Vec<u8> = (0..5000 / piece).flat_map(|_| draw(&mut generator, piece)).collect();
            assert_eq!(pieces, whole[..pieces.len()], "pieces of {piece}");
        }
    }

    #[test]
    fn what_was_handed_out_is_erased() {
        let mut generator = Generator::new([7; 32]);
        let bytes = draw(&mut generator, 100);
        assert!(generator.batch[..KEY_LEN + 100].iter().all(|byte| *byte == 0));
        assert!(
            !generator.batch.windows(8).any(|window| bytes.windows(8).any(|drawn| drawn == window && drawn != [0; 8]))
        );
        assert_ne!(generator.key, [7; 32], "the key of the drawn bytes is gone");
    }

    #[test]
    fn stirring_changes_what_follows() {
        let (mut stirred, mut plain) = (Generator::new([7; 32]), Generator::new([7; 32]));
        stirred.stir();
        plain.refill();
        plain.used = BATCH_LEN;
        assert_ne!(draw(&mut stirred, 64), draw(&mut plain, 64));
    }
}
