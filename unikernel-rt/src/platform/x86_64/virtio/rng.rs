//! The random number device (virtio 1.2, 5.4), read once at boot.

use super::{
    super::{acpi::Facts, pci},
    PciTransport, VENDOR,
    hal::VirtioHal,
    mmio_transport,
};
use virtio_drivers::{
    device::rng::VirtIORng,
    transport::{DeviceType, Transport},
};

/// Mixes bytes of the first random number device into `seed`. False when there is none, or it gives nothing.
pub(in super::super) fn collect(facts: &Facts, seed: &mut [u8; 32]) -> bool {
    let function = pci::functions(VENDOR)
        .into_iter()
        .find(|function| PciTransport::device_type_of(*function) == Some(DeviceType::EntropySource));
    if let Some(transport) = function.and_then(|function| PciTransport::new(function).ok()) {
        return draw(transport, seed);
    }
    // The command line is not parsed yet, and need not be: a machine that describes devices only there is QEMU's
    // microvm without ACPI.
    facts
        .virtio_mmio()
        .iter()
        .filter_map(mmio_transport)
        .find(|transport| transport.device_type() == DeviceType::EntropySource)
        .is_some_and(|transport| draw(transport, seed))
}

fn draw(transport: impl Transport, seed: &mut [u8; 32]) -> bool {
    let Ok(mut device) = VirtIORng::<VirtioHal, _>::new(transport) else { return false };
    let mut filled = 0;
    while filled < seed.len() {
        let mut bytes = [0; 32];
        // The device may give fewer bytes than asked for, but at least one.
        let Ok(len @ 1..) = device.request_entropy(&mut bytes) else { return false };
        for (seed, byte) in seed[filled..].iter_mut().zip(&bytes[..len.min(32)]) {
            *seed ^= byte;
        }
        filled += len;
    }
    true
}
