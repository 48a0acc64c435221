//! Memory that is nobody's but ours: a device that still reaches it shows that a driver gave away what the device has.

use super::{super::super::memory, device::Device, random::Random};
use alloc::{boxed::Box, vec, vec::Vec};
use core::ops::DerefMut;

const GUARD: u8 = 0xc3;
const KEPT_MAX: usize = 16;

/// Buffers that came from a driver, or from the heap.
pub(super) struct Kept<B>(Vec<B>);

impl<B: DerefMut<Target = [u8]>> Kept<B> {
    pub(super) fn new() -> Kept<B> {
        Kept(Vec::with_capacity(KEPT_MAX))
    }

    /// Keeps one for a while.
    pub(super) fn keep(&mut self, mut buffer: B, random: &mut Random) {
        buffer.fill(GUARD);
        if self.0.len() == KEPT_MAX {
            drop(self.0.swap_remove(random.below(KEPT_MAX)));
        }
        self.0.push(buffer);
    }

    /// Panics where the device has some of it, or has written there.
    pub(super) fn check(&self, device: &Device) {
        for buffer in self.0.iter().filter(|buffer| !buffer.is_empty()) {
            let start = memory::physical(buffer.as_ptr());
            let end = start + buffer.len() as u64;
            let shared = device.has_memory().find(|range| range.start < end && start < range.end);
            assert!(shared.is_none(), "a buffer of {} bytes is used again while the device has it", buffer.len());
            assert!(buffer.iter().all(|byte| *byte == GUARD), "the device wrote to a buffer that it does not have");
        }
    }
}

/// Takes what was freed last, and looks whether the device still has it.
pub(super) fn check_freed(device: &mut Device) {
    let mut kept = Kept::new();
    for len in [64, 1536, 4096, 512, 12_288, 1536, 4096, 16_384, 65_664, 8192] {
        let buffer: Box<[u8]> = vec![0; len].into_boxed_slice();
        kept.keep(buffer, &mut device.random);
    }
    device.scribble_all();
    kept.check(device);
}
