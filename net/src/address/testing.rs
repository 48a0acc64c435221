//! What the tests of the machines share: a moment that is set by hand, repeatable random numbers, sent frames.

use super::Turn;
use std::vec::Vec;
use unikernel_rt::{
    device::Frame,
    sim::Random,
    time::{Duration, Instant},
};

pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const EVIL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xee];

/// A port in a test.
pub(crate) struct Bench {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) sent: Vec<Frame>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench { now: Instant::from_millis(1000), random: Random::new(1), sent: Vec::new() }
    }

    /// One step of a machine.
    pub(crate) fn step<R>(&mut self, f: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let Bench { now, random, sent } = self;
        f(&mut Turn { now: *now, random: &mut || random.u64(), out: &mut |frame| sent.push(frame) })
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// What was sent since the last call.
    pub(crate) fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.sent)
    }
}
