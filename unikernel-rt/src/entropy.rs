//! Random bytes: ChaCha20 with fast key erasure, seeded by the platform and stirred again while the machine runs.
//!
//! Every batch of output begins with the key of the next batch, and what has been handed out is erased. So whoever
//! reads the machine's memory later learns nothing about numbers drawn earlier
//! (Bernstein, <https://blog.cr.yp.to/20170723-random.html>).
//!
//! A machine that is started from a snapshot, perhaps for the second time, notices it where the hypervisor has a *VM
//! generation id*, and draws other numbers than its twin: see [`generation`].

mod chacha;

use crate::{
    platform::{self, with_core},
    time::{Duration, Instant},
};
use chacha::{BLOCK_LEN, KEY_LEN};
use zeroize::Zeroize;

/// Bytes drawn before the generator is seeded again.
const RESEED_AFTER_BYTES: usize = 1 << 20;
/// Time after which the next draw seeds it again: whoever has learnt the state knows what follows for no longer.
const RESEED_AFTER: Duration = Duration::from_secs(300);

/// Output made at once: small, because the whole machine has few consumers, but more than a key.
const BATCH_LEN: usize = 4 * BLOCK_LEN;

/// The generator of one core.
pub(crate) struct Generator {
    key: [u8; KEY_LEN],
    batch: [u8; BATCH_LEN],
    /// The bytes of `batch` before this are gone.
    used: usize,
    drawn_bytes: usize,
    reseed_at: Instant,
    /// The hypervisor's id of this life of the machine, when it was last looked at.
    vm: [u64; 2],
    generation: u64,
}

impl Generator {
    /// From a seed, at a moment, in a life of the machine.
    pub(crate) fn new(seed: [u8; KEY_LEN], now: Instant, vm: [u64; 2]) -> Generator {
        let reseed_at = now + RESEED_AFTER;
        Generator { key: seed, batch: [0; BATCH_LEN], used: BATCH_LEN, drawn_bytes: 0, reseed_at, vm, generation: 0 }
    }

    /// Seeds it anew when that is due. To be called before each draw.
    #[inline]
    fn refresh(&mut self, now: Instant, vm: [u64; 2]) {
        self.follow(vm);
        if self.drawn_bytes > RESEED_AFTER_BYTES || now >= self.reseed_at {
            self.stir(now, platform::seed());
        }
    }

    /// Notices that the machine lives another life.
    #[inline]
    fn follow(&mut self, vm: [u64; 2]) {
        if self.vm != vm {
            self.begin_generation(vm);
        }
    }

    /// The machine is a copy of what it was. The id is mixed in, for a machine that has no source of randomness of its own.
    #[cold]
    fn begin_generation(&mut self, vm: [u64; 2]) {
        let mut seed = platform::seed();
        for (byte, id) in seed.iter_mut().zip(vm.map(u64::to_le_bytes).as_flattened()) {
            *byte ^= id;
        }
        self.stir(Instant::now(), seed);
        self.vm = vm;
        self.generation += 1;
    }

    fn fill(&mut self, mut bytes: &mut [u8]) {
        self.drawn_bytes += bytes.len();
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

    fn wipe(&mut self) {
        self.key.zeroize();
        self.batch.zeroize();
    }

    /// A new key from the old one and the platform's sources: no weaker than the better of the two.
    fn stir(&mut self, now: Instant, seed: [u8; KEY_LEN]) {
        self.refill();
        for (key, fresh) in self.key.iter_mut().zip(seed) {
            *key ^= fresh;
        }
        self.used = BATCH_LEN;
        self.batch = [0; BATCH_LEN];
        self.drawn_bytes = 0;
        self.reseed_at = now + RESEED_AFTER;
    }
}

/// The key before a seed of its own, and that of a core that ends, are nobody's business.
impl Drop for Generator {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Fills `bytes` with random bytes that nobody can predict.
pub fn fill(bytes: &mut [u8]) {
    with_core(|core| {
        let mut generator = core.entropy.borrow_mut();
        generator.refresh(Instant::now(), platform::vm_generation());
        generator.fill(bytes);
    });
}

/// How many times this machine has been found to be a copy of what it was: started from a snapshot, or restored.
///
/// Who keeps a secret that no two machines may share draws it anew when this number has changed: keys of tickets, of
/// sequence numbers. The hypervisor must have a VM generation id (QEMU: `-device vmgenid`; [Microsoft's
/// specification](https://go.microsoft.com/fwlink/?LinkId=260709)), or this stays 0. A handful of instructions: it compares the
/// id, and reads no clock.
pub fn generation() -> u64 {
    with_core(|core| {
        let mut generator = core.entropy.borrow_mut();
        generator.follow(platform::vm_generation());
        generator.generation
    })
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

    const VM: [u64; 2] = [1, 2];

    fn generator() -> Generator {
        Generator::new([7; 32], Instant::from_micros(0), VM)
    }

    fn draw(generator: &mut Generator, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        generator.fill(&mut bytes);
        bytes
    }

    #[test]
    fn the_same_bytes_come_in_pieces_of_any_size() {
        let whole = draw(&mut generator(), 5000);
        for piece in [1, 31, 224, 256, 257, 999] {
            let mut generator = self::generator();
            let pieces: Vec<u8> = (0..5000 / piece).flat_map(|_| draw(&mut generator, piece)).collect();
            assert_eq!(pieces, whole[..pieces.len()], "pieces of {piece}");
        }
    }

    #[test]
    fn what_was_handed_out_is_erased() {
        let mut generator = self::generator();
        let bytes = draw(&mut generator, 100);
        assert!(generator.batch[..KEY_LEN + 100].iter().all(|byte| *byte == 0));
        assert!(
            !generator.batch.windows(8).any(|window| bytes.windows(8).any(|drawn| drawn == window && drawn != [0; 8]))
        );
        assert_ne!(generator.key, [7; 32], "the key of the drawn bytes is gone");
    }

    #[test]
    fn a_generator_that_goes_leaves_nothing() {
        let mut generator = generator();
        draw(&mut generator, 100);
        generator.wipe();
        assert!(generator.key.iter().chain(&generator.batch).all(|byte| *byte == 0));
    }

    #[test]
    fn stirring_changes_what_follows() {
        let (mut stirred, mut plain) = (generator(), generator());
        stirred.stir(Instant::from_micros(0), [1; 32]);
        plain.refill();
        plain.used = BATCH_LEN;
        assert_ne!(draw(&mut stirred, 64), draw(&mut plain, 64));
    }

    /// Bytes drawn after a refresh at a moment, in a life of the machine.
    fn after(seconds: u64, vm: [u64; 2]) -> (Vec<u8>, u64) {
        let mut generator = generator();
        draw(&mut generator, 100);
        generator.refresh(Instant::from_micros(0) + Duration::from_secs(seconds), vm);
        (draw(&mut generator, 64), generator.generation)
    }

    #[test]
    fn time_and_another_life_seed_it_again() {
        let (same, other) = (after(0, VM), [after(300, VM), after(0, [1, 3]), after(0, [0, 2])]);
        assert_eq!(after(299, VM), same);
        assert!(other.iter().all(|other| other.0 != same.0));
        // The hosted platform's seed is always the same, so what tells two lives apart is their id.
        assert_ne!(other[1].0, other[2].0);
        assert_eq!([same.1, other[0].1, other[1].1, other[2].1], [0, 0, 1, 1]);
    }

    #[test]
    fn a_copy_draws_other_numbers_and_says_so() {
        let drawn = |is_copy: bool| {
            crate::sim::run("", async move {
                u64();
                assert_eq!(generation(), 0);
                if is_copy {
                    crate::sim::set_vm_generation([5, 6]);
                    assert_eq!(generation(), 1);
                }
                (u64(), generation())
            })
        };
        assert_eq!(drawn(false), drawn(false));
        assert_eq!(drawn(true).1, 1, "told once");
        assert_ne!(drawn(true).0, drawn(false).0);
    }
}
