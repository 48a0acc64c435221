//! What a state machine is given for one step.

use core::time::Duration;
use unikernel_rt::{device::Frame, time::Instant};

/// The moment, random numbers, and the way out for finished Ethernet frames.
pub(crate) struct Turn<'a> {
    pub(crate) now: Instant,
    /// Random numbers nobody can guess.
    pub(crate) random: &'a mut dyn FnMut() -> u64,
    /// Takes frames that are complete, addresses and sums included.
    pub(crate) out: &'a mut dyn FnMut(Frame),
}

impl Turn<'_> {
    /// A random time below `range`.
    pub(crate) fn random_below(&mut self, range: Duration) -> Duration {
        let micros = u64::try_from(range.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros((self.random)() % micros)
    }

    /// `time`, up to a tenth shorter or longer: machines that started together do not stay together.
    pub(crate) fn jitter(&mut self, time: Duration) -> Duration {
        time - time / 10 + self.random_below(time / 5)
    }
}
