//! Reads the battery-backed clock, once, at boot.

use super::super::port;
use crate::time::rtc::Registers;

/// Status A: the clock is about to tick over, or doing so; it says so 244 µs ahead.
const UPDATE_IN_PROGRESS: u8 = 1 << 7;

/// Reads of status A before giving up. An update takes 1984 µs (MC146818A data sheet), and a read of an ISA port about
/// one.
const PATIENCE_READS: u32 = 8_000;

/// Seconds since 1970. `None` where there is no clock.
pub(super) fn unix_seconds() -> Option<u64> {
    // A machine that is stopped between two reads may still mix two seconds: two equal readings are a right one.
    let mut last = None;
    for _ in 0..PATIENCE_READS {
        match register(0x0a) {
            // No clock has all bits set there: nobody answers.
            0xff => return None,
            status if status & UPDATE_IN_PROGRESS != 0 => continue,
            _ => {}
        }
        let registers = registers();
        if last == Some(registers) {
            allow_interrupts();
            return registers.unix_seconds();
        }
        last = Some(registers);
    }
    None
}

/// Lets non-maskable interrupts in again: a machine has reports for them.
fn allow_interrupts() {
    // SAFETY: as for `register`; a status register is chosen and read.
    unsafe {
        port::write(0x70, 0x0d_u8);
        port::read::<u8>(0x71);
    }
}

fn registers() -> Registers {
    let [second, minute, hour, day, month, year, century, status_b] = [0, 2, 4, 7, 8, 9, 0x32, 0x0b].map(register);
    Registers { second, minute, hour, day, month, year, century, status_b }
}

fn register(number: u8) -> u8 {
    // SAFETY: the index and data ports of the CMOS memory; 0x80 keeps non-maskable interrupts off.
    unsafe {
        port::write(0x70, number | 0x80);
        port::read(0x71)
    }
}
