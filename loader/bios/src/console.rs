//! Text on the screen and on the first serial port.

use crate::real_mode::{Registers, call};
use core::{arch::asm, fmt};

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// A port that does not become empty within so many reads is not there.
const PATIENCE_READS: u32 = 100_000;

/// The console.
pub(crate) struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(write);
        Ok(())
    }
}

fn write(byte: u8) {
    if byte == b'\n' {
        write(b'\r');
    }
    let teletype = Registers { eax: 0x0e00 | u32::from(byte), ebx: 7, ..Registers::default() };
    // SAFETY: INT 10h, function 0Eh, writes to the screen.
    unsafe { call(0x10, teletype, [0; 3]) };
    let is_ready = (0..PATIENCE_READS).any(|_| read_port(LINE_STATUS) & TRANSMITTER_EMPTY != 0);
    if is_ready {
        // SAFETY: the transmit register of the first serial port; it touches no memory.
        unsafe { asm!("out dx, al", in("dx") COM1, in("al") byte, options(nomem, nostack, preserves_flags)) };
    }
}

fn read_port(port: u16) -> u8 {
    let value;
    // SAFETY: reading the line status touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}
