//! Protections the CPU offers, turned on where it has them: writes to read-only pages fault in ring 0, too, and code
//! or data of other rings cannot be used by mistake. And the vector registers, for the assembly that uses them.

use super::unprotected::{Protection, is_off};
use core::arch::x86_64::{__cpuid, __cpuid_count};
use x86_64::registers::{
    control::{Cr0, Cr0Flags, Cr4, Cr4Flags},
    xcontrol::{XCr0, XCr0Flags},
};

/// Turns the protections on. No-execute is on since the boot code.
pub(super) fn protect() {
    let (ebx, ecx) = match __cpuid(0).eax >= 7 {
        true => {
            let leaf = __cpuid_count(7, 0);
            (leaf.ebx, leaf.ecx)
        }
        false => (0, 0),
    };
    let mut flags = Cr4::read();
    for (has, flag) in [
        (ebx & (1 << 7) != 0, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        (ebx & (1 << 20) != 0, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        (ecx & (1 << 2) != 0, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
    ] {
        flags.set(flag, has);
    }
    if is_off(Protection::Cpu) {
        return;
    }
    // SAFETY: no page is a user page, so neither flag can make a valid access fault.
    unsafe {
        Cr4::write(flags);
        Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT));
    }
}

/// CPUID leaf 1, `ecx`.
const XSAVE: u32 = 1 << 26;
const AVX: u32 = 1 << 28;

/// Lets code use the xmm registers, and the ymm registers where there are some. Compiled code uses neither; assembly
/// does (cryptography), within one poll of one task, so nothing ever saves them.
pub(super) fn enable_vectors() {
    let features = __cpuid(1).ecx;
    // SAFETY: every CPU with a 64-bit mode has SSE2 (AMD APM, volume 2, 3.1.2 and 11.3), and no handler relies on the
    // faults that this turns off.
    unsafe {
        Cr0::update(|flags| {
            flags.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
            flags.insert(Cr0Flags::MONITOR_COPROCESSOR);
        });
        Cr4::update(|flags| flags.insert(Cr4Flags::OSFXSR));
    }
    if features & XSAVE == 0 {
        return;
    }
    let mut state = XCr0Flags::X87 | XCr0Flags::SSE;
    state.set(XCr0Flags::AVX, features & AVX != 0);
    // SAFETY: the CPU has XSAVE, and with it XCR0, of which these bits are valid together.
    unsafe {
        Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
        XCr0::write(state);
    }
}
