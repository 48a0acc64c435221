//! Whether the processor has the instructions, and may use the registers.

use core::arch::{asm, x86_64::__cpuid};

/// CPUID leaf 1, `ecx` (Intel SDM, volume 2A, CPUID).
const PCLMULQDQ: u32 = 1 << 1;
const SSSE3: u32 = 1 << 9;
const AES: u32 = 1 << 25;
const OSXSAVE: u32 = 1 << 27;
const AVX: u32 = 1 << 28;

/// XCR0: the system lets programs use the xmm and the ymm registers.
const XMM_AND_YMM: u32 = 0b110;

/// AES, carry-less multiplication, and the three-operand forms of AVX.
pub(crate) fn has_aes_gcm() -> bool {
    const ALL: u32 = PCLMULQDQ | SSSE3 | AES | OSXSAVE | AVX;
    __cpuid(1).ecx & ALL == ALL && xcr0() & XMM_AND_YMM == XMM_AND_YMM
}

/// The low half of XCR0. Call it only after CPUID has said OSXSAVE.
fn xcr0() -> u32 {
    let low: u32;
    // SAFETY: XGETBV faults only without CR4.OSXSAVE, which CPUID's bit OSXSAVE mirrors; the caller has seen that bit.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack, preserves_flags)) };
    low
}
