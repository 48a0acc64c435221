//! The seed of the random generator: the CPU's own source, a random number device, and the jitter of the clock,
//! mixed so that one good source suffices.

use super::{acpi::Facts, clock, virtio};
use core::arch::{asm, x86_64::__cpuid};

/// Tries per word; Intel promises success within ten (SDM volume 1, 7.3.17).
const TRIES: usize = 10;

/// Collects the seed at boot.
///
/// # Errors
///
/// There is no source: neither the CPU nor a device gives random numbers.
pub(super) fn at_boot(facts: &Facts) -> Result<[u8; 32], &'static str> {
    let mut seed = jitter();
    let cpu = from_cpu(&mut seed);
    let device = virtio::collect_entropy(facts, &mut seed);
    if cpu || device {
        return Ok(seed);
    }
    Err("the machine has no source of randomness; start it with `-device virtio-rng-pci` (microvm: \
         `virtio-rng-device`) or a CPU that has RDRAND (`-cpu max`)")
}

/// Four words before anything else works: from the CPU where it has a source, and the clock's jitter.
pub(super) fn words() -> [u64; 4] {
    let mut seed = jitter();
    from_cpu(&mut seed);
    let words = seed.as_chunks::<8>().0;
    core::array::from_fn(|index| u64::from_le_bytes(words[index]))
}

/// Fresh bytes to stir into a running generator.
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = jitter();
    from_cpu(&mut seed);
    seed
}

/// The low bits of the clock, which depend on everything the machine did so far, spread over all bytes. A second line
/// only: alone it does not make a seed.
fn jitter() -> [u8; 32] {
    let mut seed = [0; 32];
    let mut mixed = 0_u64;
    for chunk in seed.chunks_exact_mut(8) {
        for _ in 0..16 {
            mixed = (mixed ^ clock::ticks()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        chunk.copy_from_slice(&mixed.to_le_bytes());
    }
    seed
}

/// Mixes in RDSEED, or RDRAND. False when the CPU has neither, or they fail.
fn from_cpu(seed: &mut [u8; 32]) -> bool {
    let rdseed = __cpuid(0).eax >= 7 && core::arch::x86_64::__cpuid_count(7, 0).ebx & (1 << 18) != 0;
    let rdrand = __cpuid(1).ecx & (1 << 30) != 0;
    if !rdseed && !rdrand {
        return false;
    }
    for chunk in seed.chunks_exact_mut(8) {
        let word = (0..TRIES).find_map(|_| if rdseed { draw_seed() } else { None });
        let Some(word) = word.or_else(|| (0..TRIES).find_map(|_| if rdrand { draw_random() } else { None })) else {
            return false;
        };
        for (byte, random) in chunk.iter_mut().zip(word.to_le_bytes()) {
            *byte ^= random;
        }
    }
    true
}

fn draw_seed() -> Option<u64> {
    let (word, ok): (u64, u8);
    // SAFETY: the CPU has the instruction (CPUID 7, EBX bit 18), which writes a register and flags.
    unsafe { asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) ok, options(nomem, nostack)) };
    (ok != 0).then_some(word)
}

fn draw_random() -> Option<u64> {
    let (word, ok): (u64, u8);
    // SAFETY: the CPU has the instruction (CPUID 1, ECX bit 30), which writes a register and flags.
    unsafe { asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) ok, options(nomem, nostack)) };
    (ok != 0).then_some(word)
}
