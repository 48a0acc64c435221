//! The interrupt controllers: the core's local APIC (Intel SDM volume 3, chapter 12) and the I/O APIC. The old 8259
//! pair is masked.

use super::{interrupts, memory, port};
use core::sync::atomic::{AtomicU64, Ordering};

/// Where every CPU has its own (SDM 12.4.1).
const LOCAL: u64 = 0xfee0_0000;
/// Where those registers are mapped; the entries of interrupts write to the end of it, too.
#[unsafe(no_mangle)]
static __LOCAL_APIC: AtomicU64 = AtomicU64::new(0);

const SPURIOUS: u64 = 0xf0;
const TIMER_MODE: u64 = 0x320;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;
const TASK_PRIORITY: u64 = 0x80;
const ENABLE: u32 = 1 << 8;
/// Divides the bus clock by 128: the longest sleep of one arming is then minutes instead of seconds.
const DIVIDE_BY_128: u32 = 0b1010;

/// Inputs of an I/O APIC: the version register has eight bits for the last one, and 240 are the most there are.
pub(super) const LINES_MAX: u32 = 240;

/// Where messages for the first core go (SDM 12.11.1).
pub(super) const MESSAGE_ADDRESS: u32 = LOCAL as u32;

fn write(register: u64, value: u32) {
    let address = __LOCAL_APIC.load(Ordering::Relaxed) + register;
    // SAFETY: a register of the local APIC, which `init` mapped.
    unsafe { (address as *mut u32).write_volatile(value) }
}

fn read(register: u64) -> u32 {
    let address = __LOCAL_APIC.load(Ordering::Relaxed) + register;
    // SAFETY: as for `write`.
    unsafe { (address as *const u32).read_volatile() }
}

/// Masks the 8259 pair, turns the local APIC on and its timer into a one-shot one.
pub(super) fn init() {
    for data_port in [0x21, 0xa1] {
        // SAFETY: the mask registers of the 8259 pair.
        unsafe { port::write(data_port, 0xff_u8) };
    }
    __LOCAL_APIC.store(memory::map_device(LOCAL..LOCAL + 4096) as u64, Ordering::Relaxed);
    write(TASK_PRIORITY, 0);
    write(SPURIOUS, ENABLE | u32::from(interrupts::VECTOR_SPURIOUS));
    write(TIMER_DIVIDE, DIVIDE_BY_128);
    write(TIMER_MODE, u32::from(interrupts::VECTOR_TIMER));
}

/// Starts the timer: one interrupt after `ticks`. Zero stops it.
pub(super) fn start_timer(ticks: u32) {
    write(TIMER_INITIAL, ticks);
}

/// Ticks until the timer fires.
pub(super) fn timer_left() -> u32 {
    read(TIMER_CURRENT)
}

/// Sends the edges of input `line` of the I/O APIC at `base` to this core as `vector`.
pub(super) fn route(base: u64, line: u32, vector: u8) {
    redirect(base, line, vector.into());
}

/// The same for an input that counts as long as it is active. The end of the interrupt at the local APIC reaches the
/// I/O APIC, which sends it again if the input is still active then: at most once, as the interrupt's entry holds others
/// back until the device was looked after.
pub(super) fn route_level(base: u64, line: u32, vector: u8, active_low: bool) {
    redirect(base, line, 1 << 15 | u32::from(active_low) << 13 | u32::from(vector));
}

/// Writes a redirection entry (82093AA data sheet, 3.2.4): fixed, not masked, to core 0.
fn redirect(base: u64, line: u32, low: u32) {
    // Firmware may say anything; what no I/O APIC has never interrupts.
    if line >= LINES_MAX {
        return;
    }
    let registers = memory::map_device(base..base + 4096).cast::<u32>();
    let write = |register: u32, value: u32| {
        // SAFETY: the index and data registers of an I/O APIC, just mapped.
        unsafe {
            registers.write_volatile(register);
            registers.add(4).write_volatile(value);
        }
    };
    write(0x10 + 2 * line + 1, 0);
    write(0x10 + 2 * line, low);
}
