//! A segment arrives: whether it belongs, what of it is kept, and which window is told. RFC 9293, 3.10.7.4;
//! RFC 5961 against segments of strangers.

use super::{
    Budget, Outcome, Segment, State, Tcb, flag, pending,
    segment::{after, later, span},
    timers::shift,
    tuning::{ACK_DELAY, ANSWER_PERIOD, ANSWERS_MAX, PIECE_SHARE, PIECES_MIN, READ_PERIOD_MIN, RTO_INITIAL},
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

    /// Keeps what is new of a segment's payload, and its FIN.
    fn on_payload(&mut self, segment: &Segment<'_>, now: Instant, outcome: &mut Outcome) {
        if segment.payload.len == 0 && !segment.has(flag::FIN) {
            return;
        }
        let end = segment.seq.wrapping_add(segment.payload.len as u32);
        if self.fin_received {
            self.pending |= pending::ACK;
            return;
        }
        if segment.has(flag::FIN) && !after(self.rcv_nxt, end) && !after(end, self.rcv_edge) {
            self.holes.get_or_insert_default().fin.get_or_insert(end);
        }
        let first = later(segment.seq, self.rcv_nxt);
        let last = self.last_wanted();
        let end = if after(end, last) { last } else { end };
        let had_holes = self.holes.is_some();
        let before = self.rcv_nxt;
        if after(end, first) {
            self.keep(segment, first, end);
        }
        self.pass_fin(outcome);
        let in_order = self.rcv_nxt != before;
        outcome.readable |= in_order;
        if had_holes || !in_order {
            // A gap opens, closes or stays, or nothing is new: the peer wants to know at once (RFC 5681, 4.2).
            self.pending |= pending::ACK;
        } else {
            self.owe_ack(segment.payload.len, now);
        }
    }

    /// Where data ends that may be kept: at the window's edge or the FIN.
    fn last_wanted(&self) -> u32 {
        let fin = self.holes.as_ref().and_then(|holes| holes.fin);
        fin.filter(|fin| after(self.rcv_edge, *fin)).unwrap_or(self.rcv_edge)
    }

    /// Stores `first..end` of a segment, in order or ahead of a gap.
    fn keep(&mut self, segment: &Segment<'_>, first: u32, end: u32) {
        let (from, to) = (span(segment.seq, first) as usize, span(segment.seq, end) as usize);
        if first == self.rcv_nxt {
            self.append(segment, from, to);
            self.join_holes(end);
            return;
        }
        let pieces_max = PIECES_MIN + (self.rcv_limit / PIECE_SHARE) as usize;
        if self.holes.get_or_insert_default().insert(self.rcv_nxt, first, end, pieces_max) {
            let ahead = span(self.rcv_nxt, first) as usize;
            segment.payload.for_each(from, to, |at, bytes| self.rx.put(ahead + at - from, bytes));
        }
    }

    /// Adds the bytes `from..to` of a segment's payload to what can be read.
    #[inline]
    fn append(&mut self, segment: &Segment<'_>, from: usize, to: usize) {
        match segment.payload.first.get(from..to) {
            Some(bytes) => self.rx.push(bytes),
            None => self.append_pieces(segment, from, to),
        }
        self.rcv_nxt = self.rcv_nxt.wrapping_add((to - from) as u32);
    }

    #[inline(never)]
    fn append_pieces(&mut self, segment: &Segment<'_>, from: usize, to: usize) {
        segment.payload.for_each(from, to, |_, bytes| self.rx.push(bytes));
    }

    /// Data up to `end` was appended; takes along what waited behind it.
    fn join_holes(&mut self, end: u32) {
        if let Some(holes) = &mut self.holes {
            let reached = holes.join(end);
            self.rx.extend(span(end, reached) as usize);
            self.rcv_nxt = reached;
        }
    }

    /// Takes the FIN in when everything before it is there; lets the record of gaps go when there are none.
    fn pass_fin(&mut self, outcome: &mut Outcome) {
        let Some(holes) = &self.holes else { return };
        if holes.fin == Some(self.rcv_nxt) {
            self.holes = None;
            self.on_fin(outcome);
        } else if holes.is_empty() {
            self.holes = None;
        }
    }

    fn on_fin(&mut self, outcome: &mut Outcome) {
        self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
        self.rcv_edge = later(self.rcv_edge, self.rcv_nxt);
        self.fin_received = true;
        self.pending |= pending::ACK;
        outcome.readable = true;
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.finish(State::TimeWait, outcome),
            _ => {}
        }
    }

    /// Both directions are done. In TIME-WAIT the last acknowledgement is still to be sent.
    pub(super) fn finish(&mut self, state: State, outcome: &mut Outcome) {
        let last = self.pending & pending::ACK;
        self.end(Gone::Finished);
        self.state = state;
        self.pending = if state == State::TimeWait { last } else { 0 };
        outcome.closed = true;
    }

    /// Data in order came: every second full segment is acknowledged at once, others a little later unless data
    /// goes along (RFC 9293, 3.8.6.3).
    #[inline]
    fn owe_ack(&mut self, len: usize, now: Instant) {
        self.mss_seen = self.mss_seen.max(len.min(self.mss_in.into()) as u16);
        if span(self.rcv_acked, self.rcv_nxt) >= 2 * u32::from(self.mss_seen) {
            self.pending |= pending::ACK;
        } else if self.ack_at == Instant::FOREVER {
            self.ack_at = shift(now, ACK_DELAY);
        }
    }

    /// Doubles the window when the application has read half of it within a round trip.
    #[inline]
    fn watch_reading(&mut self, now: Instant, budget: &mut Budget) {
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
