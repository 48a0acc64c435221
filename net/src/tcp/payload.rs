//! What of a segment's payload is kept: in order, ahead of a gap, and the FIN. RFC 9293, 3.10.7.4, seventh and eighth.

use super::{
    Outcome, Segment, State, Tcb, flag, pending,
    segment::{after, later, span},
    tuning::{PIECE_SHARE, PIECES_MIN},
    types::Gone,
};
use unikernel_rt::time::Instant;

impl Tcb {
    /// Keeps what is new of a segment's payload, and its FIN.
    pub(super) fn on_payload(&mut self, segment: &Segment<'_>, now: Instant, outcome: &mut Outcome) {
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
    pub(super) fn append(&mut self, segment: &Segment<'_>, from: usize, to: usize) {
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
}
