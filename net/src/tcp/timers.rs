//! What happens when nothing happens: retransmission, tail loss and window probes, keep-alive.
//!
//! Deadlines move with almost every segment, so `wake_at` is only a lower bound of them: it stays until it comes, and
//! is then set anew.

use super::{
    Outcome, State, Tcb, pending,
    tuning::{IDLE_RELEASE, KEEP_ALIVE_INTERVALS, PROBE_WAIT_MIN, RTO_MAX},
};
use unikernel_rt::time::{Duration, Instant};

/// What is due at `timer_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Off,
    /// The retransmission timeout (RFC 6298).
    Retransmit,
    /// A tail loss probe (RFC 8985, 7), before the timeout.
    TailProbe,
    /// A window probe: there is data, nothing flies, and the window is too small (RFC 9293, 3.8.6.1).
    Persist,
}

/// `micros` after `moment`.
#[inline]
pub(super) fn shift(moment: Instant, micros: u64) -> Instant {
    Instant::from_micros(moment.as_micros().saturating_add(micros))
}

/// Its microseconds. `as_micros` of a Duration works on 128 bits.
pub(super) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}

impl Tcb {
    /// When [`on_time`](Self::on_time) wants to be called: no later than the first deadline, possibly earlier. Stays
    /// the same over many segments, so that the caller's timer need not move.
    #[inline]
    pub(crate) fn next_moment(&self) -> Instant {
        self.wake_at.min(self.ack_at)
    }

    /// Does what is due. Harmless when nothing is.
    pub(crate) fn on_time(&mut self, now: Instant) -> Outcome {
        if now >= self.ack_at {
            self.ack_at = Instant::FOREVER;
            self.pending |= pending::ACK;
        }
        if self.slow_at == Instant::FOREVER && self.has_large_buffers() {
            self.plan_slow_timer(now);
        }
        if now < self.wake_at {
            return Outcome::default();
        }
        let mut outcome = Outcome::default();
        if now >= self.slow_at {
            outcome = self.on_slow_timer(now);
        }
        if self.timer != Timer::Off && now >= self.timer_at {
            outcome = self.on_timer(now);
        }
        let timer_at = if self.timer == Timer::Off { Instant::FOREVER } else { self.timer_at };
        self.wake_at = timer_at.min(self.slow_at);
        outcome
    }

    fn on_timer(&mut self, now: Instant) -> Outcome {
        if self.timer == Timer::TailProbe {
            self.probe_tail(now);
            return Outcome::default();
        }
        if self.is_given_up(now) {
            return self.end_by_silence();
        }
        self.timeouts = self.timeouts.saturating_add(u32::from(self.timer == Timer::Retransmit));
        match (self.timer, self.state) {
            (Timer::Persist, _) if self.snd_wnd == 0 => self.pending |= pending::PROBE,
            (Timer::Persist, _) => {
                self.overrides = true;
                self.pending |= pending::DATA;
            }
            (_, State::SynSent | State::SynReceived) => self.pending |= pending::SYN,
            _ => self.start_timeout_recovery(),
        }
        self.timing = false;
        self.backoff = self.backoff.saturating_add(1);
        let wait = self.backed_off().min(self.patience_left(now));
        self.start_timer(self.timer, wait, now);
        Outcome::default()
    }

    /// How long until the user timeout, when nothing but it can end the waiting.
    fn patience_left(&self, now: Instant) -> u64 {
        let waits_for_window = self.snd_wnd == 0 || self.timer == Timer::Persist;
        if waits_for_window {
            return u64::MAX;
        }
        let waited = now.as_micros().saturating_sub(self.stalled_at.as_micros());
        self.user_timeout.saturating_sub(waited).max(1)
    }

    /// Whether the user timeout is over. A peer that answers and keeps its window closed is alive (RFC 9293, 3.8.6.1).
    fn is_given_up(&mut self, now: Instant) -> bool {
        if self.backoff == 0 {
            self.stalled_at = shift(self.timer_at, 0).min(now);
            self.stalled_at = Instant::from_micros(self.stalled_at.as_micros().saturating_sub(self.first_wait()));
        }
        let waits_for_window = self.snd_wnd == 0 || self.timer == Timer::Persist;
        let since = if waits_for_window { self.stalled_at.max(self.heard_at) } else { self.stalled_at };
        micros(now - since) >= self.user_timeout
    }

    /// How long the first timeout takes.
    #[inline]
    fn first_wait(&self) -> u64 {
        u64::from(self.rto).min(self.user_timeout)
    }

    /// How long the next timeout takes: twice the last, and not past the user timeout.
    fn backed_off(&self) -> u64 {
        (u64::from(self.rto) << self.backoff.min(16)).min(RTO_MAX).min(self.user_timeout)
    }

    #[inline]
    pub(super) fn start_timer(&mut self, timer: Timer, wait: u64, now: Instant) {
        self.timer = timer;
        self.timer_at = shift(now, wait);
        self.wake_at = self.wake_at.min(self.timer_at);
    }

    /// Something was sent or acknowledged, and something still flies (RFC 6298, 5.1 and 5.3).
    #[inline]
    pub(super) fn start_retransmit_timer(&mut self, now: Instant) {
        if self.backoff > 0 {
            let wait = self.backed_off().min(self.patience_left(now));
            self.start_timer(Timer::Retransmit, wait, now);
        } else if self.probes_tail() {
            let wait = (2 * self.srtt).max(PROBE_WAIT_MIN).min(self.rto);
            self.start_timer(Timer::TailProbe, wait.into(), now);
        } else {
            self.start_first_wait(now);
        }
    }

    #[inline]
    pub(super) fn start_first_wait(&mut self, now: Instant) {
        self.start_timer(Timer::Retransmit, self.first_wait(), now);
    }

    /// Whether what flies is worth a tail loss probe. A single segment's acknowledgement may be delayed nearly as long
    /// as the timeout.
    #[inline]
    pub(super) fn probes_tail(&self) -> bool {
        self.flight() > self.mss.into() && self.srtt > 0 && !self.lossy && !self.tail_probed && self.backoff == 0
    }

    /// There is data, and the peer's window does not take it.
    pub(super) fn start_persist_timer(&mut self, now: Instant) {
        if self.timer != Timer::Persist {
            self.backoff = 0;
            self.start_timer(Timer::Persist, self.first_wait(), now);
        }
    }

    pub(super) fn stop_timer(&mut self) {
        self.timer = Timer::Off;
    }

    pub(super) fn stop_timers(&mut self) {
        self.timer = Timer::Off;
        (self.wake_at, self.ack_at, self.slow_at) = (Instant::FOREVER, Instant::FOREVER, Instant::FOREVER);
    }

    /// The last segments may be lost, and nothing would tell before the timeout: sends the last once more.
    fn probe_tail(&mut self, now: Instant) {
        let nxt = self.snd_nxt;
        self.tail_probed = true;
        let recovery = self.recovery();
        (recovery.probe_end, recovery.probes) = (Some(nxt), true);
        self.lossy = true;
        self.timing = false;
        self.pending |= pending::DATA;
        self.start_first_wait(now);
    }

    /// Looks after idle connections.
    fn on_slow_timer(&mut self, now: Instant) -> Outcome {
        self.release_idle(now);
        let outcome = self.keep_alive(now);
        self.plan_slow_timer(now);
        outcome
    }

    /// A peer that is silent and owes nothing is asked whether it is there (RFC 9293, 3.8.4).
    fn keep_alive(&mut self, now: Instant) -> Outcome {
        let Some(interval) = self.keep_alive.filter(|_| self.timer == Timer::Off && self.is_open()) else {
            return Outcome::default();
        };
        let silence = micros(now - self.heard_at);
        if silence >= micros(interval).saturating_mul(KEEP_ALIVE_INTERVALS) {
            return self.end_by_silence();
        }
        if silence >= micros(interval) {
            self.pending |= pending::PROBE;
        }
        Outcome::default()
    }

    fn is_open(&self) -> bool {
        !matches!(self.state, State::SynSent | State::SynReceived | State::TimeWait | State::Closed)
    }

    /// Large drained buffers of a silent connection go back.
    fn release_idle(&mut self, now: Instant) {
        if micros(now - self.heard_at) >= IDLE_RELEASE {
            self.release_drained();
        }
    }

    /// Sets the slow timer to what it is needed for next.
    pub(super) fn plan_slow_timer(&mut self, now: Instant) {
        let mut wait = u64::MAX;
        if self.has_large_buffers() {
            wait = IDLE_RELEASE;
        }
        if let Some(interval) = self.keep_alive {
            let (interval, silence) = (micros(interval).max(1), micros(now - self.heard_at));
            wait = wait.min(interval - silence % interval);
        }
        self.slow_at = if wait == u64::MAX { Instant::FOREVER } else { shift(now, wait) };
        self.wake_at = self.wake_at.min(self.slow_at);
    }
}
