//! How a machine ends: with an exit code for the host where the hypervisor takes one, else powered off.

use super::{interrupts, log_ring, memory, port};
use core::{
    arch::asm,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU64, Ordering},
};

/// QEMU's `isa-debug-exit,iobase=0xf4,iosize=4`: the process ends with status `code * 2 + 1`.
const DEBUG_EXIT: u16 = 0xf4;

/// The power management control port of the FADT; 0 where there is none.
static CONTROL_PORT: AtomicU16 = AtomicU16::new(0);
/// The sleep control register of machines without one.
static SLEEP_CONTROL: AtomicU64 = AtomicU64::new(0);
/// The reset register, as a port or in memory, where there is one, and what to write there.
static RESET_PORT: AtomicU16 = AtomicU16::new(0);
static RESET_REGISTER: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static RESET_VALUE: AtomicU8 = AtomicU8::new(0);

/// Remembers from the FADT how to power off and how to reset (ACPI 6.5, 5.2.9).
pub(super) fn learn(fadt: &[u8]) {
    let field = |at: usize, len: usize| {
        let bytes = fadt.get(at..at + len).unwrap_or_default();
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    CONTROL_PORT.store(field(64, 4) as u16, Ordering::Relaxed);
    // A generic address structure: kind 0 is memory; the address follows after four bytes.
    if field(244, 1) == 0 {
        let register = memory::physical_range(field(248, 8), 1);
        SLEEP_CONTROL.store(register.map_or(0, |register| register.start), Ordering::Relaxed);
    }
    const RESET_IS_SUPPORTED: u64 = 1 << 10;
    if field(112, 4) & RESET_IS_SUPPORTED != 0 {
        RESET_VALUE.store(field(128, 1) as u8, Ordering::Relaxed);
        match (field(116, 1), field(120, 8)) {
            (_, 0) => {}
            // Mapped now: a machine that has crashed may have no memory for page tables.
            (0, address) => {
                let range = memory::physical_range(address, 1);
                RESET_REGISTER.store(range.map_or(null_mut(), memory::map_device), Ordering::Relaxed);
            }
            (1, port) => RESET_PORT.store(port as u16, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// The machine has stopped in good order.
pub(crate) fn stopped(code: u8) {
    exit(code)
}

pub(crate) fn exit(code: u8) -> ! {
    log_ring::flush();
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

/// Resets the machine, by the ways that machines have: the next one is tried where one is not there.
pub(super) fn reboot() -> ! {
    log_ring::flush();
    let value = RESET_VALUE.load(Ordering::Relaxed);
    let (port, register) = (RESET_PORT.load(Ordering::Relaxed), RESET_REGISTER.load(Ordering::Relaxed));
    if port != 0 {
        // SAFETY: the port the FADT names; the machine ends here.
        unsafe { port::write(port, value) };
    }
    if !register.is_null() {
        // SAFETY: the register the FADT names, which `learn` mapped.
        unsafe { register.write_volatile(value) };
    }
    // SAFETY: the keyboard controller and the reset control port of PC chipsets; the machine ends here.
    unsafe {
        port::write(0x64, 0xfe_u8);
        port::write(0xcf9, 0x06_u8);
    }
    // SAFETY: without an interrupt table the first exception resets the CPU.
    unsafe {
        asm!("lidt [{table}]", "int3", "ud2", table = in(reg) &[0_u64; 2], options(noreturn));
    }
}

/// Stays as it is, for a debugger.
pub(super) fn halt() -> ! {
    loop {
        // SAFETY: nothing goes on, and no interrupt changes anything.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
