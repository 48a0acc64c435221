//! Protections the CPU offers, turned on where it has them: writes to read-only pages fault in ring 0, too, and code
//! or data of other rings cannot be used by mistake.

use core::arch::x86_64::{__cpuid, __cpuid_count};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

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
    // SAFETY: no page is a user page, so neither flag can make a valid access fault.
    unsafe {
        Cr4::write(flags);
        Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT));
    }
}
