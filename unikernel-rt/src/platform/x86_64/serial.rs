//! The console: the first serial port (16550), polled. It carries plain text and, between two bytes that no UTF-8
//! text contains, defmt frames.

use super::port;
use core::fmt;

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// Bytes the transmitter takes at once when it is empty.
const FIFO_LEN: usize = 16;
/// A port that never becomes empty is not there; text is then lost, and the machine goes on.
const PATIENCE_READS: usize = 100_000;

/// Sets 115,200 baud, 8N1, FIFO on, no interrupts.
pub(super) fn init() {
    let settings = [(1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0x07), (4, 0x03)];
    for (register, value) in settings {
        // SAFETY: the registers of the first serial port; it touches no memory.
        unsafe { port::write(COM1 + register, value as u8) };
    }
}

/// Writes bytes as they are.
pub(super) fn write(bytes: &[u8]) {
    for chunk in bytes.chunks(FIFO_LEN) {
        for _ in 0..PATIENCE_READS {
            // SAFETY: reading the line status touches no memory.
            if unsafe { port::read::<u8>(LINE_STATUS) } & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        for &byte in chunk {
            // SAFETY: the transmit register of the first serial port; it touches no memory.
            unsafe { port::write(COM1, byte) };
        }
    }
}

/// Plain text on the console.
pub(super) struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}

/// Writes a line that must be seen, whatever the log level.
pub(crate) fn console_line(text: fmt::Arguments<'_>) {
    use fmt::Write;
    let _ = Console.write_fmt(text);
    write(b"\r\n");
}
