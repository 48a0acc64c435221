//! A segment arrives: the usual one, or any other, and then whether it belongs. RFC 9293, 3.10.7.4;
//! RFC 5961 against segments of strangers.

use super::{
    Budget, Outcome, Segment, State, Tcb, flag, pending,
    segment::{after, span},
    tuning::{ANSWER_PERIOD, ANSWERS_MAX},
    types::Gone,
};
use unikernel_rt::time::{Duration, Instant};

/// Why a segment is answered that does not belong. Strangers must not use up the answers to the peer's probes.
#[derive(Clone, Copy)]
enum Doubt {
    Stranger,
    /// It has the number of a keep-alive or window probe.
    Probe,
}

impl Tcb {
    /// Takes in a segment. After TIME-WAIT or CLOSED there may still be something to send.
    #[inline]
    pub(crate) fn on_segment(&mut self, segment: &Segment<'_>, now: Instant, budget: &mut Budget) -> Outcome {
        if self.expects(segment) { self.on_expected(segment, now, budget) } else { self.on_any(segment, now, budget) }
    }

    /// Header prediction (Van Jacobson 1990): an open connection without gaps gets the next data, or an
    /// acknowledgement of something new.
    #[inline]
    fn expects(&self, segment: &Segment<'_>) -> bool {
        let acked = span(self.snd_una, segment.ack);
        self.state == State::Established
            && !self.lossy
            && self.holes.is_none()
            && segment.flags & !flag::PSH == flag::ACK
            && segment.seq == self.rcv_nxt
            && segment.options.is_empty()
            && acked <= self.flight()
            && segment.payload.len <= self.rcv_wnd() as usize
            && (segment.payload.len > 0 || acked > 0)
    }

    #[inline]
    fn on_expected(&mut self, segment: &Segment<'_>, now: Instant, budget: &mut Budget) -> Outcome {
        let mut outcome = Outcome::default();
        self.heard_at = now;
        self.set_window(segment.seq, u32::from(segment.window) << self.snd_scale);
        if segment.ack != self.snd_una {
            outcome.writable = self.advance(segment.ack, now);
        }
        if self.unsent() > 0 || self.fin_unsent() {
            self.pending |= pending::DATA;
        }
        if segment.payload.len > 0 {
            self.append(segment, 0, segment.payload.len);
            self.owe_ack(segment.payload.len, now);
            self.watch_reading(now, budget);
            outcome.readable = true;
        }
        outcome
    }

    /// Any segment in any state.
    #[inline(never)]
    fn on_any(&mut self, segment: &Segment<'_>, now: Instant, budget: &mut Budget) -> Outcome {
        match self.state {
            State::Closed => return Outcome::default(),
            State::SynSent => return self.on_answer(segment, now),
            _ => {}
        }
        let mut outcome = Outcome::default();
        if self.opens(segment) {
            outcome = self.on_opened(now);
            if segment.has(flag::SYN) {
                self.set_window(segment.seq, segment.window.into());
                return outcome;
            }
        }
        if !self.admits(segment, now, &mut outcome) || !self.on_ack(segment, now, &mut outcome) {
            return outcome;
        }
        self.on_payload(segment, now, &mut outcome);
        self.watch_reading(now, budget);
        outcome
    }

    /// The checks before the acknowledgement is looked at (RFC 9293, 3.10.7.4, first to fourth).
    fn admits(&mut self, segment: &Segment<'_>, now: Instant, outcome: &mut Outcome) -> bool {
        let end = segment.seq.wrapping_add(segment.seq_len());
        let in_window = !after(segment.seq, self.rcv_edge) && !after(self.rcv_nxt, end);
        if segment.has(flag::RST) {
            // RFC 5961, 3.2: only the exact number resets; what is near may be a guess, or come after a loss.
            match (segment.seq == self.rcv_nxt, in_window) {
                (true, _) => *outcome = self.end_by_peer(Gone::Reset),
                (false, true) => self.challenge(now),
                (false, false) => {}
            }
            return false;
        }
        // RFC 5961, 4.2: a peer that forgot the connection answers the challenge with an exact RST.
        if segment.has(flag::SYN) || self.state == State::SynReceived {
            self.challenge(now);
            return false;
        }
        if !in_window {
            self.refuse(segment, now);
            return false;
        }
        self.heard_at = now;
        segment.has(flag::ACK)
    }

    /// Answers a segment outside of the window: data came twice, or the peer asks for a sign of life or a window.
    fn refuse(&mut self, segment: &Segment<'_>, now: Instant) {
        if segment.seq_len() > 0 {
            self.pending |= pending::ACK;
        } else if segment.seq == self.rcv_nxt.wrapping_sub(1) {
            self.answer(Doubt::Probe, now);
        } else {
            self.challenge(now);
        }
    }

    /// Acknowledges what may be an attack.
    pub(super) fn challenge(&mut self, now: Instant) {
        self.answer(Doubt::Stranger, now);
    }

    /// Acknowledges, so often at most (RFC 5961, 7): two sides that disagree would answer each other for ever.
    fn answer(&mut self, doubt: Doubt, now: Instant) {
        if now - self.answered_at >= Duration::from_micros(ANSWER_PERIOD) {
            self.answered_at = now;
            self.answers = [0, 0];
        }
        let answers = &mut self.answers[doubt as usize];
        if *answers < ANSWERS_MAX {
            *answers += 1;
            self.pending |= pending::ACK;
        }
    }

    /// The peer's word ended it.
    pub(super) fn end_by_peer(&mut self, gone: Gone) -> Outcome {
        self.end(gone);
        Outcome { readable: true, writable: true, closed: true, ..Outcome::default() }
    }
}
