//! The hypervisor's id of this life of the machine: 16 bytes of memory that it changes when it starts the machine from a
//! snapshot (Microsoft, Virtual Machine Generation ID; QEMU, docs/specs/vmgenid).

use super::memory;
use core::sync::atomic::{AtomicU64, Ordering};

const LEN: u64 = 16;

/// Where the id is mapped; 0 where there is none.
static PLACE: AtomicU64 = AtomicU64::new(0);

/// Remembers where the firmware says the id is.
pub(super) fn learn(physical: u64) {
    let range = physical.checked_add(LEN).map(|end| physical..end).filter(|_| physical.is_multiple_of(8));
    if let Some(place) = range.and_then(memory::map_firmware) {
        PLACE.store(place as u64, Ordering::Relaxed);
    }
}

/// The id; zero where the hypervisor has none.
#[inline]
pub(crate) fn vm_generation() -> [u64; 2] {
    let place = PLACE.load(Ordering::Relaxed) as *const [u64; 2];
    if place.is_null() {
        return [0; 2];
    }
    // SAFETY: two aligned words that `learn` mapped, for ever. The hypervisor writes them while the machine does not run.
    unsafe { place.read_volatile() }
}
