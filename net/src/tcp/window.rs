//! The receive window, and when to acknowledge what came.

use super::{
    Budget, Tcb, pending,
    segment::{later, span},
    timers::shift,
    tuning::{ACK_DELAY, READ_PERIOD_MIN, RTO_INITIAL},
};
use unikernel_rt::time::{Duration, Instant};

impl Tcb {
    /// Data in order came: every second full segment is acknowledged at once, others a little later unless data
    /// goes along (RFC 9293, 3.8.6.3).
    #[inline]
    pub(super) fn owe_ack(&mut self, len: usize, now: Instant) {
        self.mss_seen = self.mss_seen.max(len.min(self.mss_in.into()) as u16);
        if span(self.rcv_acked, self.rcv_nxt) >= 2 * u32::from(self.mss_seen) {
            self.pending |= pending::ACK;
        } else if self.ack_at == Instant::FOREVER {
            self.ack_at = shift(now, ACK_DELAY);
        }
    }

    /// Doubles the window when the application has read half of it within a round trip.
    #[inline]
    pub(super) fn watch_reading(&mut self, now: Instant, budget: &mut Budget) {
        if span(self.read_seq, self.rcv_nxt) >= self.rcv_limit / 2 {
            self.measure_reading(now, budget);
        }
    }

    #[cold]
    fn measure_reading(&mut self, now: Instant, budget: &mut Budget) {
        let read_to = self.rcv_nxt.wrapping_sub(self.rx.len() as u32 + u32::from(self.fin_received));
        let round_trip = if self.srtt == 0 { RTO_INITIAL } else { self.srtt.max(READ_PERIOD_MIN) };
        let fast = now - self.read_at <= Duration::from_micros(round_trip.into());
        let enough = span(self.read_seq, read_to) >= self.rcv_limit / 2;
        if fast && !enough {
            return;
        }
        if fast && self.rcv_limit < self.window_max && budget.take(self.rcv_limit as usize) {
            self.rcv_limit *= 2;
        }
        (self.read_seq, self.read_at) = (read_to, now);
    }

    /// The window for a segment that goes out now. Its right edge moves on when that is worth a segment or half of
    /// the buffer (RFC 9293, 3.8.6.2.2), and never goes back but for the rounding (RFC 7323, 2.4).
    #[inline]
    pub(super) fn tell_window(&mut self) -> u16 {
        let (told, fresh) = (self.rcv_wnd(), self.fresh_window());
        let window = if self.is_worth_telling(told, fresh) { fresh } else { told };
        let value = (window >> self.rcv_scale).min(u16::MAX.into());
        let edge = self.rcv_nxt.wrapping_add(value << self.rcv_scale);
        self.rcv_edge = later(self.rcv_edge, edge);
        value as u16
    }

    /// What there is room for.
    #[inline]
    pub(super) fn fresh_window(&self) -> u32 {
        self.rcv_limit.min(self.window_max).saturating_sub(self.rx.len() as u32)
    }

    #[inline]
    pub(super) fn is_worth_telling(&self, told: u32, fresh: u32) -> bool {
        fresh >= told + u32::from(self.mss_in).min(self.rcv_limit.min(self.window_max) / 2)
    }
}
