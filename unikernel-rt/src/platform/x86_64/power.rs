//! How a machine ends: with an exit code for the host where the hypervisor takes one, else powered off.

use super::{i8042, interrupts, log_ring, memory, port};
use core::{
    arch::asm,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, Ordering},
};

/// QEMU's `isa-debug-exit,iobase=0xf4,iosize=4`: the process ends with status `code * 2 + 1`.
const DEBUG_EXIT: u16 = 0xf4;

/// The reset control port of PC chipsets.
const RESET_CONTROL: u16 = 0xcf9;

/// The power management control port of the FADT; 0 where there is none.
static CONTROL_PORT: AtomicU16 = AtomicU16::new(0);
/// The sleep control register of machines without one.
static SLEEP_CONTROL: AtomicPtr<u8> = AtomicPtr::new(null_mut());
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
        SLEEP_CONTROL.store(mapped(field(248, 8)), Ordering::Relaxed);
    }
    const RESET_IS_SUPPORTED: u64 = 1 << 10;
    if field(112, 4) & RESET_IS_SUPPORTED != 0 {
        RESET_VALUE.store(field(128, 1) as u8, Ordering::Relaxed);
        match (field(116, 1), field(120, 8)) {
            (_, 0) => {}
            (0, address) => RESET_REGISTER.store(mapped(address), Ordering::Relaxed),
            (1, port) => RESET_PORT.store(port as u16, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// A register, mapped now: a machine that ends may have no memory for page tables. Null where there is none.
fn mapped(address: u64) -> *mut u8 {
    let range = memory::physical_range(address, 1).filter(|range| range.start != 0);
    range.map_or(null_mut(), memory::map_device)
}

/// The machine has stopped in good order.
pub(crate) fn stopped(code: u8) {
    exit(code)
}

pub(crate) fn exit(code: u8) -> ! {
    tell(code);
    // SAFETY: the machine ends here. With `-no-reboot` a reset ends the hypervisor, too.
    unsafe { i8042::reset_cpu() };
    interrupts::stop()
}

/// The same for a machine that must not start again.
pub(super) fn exit_without_reset(code: u8) -> ! {
    tell(code);
    // SAFETY: the machine ends here.
    unsafe { power_off() };
    interrupts::stop()
}

/// Ends the machine where the hypervisor takes its exit code, or where it can be powered off with success.
fn tell(code: u8) {
    // A slow console is no task that hangs.
    interrupts::block();
    log_ring::flush();
    // SAFETY: neither port nor register touches memory; the machine ends here.
    unsafe {
        port::write(DEBUG_EXIT, u32::from(code));
        if code == 0 {
            power_off();
        }
    }
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
    if !sleep.is_null() {
        // SAFETY: the register the FADT names, which `learn` mapped.
        unsafe { sleep.write_volatile(SLEEP_CONTROL_OFF) };
    }
}

/// Resets the machine, by the ways that machines have: the next one is tried where one is not there.
pub(super) fn reboot() -> ! {
    interrupts::block();
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
    // SAFETY: the machine ends here.
    unsafe { i8042::reset_cpu() };
    // SAFETY: as above.
    unsafe { port::write(RESET_CONTROL, 0x06_u8) };
    // SAFETY: without an interrupt table the first exception resets the CPU.
    unsafe {
        asm!("lidt [{table}]", "int3", "ud2", table = in(reg) &[0_u64; 2], options(noreturn));
    }
}
