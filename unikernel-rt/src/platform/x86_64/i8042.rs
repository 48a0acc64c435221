//! The keyboard controller, for one thing: Ctrl-Alt-Del, by which hypervisors without ACPI ask for a stop (Firecracker's
//! `SendCtrlAltDel`).

use super::{acpi::Facts, apic, clock::now_micros, interrupts::Irq, port, power_button::watch};
use crate::lifecycle::keyboard::Keyboard;

const DATA: u16 = 0x60;
/// Read: status. Written: a command.
const STATUS: u16 = 0x64;
const HAS_OUTPUT: u8 = 1 << 0;
const HAS_INPUT: u8 = 1 << 1;
const FROM_MOUSE: u8 = 1 << 5;

const READ_CONFIG: u8 = 0x20;
const WRITE_CONFIG: u8 = 0x60;
const KEYBOARD_INTERRUPT: u8 = 1 << 0;
const MOUSE_INTERRUPT: u8 = 1 << 1;
const KEYBOARD_OFF: u8 = 1 << 4;
const TRANSLATES: u8 = 1 << 6;

/// The interrupt of the keyboard.
const INTERRUPT: u8 = 1;
/// More than the controller ever holds; a port that always has something is none.
const BYTES_MAX: usize = 256;
/// It answers within some ten microseconds, or never.
const PATIENCE_MICROS: u64 = 5_000;
/// Pulses the CPU's reset line.
const RESET_CPU: u8 = 0xfe;

/// Listens to the keyboard, if there is a controller.
pub(super) fn init(facts: &Facts) {
    if status() == 0xff || set_up().is_none() {
        return;
    }
    let Some(irq) = Irq::new() else { return };
    let (io_apic, line) = facts.io_apic_of(facts.input_of(INTERRUPT, false).line);
    apic::route(io_apic, line, irq.vector());
    let mut keyboard = Keyboard::default();
    crate::spawn_named(
        "keyboard",
        watch(irq, "Ctrl-Alt-Del", move || {
            let mut pressed = false;
            for _ in 0..BYTES_MAX {
                let status = status();
                if status & HAS_OUTPUT == 0 {
                    break;
                }
                let byte = read_data();
                pressed |= status & FROM_MOUSE == 0 && keyboard.push(byte);
            }
            pressed
        }),
    );
}

/// Lets the keyboard's own codes through, and its interrupt. `None`: nothing answers.
fn set_up() -> Option<()> {
    // What was typed before nobody waits for, and it would hold back the next interrupt.
    let is_empty = || {
        let empty = status() & HAS_OUTPUT == 0;
        if !empty {
            read_data();
        }
        empty
    };
    (0..BYTES_MAX).find(|_| is_empty())?;
    command(READ_CONFIG)?;
    wait(|| status() & HAS_OUTPUT != 0)?;
    let config = read_data();
    command(WRITE_CONFIG)?;
    wait(|| status() & HAS_INPUT == 0)?;
    let config = (config | KEYBOARD_INTERRUPT) & !(MOUSE_INTERRUPT | KEYBOARD_OFF | TRANSLATES);
    // SAFETY: a register of the keyboard controller; it touches no memory.
    unsafe { port::write(DATA, config) };
    Some(())
}

fn command(command: u8) -> Option<()> {
    wait(|| status() & HAS_INPUT == 0)?;
    // SAFETY: only commands above are written, which reset nothing; it touches no memory.
    unsafe { port::write(STATUS, command) };
    Some(())
}

fn wait(ready: impl Fn() -> bool) -> Option<()> {
    let end = now_micros() + PATIENCE_MICROS;
    loop {
        if ready() {
            return Some(());
        }
        if now_micros() > end {
            return None;
        }
    }
}

/// Resets the CPU, where the controller is there and does so.
///
/// # Safety
///
/// The machine ends here.
pub(super) unsafe fn reset_cpu() {
    // SAFETY: the caller's promise.
    unsafe { port::write(STATUS, RESET_CPU) };
}

fn status() -> u8 {
    // SAFETY: reading the status touches no memory.
    unsafe { port::read(STATUS) }
}

fn read_data() -> u8 {
    // SAFETY: reading takes a byte from the controller and touches no memory.
    unsafe { port::read(DATA) }
}
