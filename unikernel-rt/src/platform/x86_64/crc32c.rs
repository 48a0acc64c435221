//! CRC32C by the CPU's instruction, which works on ordinary registers.

use core::{
    arch::{asm, x86_64::__cpuid},
    sync::atomic::{AtomicU8, Ordering},
};

/// CPUID leaf 1, `ecx`.
const SSE4_2: u32 = 1 << 20;

/// What the CPU said; asking it leaves the virtual machine.
static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const HAS: u8 = 1;
const HAS_NOT: u8 = 2;

/// Goes on with `sum`, not inverted at either end. `None` where the CPU has no such instruction.
pub(crate) fn crc32c(sum: u32, bytes: &[u8]) -> Option<u32> {
    if !is_there() {
        return None;
    }
    let (blocks, rest) = bytes.as_chunks::<64>();
    let mut sum = u64::from(sum);
    for block in blocks {
        // SAFETY: the CPU has the instruction, as just seen; the 64 bytes are those of `block`.
        unsafe {
            asm!(
                "crc32 {sum}, qword ptr [{block}]",
                "crc32 {sum}, qword ptr [{block} + 8]",
                "crc32 {sum}, qword ptr [{block} + 16]",
                "crc32 {sum}, qword ptr [{block} + 24]",
                "crc32 {sum}, qword ptr [{block} + 32]",
                "crc32 {sum}, qword ptr [{block} + 40]",
                "crc32 {sum}, qword ptr [{block} + 48]",
                "crc32 {sum}, qword ptr [{block} + 56]",
                sum = inout(reg) sum,
                block = in(reg) block,
                options(nostack, readonly, pure, preserves_flags),
            );
        }
    }
    for byte in rest {
        // SAFETY: as above; the byte is in a register.
        unsafe {
            asm!(
                "crc32 {sum:e}, {byte}",
                sum = inout(reg) sum,
                byte = in(reg_byte) *byte,
                options(nostack, nomem, pure, preserves_flags),
            );
        }
    }
    Some(sum as u32)
}

fn is_there() -> bool {
    match KNOWN.load(Ordering::Relaxed) {
        UNKNOWN => {
            let has = __cpuid(1).ecx & SSE4_2 != 0;
            KNOWN.store(if has { HAS } else { HAS_NOT }, Ordering::Relaxed);
            has
        }
        known => known == HAS,
    }
}
