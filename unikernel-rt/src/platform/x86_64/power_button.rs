//! The power button, by which the host asks for a stop in good order: an event of the power management registers (q35,
//! pc), or of QEMU's event device (microvm).

use super::{
    acpi::{Facts, PowerEvents},
    apic,
    clock::now_micros,
    interrupts::Irq,
    memory, port,
    serial::console_line,
};
use crate::{lifecycle, task::wait_for};
use core::{future::poll_fn, task::Poll};

/// Bit of the button in the status and enable registers (ACPI 6.5, table 4.10).
const BUTTON: u16 = 1 << 8;
/// Bit of the control register: ACPI is on, and events raise its interrupt.
const SCI_ENABLED: u16 = 1;
/// The firmware answers within microseconds, or never.
const PATIENCE_MICROS: u64 = 100_000;

/// Listens to the button of this machine, if it has one. Without a free vector it goes without: devices come first.
pub(super) fn init(facts: &Facts) {
    if let Some(events) = &facts.events {
        listen_to_events(facts, events);
    } else if let Some(device) = facts.event_device() {
        let Some(irq) = Irq::new() else { return };
        let (io_apic, line) = facts.io_apic_of(device.line);
        apic::route(io_apic, line, irq.vector());
        let selector = memory::map_device(device.registers).cast::<u32>();
        crate::spawn_named(
            "power button",
            watch(irq, "the power button", move || {
                /// QEMU, include/hw/acpi/generic_event_device.h: reading tells what happened, and clears it.
                const POWER_DOWN: u32 = 1 << 1;
                // SAFETY: the register of the event device, by the firmware's word; mapped for ever.
                unsafe { selector.read_volatile() & POWER_DOWN != 0 }
            }),
        );
    }
}

fn listen_to_events(facts: &Facts, events: &PowerEvents) {
    let Some(irq) = Irq::new().filter(|_| turn_on(events)) else { return };
    let input = facts.input_of(events.interrupt, true);
    let (io_apic, line) = facts.io_apic_of(input.line);
    apic::route_level(io_apic, line, irq.vector(), input.active_low);
    // SAFETY: the power management registers the FADT names; they touch no memory.
    unsafe { port::write(events.enable_port, BUTTON) };
    let status_port = events.status_port;
    crate::spawn_named(
        "power button",
        watch(irq, "the power button", move || {
            // SAFETY: as above. Writing the bit clears it, and with that ends the interrupt.
            unsafe {
                let pressed = port::read::<u16>(status_port) & BUTTON != 0;
                port::write(status_port, BUTTON);
                pressed
            }
        }),
    );
}

/// Takes the power management over from the firmware. False when that does not let go.
fn turn_on(events: &PowerEvents) -> bool {
    // SAFETY: the control register the FADT names; reading touches no memory.
    let is_on = || unsafe { port::read::<u16>(events.control_port) } & SCI_ENABLED != 0;
    if !is_on() && events.command_port != 0 {
        // SAFETY: the command the FADT gives for this; the firmware's handler touches its own memory only.
        unsafe { port::write(events.command_port, events.command_enable) };
        let end = now_micros() + PATIENCE_MICROS;
        while !is_on() && now_micros() < end {}
    }
    is_on()
}

/// Asks for a stop whenever the interrupt comes and `was_pressed`, which looks at the device and calms it.
pub(super) async fn watch(irq: Irq, what: &'static str, mut was_pressed: impl FnMut() -> bool) {
    loop {
        poll_fn(|cx| {
            // In this order: what comes after the look wakes the task.
            irq.wake(cx.waker());
            if was_pressed() {
                return Poll::Ready(());
            }
            wait_for(what);
            Poll::Pending
        })
        .await;
        if !lifecycle::is_stopping() {
            console_line(format_args!("unikernel: stopping: {what} was pressed"));
            lifecycle::request_stop();
        }
    }
}
