//! The 8254 timer, to measure the other counters with. Channel 0 runs on every machine; the gate of channel 2 is missing
//! on some.

use super::{super::port, sample};

/// Channel 0, both bytes, mode 2: counts down again and again.
const START: u8 = 0b0011_0100;
/// Holds the count of channel 0 for reading.
const LATCH: u8 = 0;
/// The 8254's frequency is 105/88 MHz.
const TICKS_PER_88_MICROS: u64 = 105;
/// A count that stands still for so many readings is not there.
const PATIENCE_READS: u32 = 100_000;

/// Microseconds per tick of the time stamp counter, times 2^32, measured for about `micros`.
///
/// # Errors
///
/// The timer does not count.
pub(super) fn micros_per_tick(micros: u64) -> Result<u64, &'static str> {
    // SAFETY: the ports of the 8254; they touch no memory, and its interrupt is masked.
    unsafe {
        port::write(0x43, START);
        port::write(0x40, 0xff_u8);
        port::write(0x40, 0xff_u8);
    }
    let start = sample(count);
    let wanted = (micros * TICKS_PER_88_MICROS / 88) as u16;
    let (mut patience, mut last) = (PATIENCE_READS, start.1);
    loop {
        let now = count();
        if start.1.wrapping_sub(now) >= wanted {
            break;
        }
        patience = if now == last { patience - 1 } else { PATIENCE_READS };
        last = now;
        if patience == 0 {
            return Err("the machine has no 8254 timer to measure its clock with; with QEMU's microvm leave `pit=on`");
        }
    }
    let end = sample(count);
    let pit_ticks = u64::from(start.1.wrapping_sub(end.1));
    // At most 65,536 ticks, so this fits.
    Ok(((pit_ticks * 88) << 32) / TICKS_PER_88_MICROS / (end.0 - start.0).max(1))
}

fn count() -> u16 {
    // SAFETY: as above.
    unsafe {
        port::write(0x43, LATCH);
        let low: u8 = port::read(0x40);
        let high: u8 = port::read(0x40);
        u16::from_le_bytes([low, high])
    }
}
