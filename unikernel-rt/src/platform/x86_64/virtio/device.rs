//! What is asked of every virtio device, which may answer anything: features, a configuration that holds still, a reset.

use super::super::clock::now_micros;
use alloc::string::{String, ToString};
use bitflags::Flags;
use virtio_drivers::transport::{DeviceStatus, Transport};

/// A device that is silent for so long while the machine starts is not waited for.
pub(super) const PATIENCE_MICROS: u64 = 5_000_000;
/// A device that does not reset for so long is not waited for, as nothing else runs meanwhile. Hypervisors do it within the
/// access.
const RESET_PATIENCE_MICROS: u64 = 200_000;
/// A configuration that changes so often while it is read is none.
const READS_MAX: u32 = 1000;
/// The unit in which legacy devices count memory.
const PAGE: u32 = 4096;
/// A device without it is a legacy one (virtio 1.2, 6).
const VERSION_1: u64 = 1 << 32;

/// Resets the device and agrees with it on features, of which `choose` makes what we want of the offer. The offer is read once, as the
/// next one may be another.
///
/// # Errors
///
/// What the device did, as part of a sentence.
pub(super) fn negotiate<F: Flags<Bits = u64>>(
    transport: &mut impl Transport,
    choose: impl FnOnce(F) -> F,
) -> Result<F, &'static str> {
    if !reset(transport) {
        return Err("it does not let itself be reset");
    }
    let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
    transport.set_status(status);
    let features = choose(F::from_bits_truncate(transport.read_device_features()));
    transport.write_driver_features(features.bits());
    status |= DeviceStatus::FEATURES_OK;
    transport.set_status(status);
    transport.set_guest_page_size(PAGE);
    // Legacy devices do not know this status.
    let is_legacy = features.bits() & VERSION_1 == 0;
    match is_legacy || transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        true => Ok(features),
        false => Err("it takes back features that it offers"),
    }
}

/// Reads what takes more than one access, again where it changed in between.
///
/// # Errors
///
/// What the device did, as part of a sentence.
pub(super) fn consistent<T>(
    transport: &impl Transport,
    read: impl Fn() -> virtio_drivers::Result<T>,
) -> Result<T, String> {
    for _ in 0..READS_MAX {
        let before = transport.read_config_generation();
        let value = read();
        if transport.read_config_generation() == before {
            return value.map_err(|error| error.to_string());
        }
    }
    Err("its configuration does not hold still".into())
}

/// Resets the device. False when it does not do that in time: then it may touch its queues and their buffers for ever.
pub(super) fn reset(transport: &mut impl Transport) -> bool {
    transport.set_status(DeviceStatus::empty());
    let deadline = deadline(RESET_PATIENCE_MICROS);
    while !transport.get_status().is_empty() {
        if now_micros() > deadline {
            return false;
        }
    }
    true
}

/// When patience ends.
pub(super) fn deadline(patience_micros: u64) -> u64 {
    #[cfg(feature = "selftest")]
    let patience_micros = super::fuzz::patience(patience_micros);
    now_micros() + patience_micros
}
