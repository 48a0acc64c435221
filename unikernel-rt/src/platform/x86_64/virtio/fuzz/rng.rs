//! The driver of random number devices against its device.

use super::{
    super::rng,
    Outcome,
    device::{Device, Fake, VERSION_1},
    kept::check_freed,
    lies::Lie,
};

/// Decides what the device is.
pub(super) fn plan(device: &mut Device) {
    device.offers = device.random.next();
    if device.lie == Some(Lie::TakesBack) {
        device.offers |= VERSION_1;
    }
    device.queue_len = device.random.pick(&[1, 2, 8, 64, 1024]);
}

pub(super) fn round(fake: &Fake) -> Outcome {
    let mut seed = [0; 32];
    let is_filled = rng::draw(fake.clone(), &mut seed);
    check_freed(&mut fake.0.borrow_mut());
    if is_filled { Outcome::Fine } else { Outcome::Noticed }
}
