//! The random number device (virtio 1.2, 5.4), read once at boot.

use super::{
    super::{acpi::Facts, clock::now_micros, pci},
    PciTransport, VENDOR, device, mmio_devices, mmio_transport,
    queue::{Direction, Queue},
};
use crate::device::{HEADROOM, pool};
use virtio_drivers::transport::{DeviceType, Transport};

/// A device that gives nothing for so long is not waited for.
const PATIENCE_MICROS: u64 = 1_000_000;

bitflags::bitflags! {
    /// Feature bits (virtio 1.2, 6): the device has none of its own.
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        const VERSION_1 = 1 << 32;
    }
}

/// Mixes bytes of the first random number device into `seed`. False when there is none, or it gives nothing.
pub(in super::super) fn collect(facts: &Facts, seed: &mut [u8; 32]) -> bool {
    let function = pci::functions(VENDOR)
        .into_iter()
        .find(|function| PciTransport::device_type_of(*function) == Some(DeviceType::EntropySource));
    if let Some(transport) = function.and_then(|function| PciTransport::new(function).ok()) {
        return draw(transport, seed);
    }
    // A malformed description of a device is reported when the devices are set up.
    let devices = mmio_devices(facts).unwrap_or_default();
    devices
        .iter()
        .filter_map(mmio_transport)
        .find(|transport| transport.device_type() == DeviceType::EntropySource)
        .is_some_and(|transport| draw(transport, seed))
}

/// Mixes bytes of the device into `seed`. False where it does not give enough.
pub(super) fn draw(mut transport: impl Transport, seed: &mut [u8; 32]) -> bool {
    if device::negotiate(&mut transport, |offered: Features| offered).is_err() {
        return false;
    }
    let Some(mut queue) = Queue::new(&mut transport, 0, Direction::Receive, 0) else { return false };
    transport.finish_init();
    let is_filled = fill(&mut transport, &mut queue, seed);
    if !device::reset(&mut transport) {
        queue.leak();
    }
    is_filled
}

fn fill(transport: &mut impl Transport, queue: &mut Queue, seed: &mut [u8; 32]) -> bool {
    let deadline = device::deadline(PATIENCE_MICROS);
    let mut filled = 0;
    while filled < seed.len() {
        let Some(buffer) = pool::take(HEADROOM + seed.len()) else { return false };
        let wanted = seed.len() - filled;
        queue.push(buffer, HEADROOM + wanted);
        queue.announce(transport);
        while !queue.is_ready() {
            if now_micros() > deadline {
                return false;
            }
        }
        let Ok(Some((buffer, len))) = queue.pop() else { return false };
        // It may give fewer bytes than asked for, but at least one. The buffer itself is longer.
        if len == 0 || len > wanted {
            return false;
        }
        for (seed, byte) in seed[filled..].iter_mut().zip(&buffer[HEADROOM..HEADROOM + len]) {
            *seed ^= byte;
        }
        filled += len;
    }
    true
}
