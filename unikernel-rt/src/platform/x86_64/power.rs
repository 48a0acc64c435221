//! How a machine ends: with an exit code for the host where the hypervisor takes one, else powered off.

use super::{interrupts, memory, port};
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// QEMU's `isa-debug-exit,iobase=0xf4,iosize=4`: the process ends with status `code * 2 + 1`.
const DEBUG_EXIT: u16 = 0xf4;

/// The power management control port of the FADT; 0 where there is none.
static CONTROL_PORT: AtomicU16 = AtomicU16::new(0);
/// The sleep control register of machines without one.
static SLEEP_CONTROL: AtomicU64 = AtomicU64::new(0);

/// Remembers from the FADT how to power off (ACPI 6.5, 5.2.9).
pub(super) fn learn(fadt: &[u8]) {
    let field = |at: usize, len: usize| {
        let bytes = fadt.get(at..at + len).unwrap_or_default();
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    CONTROL_PORT.store(field(64, 4) as u16, Ordering::Relaxed);
    // A generic address structure: kind 0 is memory; the address follows after four bytes.
    if field(244, 1) == 0 {
        SLEEP_CONTROL.store(field(248, 8), Ordering::Relaxed);
    }
}

pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: none of these ports and registers touches memory; the machine ends at the first that exists.
    unsafe {
        port::write(DEBUG_EXIT, u32::from(code));
        if code == 0 {
            power_off();
        }
        // A reset by the keyboard controller: with `-no-reboot` it ends the hypervisor, too.
        port::write(0x64, 0xfe_u8);
    }
    interrupts::stop()
}

/// # Safety
///
/// The machine ends here.
unsafe fn power_off() {
    const SLEEP_ENABLE: u16 = 1 << 13;
    /// The value of `\_S5` in the DSDT of the hypervisors: 0 for the control port, 5 for the register.
    const SLEEP_CONTROL_OFF: u8 = 5 << 2 | 1 << 5;
    let control = CONTROL_PORT.load(Ordering::Relaxed);
    if control != 0 {
        // SAFETY: the caller's promise.
        unsafe { port::write(control, SLEEP_ENABLE) };
    }
    let sleep = SLEEP_CONTROL.load(Ordering::Relaxed);
    if sleep != 0 {
        let register = memory::map_device(sleep..sleep + 1);
        // SAFETY: the register the FADT names, just mapped.
        unsafe { register.write_volatile(SLEEP_CONTROL_OFF) };
    }
}
