//! An acknowledgement arrives: what it covers, round trips (RFC 6298), the peer's window.

use super::{
    Outcome, Segment, State, Tcb, pending,
    segment::{after, span},
    timers::Timer,
    tuning::{RTO_MAX, RTO_VARIANCE_MIN},
    types::Gone,
};
use unikernel_rt::time::Instant;

impl Tcb {
    /// Looks at the acknowledgement of any segment that belongs. False when the rest must not be looked at.
    pub(super) fn on_ack(&mut self, segment: &Segment<'_>, now: Instant, outcome: &mut Outcome) -> bool {
        let (acked, flight) = (span(self.snd_una, segment.ack), self.flight());
        if acked > flight {
            return self.on_strange_ack(segment, now);
        }
        let window = u32::from(segment.window) << self.snd_scale;
        let same_window = window == self.snd_wnd;
        if !after(self.snd_wl1, segment.seq) {
            self.on_window(segment.seq, window);
        }
        self.note_sacked(segment, acked, same_window);
        if acked > 0 {
            outcome.writable |= self.advance(segment.ack, now);
            self.after_advance(acked, outcome);
        }
        self.judge_losses();
        if self.state != State::Closed && (self.unsent() > 0 || self.fin_unsent() || self.lossy) {
            self.pending |= pending::DATA;
        }
        self.state != State::Closed
    }

    /// It acknowledges what was acknowledged before, or what was never sent. RFC 5961, 5.2.
    fn on_strange_ack(&mut self, segment: &Segment<'_>, now: Instant) -> bool {
        let old = span(segment.ack, self.snd_una) <= self.snd_wnd_max;
        if !old {
            self.challenge(now);
        }
        old
    }

    /// The peer's window is `window` now.
    fn on_window(&mut self, seq: u32, window: u32) {
        let was_closed = self.snd_wnd == 0;
        self.set_window(seq, window);
        // What was sent into a window that closed is lost, or waits for the timer's long turns: not any more.
        if was_closed && window > 0 && self.backoff > 0 && self.timer == Timer::Retransmit {
            self.resend_all();
            self.backoff = 0;
        }
    }

    /// `ack` covers something new. Returns whether a writer that waited has room now.
    #[inline(always)]
    pub(super) fn advance(&mut self, ack: u32, now: Instant) -> bool {
        let (acked, flight) = (span(self.snd_una, ack), self.flight());
        if self.timing && acked >= span(self.snd_una, self.timed_seq) {
            self.timing = false;
            self.measure(now.as_micros().saturating_sub(self.timed_at.as_micros()));
        }
        self.grow_cwnd(acked, flight, now);
        self.tx.consume((acked as usize).min(self.tx.len()));
        self.snd_una = ack;
        self.backoff = 0;
        self.tail_probed = false;
        if acked == flight {
            self.timer = Timer::Off;
            if self.tx.is_empty() {
                self.tx.rewind();
            }
        } else {
            self.start_retransmit_timer(now);
        }
        self.write_blocked && self.has_room_again()
    }

    /// What only matters outside of the common path: our FIN, the peer's word on losses.
    fn after_advance(&mut self, acked: u32, outcome: &mut Outcome) {
        self.recover(acked);
        if self.fin_sent && self.snd_una == self.snd_nxt {
            self.on_fin_acked(outcome);
        }
    }

    fn on_fin_acked(&mut self, outcome: &mut Outcome) {
        match self.state {
            State::FinWait1 => self.state = State::FinWait2,
            State::Closing => self.finish(State::TimeWait, outcome),
            State::LastAck => self.finish(State::Closed, outcome),
            _ => {}
        }
    }

    /// A round trip took `micros` (RFC 6298, 2.2 to 2.4, in integers as Jacobson did).
    #[inline]
    pub(super) fn measure(&mut self, micros: u64) {
        let sample = micros.clamp(1, RTO_MAX) as u32;
        if self.srtt == 0 {
            (self.srtt, self.rttvar) = (sample, sample / 2);
        } else {
            self.rttvar = self.rttvar - self.rttvar / 4 + self.srtt.abs_diff(sample) / 4;
            self.srtt = (self.srtt - self.srtt / 8 + sample / 8).max(1);
        }
        self.rto = (self.srtt + (4 * self.rttvar).max(RTO_VARIANCE_MIN)).min(RTO_MAX as u32);
    }

    /// Whether a blocked writer should go on: with a third of the buffer free, so that it does not wake for scraps.
    #[inline]
    fn has_room_again(&mut self) -> bool {
        let free = self.snd_limit.saturating_sub(self.tx.len() as u32);
        let again = free >= self.snd_limit / 3;
        if again {
            self.write_blocked = false;
        }
        again
    }

    /// Nobody acknowledged anything for too long.
    pub(super) fn end_by_silence(&mut self) -> Outcome {
        self.end(Gone::TimedOut);
        Outcome { readable: true, writable: true, closed: true, ..Outcome::default() }
    }
}
