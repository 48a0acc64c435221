//! How much may be in the network: slow start and CUBIC (RFC 9438), in integers, as the target has no floating point.

use super::{Tcb, recovery::Phase};
use unikernel_rt::time::{Duration, Instant};

/// CUBIC's multiplicative decrease: 0.7 (RFC 9438, 4.6), in tenths.
const BETA: u64 = 7;

/// The initial window, in segments and in bytes at most (RFC 6928).
const INITIAL_SEGMENTS: u32 = 10;
const INITIAL_BYTES: u32 = 14_600;

/// More than any path takes; keeps sums far from overflow.
const CWND_MAX: u32 = 1 << 28;

/// The cubic is not looked at further than this from its middle, in milliseconds: keeps its cube in 64 bits.
const SPAN_MAX: i64 = 100_000;

/// The state of CUBIC since the last loss. Windows are in bytes.
#[derive(Default)]
pub(super) struct Cubic {
    /// The window before the last loss, or a little less when it shrinks from loss to loss.
    w_max: u32,
    /// The window when the last loss came.
    prior: u32,
    /// When growing began after the loss; None: not yet.
    epoch: Option<Instant>,
    /// The window then.
    start: u32,
    /// Until the cubic reaches `w_max` again, in milliseconds.
    k: u32,
    /// What Reno would have.
    estimate: u32,
    /// Bytes acknowledged that have not made the window grow yet.
    rest: u64,
}

impl Cubic {
    fn on_loss(&mut self, cwnd: u32) {
        // Fast convergence (RFC 9438, 4.7): leave room for others when the last loss came earlier than the one before.
        self.w_max = if cwnd < self.w_max { (u64::from(cwnd) * (10 + BETA) / 20) as u32 } else { cwnd };
        self.prior = cwnd;
        self.epoch = None;
    }

    fn start(&mut self, cwnd: u32, mss: u32, now: Instant) {
        self.epoch = Some(now);
        self.start = cwnd;
        self.estimate = cwnd;
        self.rest = 0;
        // K = cbrt((W_max - cwnd) / C) with C = 0.4 and windows in segments; here in milliseconds.
        let gap = u64::from(self.w_max.saturating_sub(cwnd));
        self.k = cube_root(gap * 2_500_000_000 / u64::from(mss));
        self.w_max = self.w_max.max(cwnd);
    }

    /// W_cubic(t) = C * (t - K)^3 + W_max, in bytes.
    fn target(&self, micros: u64, mss: u32) -> u32 {
        let distance = ((micros / 1000) as i64 - i64::from(self.k)).clamp(-SPAN_MAX, SPAN_MAX);
        let growth = distance * distance * distance / 1_000_000 * i64::from(mss) * 4 / 10_000;
        (i64::from(self.w_max) + growth).clamp(0, CWND_MAX.into()) as u32
    }

    /// The window after `acked` bytes.
    fn grow(&mut self, cwnd: u32, acked: u32, mss: u32, rtt: u32, now: Instant) -> u32 {
        if self.epoch.is_none() {
            self.start(cwnd, mss, now);
        }
        let elapsed = self.epoch.map_or(0, |epoch| now.as_micros().saturating_sub(epoch.as_micros()));
        let target = self.target(elapsed + u64::from(rtt), mss).clamp(cwnd, cwnd + cwnd / 2);
        self.estimate = self.reno(cwnd, acked, mss);
        if self.estimate > target {
            return cwnd.max(self.estimate);
        }
        // cwnd += (target - cwnd) / cwnd per segment acknowledged.
        self.rest += u64::from(target - cwnd) * u64::from(acked);
        let step = self.rest / u64::from(cwnd);
        self.rest %= u64::from(cwnd);
        cwnd + step as u32
    }

    /// RFC 9438, 4.3: alpha is 3 * (1 - beta) / (1 + beta), 0.53, and 1 once the old window is reached.
    fn reno(&self, cwnd: u32, acked: u32, mss: u32) -> u32 {
        let segment = u64::from(acked) * u64::from(mss);
        let step = if self.estimate < self.prior { segment * 9 / 17 } else { segment };
        self.estimate.saturating_add(step.div_ceil(u64::from(cwnd)) as u32).min(CWND_MAX)
    }
}

/// The integer cube root, bit by bit.
fn cube_root(value: u64) -> u32 {
    let mut root = 0_u64;
    for bit in (0..21).rev() {
        let next = root | 1 << bit;
        if next * next * next <= value {
            root = next;
        }
    }
    root as u32
}

impl Tcb {
    pub(super) fn initial_cwnd(&self) -> u32 {
        let mss = u32::from(self.mss);
        (INITIAL_SEGMENTS * mss).min(INITIAL_BYTES.max(2 * mss))
    }

    /// `acked` of `flight` bytes were acknowledged. A window that is not used does not grow (RFC 9438, 5.8).
    #[inline]
    pub(super) fn grow_cwnd(&mut self, acked: u32, flight: u32, now: Instant) {
        if flight >= self.cwnd / 2 {
            self.grow_used_cwnd(acked, flight, now);
        }
    }

    fn grow_used_cwnd(&mut self, acked: u32, flight: u32, now: Instant) {
        if self.recovery.as_ref().is_some_and(|recovery| recovery.phase == Phase::Fast) {
            return;
        }
        let mss = u32::from(self.mss);
        if self.cwnd < self.ssthresh {
            self.cwnd = self.cwnd.saturating_add(acked).min(CWND_MAX).min(self.ssthresh);
        } else if flight + 3 * mss >= self.cwnd
            && let Some(recovery) = &mut self.recovery
        {
            self.cwnd = recovery.cubic.grow(self.cwnd, acked, mss, self.srtt, now).min(CWND_MAX);
        }
    }

    /// A loss was noticed: the new threshold.
    pub(super) fn shrink_cwnd(&mut self) {
        let cwnd = self.cwnd;
        self.recovery().cubic.on_loss(cwnd);
        self.ssthresh = ((u64::from(cwnd) * BETA / 10) as u32).max(2 * u32::from(self.mss));
    }

    /// After a pause longer than a timeout the window says nothing about the path any more (RFC 5681, 4.1).
    #[inline]
    pub(super) fn restart_after_idle(&mut self, now: Instant) {
        let initial = self.initial_cwnd();
        if self.cwnd > initial && now - self.timed_at > Duration::from_micros(self.rto.into()) {
            self.cwnd = initial;
            if let Some(recovery) = &mut self.recovery {
                recovery.cubic.epoch = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn cube_roots_are_exact() {
        for (value, root) in [(0, 0), (7, 1), (8, 2), (26, 2), (27, 3), (999_999_999_999, 9_999), (1 << 60, 1 << 20)] {
            assert_eq!(cube_root(value), root, "of {value}");
        }
    }

    /// The window of a Cubic that lost at 1000 segments, each tenth of its K, in segments: concave, then convex.
    #[test]
    fn the_window_follows_the_cubic() {
        let (mss, mut cubic) = (1000, Cubic::default());
        cubic.on_loss(1_000_000);
        cubic.start(700_000, mss, Instant::from_micros(0));
        // cbrt(300 / 0.4) = 9.086 s
        assert_eq!(cubic.k, 9_085);
        let window = |tenths: u64| cubic.target(u64::from(cubic.k) * tenths * 100, mss) / 1000;
        let windows: Vec<u32> = [0, 2, 5, 10, 15, 20].map(window).to_vec();
        assert_eq!(windows, [700, 846, 962, 1000, 1037, 1299]);
    }
}
