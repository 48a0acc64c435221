//! The console: the first serial port (16550), polled. It carries plain text and, between two bytes that no UTF-8
//! text contains, defmt frames.

use super::{log_ring, port};
use core::{
    arch::asm,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// Bytes the transmitter takes at once when it is empty.
const FIFO_LEN: usize = 16;
/// A port that does not become empty within so many reads (a second or so) is not there, or its host does not take what
/// we write; text is then lost, and the machine goes on.
const PATIENCE_READS: usize = 1_000_000;

/// The port was waited for in vain, and has not been ready since.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Sets 115,200 baud, 8N1, FIFO on, no interrupts.
pub(super) fn init() {
    let settings = [(1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0x07), (4, 0x03)];
    for (register, value) in settings {
        // SAFETY: the registers of the first serial port; it touches no memory.
        unsafe { port::write(COM1 + register, value as u8) };
    }
}

/// Whether the transmitter takes bytes now.
pub(super) fn is_ready() -> bool {
    // SAFETY: reading the line status touches no memory.
    unsafe { port::read::<u8>(LINE_STATUS) & TRANSMITTER_EMPTY != 0 }
}

/// Waits until the transmitter takes bytes. False when it does not; then it is not waited for again.
pub(super) fn wait() -> bool {
    let reads = if STUCK.load(Ordering::Relaxed) { 1 } else { PATIENCE_READS };
    let ready = (0..reads).any(|_| is_ready());
    STUCK.store(!ready, Ordering::Relaxed);
    ready
}

/// Hands the transmitter, which is ready, as many bytes as it takes. Returns how many.
pub(super) fn send(bytes: &[u8]) -> usize {
    let len = bytes.len().min(FIFO_LEN);
    // SAFETY: reads the first `len` bytes of `bytes` and writes the transmit register of the first serial port. One
    // instruction for all of them leaves the virtual machine once.
    unsafe {
        asm!(
            "rep outsb",
            in("dx") COM1,
            inout("rsi") bytes.as_ptr() => _,
            inout("rcx") len => _,
            options(nostack, readonly, preserves_flags),
        );
    }
    len
}

/// Writes bytes as they are, after whatever was written before.
pub(super) fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() && wait() {
        bytes = &bytes[send(bytes)..];
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

/// Writes a line that must be seen, whatever the log level, after the log lines that came before it.
pub(crate) fn console_line(text: fmt::Arguments<'_>) {
    use fmt::Write;
    log_ring::flush();
    let _ = Console.write_fmt(text);
    write(b"\r\n");
}
