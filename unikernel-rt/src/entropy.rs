//! Random bytes: a ChaCha20 generator, seeded by the platform and stirred again while the machine runs.

use crate::platform::{self, with_core};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

/// Bytes drawn before the generator is seeded again.
const RESEED_AFTER_BYTES: usize = 1 << 20;

/// The generator of one core.
pub(crate) struct Generator {
    rng: ChaCha20Rng,
    drawn_bytes: usize,
}

impl Generator {
    pub(crate) fn new(seed: [u8; 32]) -> Generator {
        Generator { rng: ChaCha20Rng::from_seed(seed), drawn_bytes: 0 }
    }

    // Not inlined: the generator's block function is large, and one copy serves.
    #[inline(never)]
    fn fill(&mut self, bytes: &mut [u8]) {
        self.drawn_bytes += bytes.len();
        if self.drawn_bytes > RESEED_AFTER_BYTES {
            self.stir();
        }
        self.rng.fill_bytes(bytes);
    }

    /// A new seed from the old generator and the platform: no weaker than the better of the two.
    fn stir(&mut self) {
        let mut seed = platform::seed();
        let mut old = [0; 32];
        self.drawn_bytes = 0;
        self.fill(&mut old);
        for (byte, old) in seed.iter_mut().zip(old) {
            *byte ^= old;
        }
        *self = Generator::new(seed);
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
