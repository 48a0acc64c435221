//! Segments without data: acknowledgements, probes, resets, and the SYN.

use super::{Options, Outgoing, State, Tcb, flag, pending, segment::after};
use unikernel_rt::time::Instant;

impl Tcb {
    /// A segment without data.
    #[inline(never)]
    pub(super) fn next_bare(&mut self, now: Instant) -> Option<Outgoing> {
        let mut due = |bit: u8| {
            let is_due = self.pending & bit != 0;
            self.pending &= !bit;
            is_due
        };
        if due(pending::RESET) {
            return Some(self.bare(self.reset_seq, 0, flag::RST));
        }
        if due(pending::SYN) {
            return Some(self.send_syn(now));
        }
        if due(pending::PROBE) {
            let (window, seq) = (self.tell_window(), self.snd_una.wrapping_sub(1));
            return Some(self.bare(seq, window, flag::ACK));
        }
        if due(pending::ACK) {
            let (window, options) = (self.tell_window(), self.ack_options());
            self.acked_now();
            return Some(Outgoing { options, ..self.bare(self.bare_seq(), window, flag::ACK) });
        }
        None
    }

    /// A segment with nothing but its header.
    pub(super) fn bare(&self, seq: u32, window: u16, flags: u8) -> Outgoing {
        let ack = if flags & flag::ACK != 0 { self.rcv_nxt } else { 0 };
        let segment_len = self.mss;
        Outgoing { seq, ack, window, flags, options: Options::None, offset: 0, len: 0, segment_len }
    }

    /// The sequence number of a segment without data: the next, or the end of the peer's window when that has gone
    /// back, as a segment beyond it would not be looked at. (Less than the window's unit is rounding.)
    pub(super) fn bare_seq(&self) -> u32 {
        let end = self.snd_una.wrapping_add(self.snd_wnd);
        if after(self.snd_nxt, end.wrapping_add((1 << self.snd_scale) - 1)) { end } else { self.snd_nxt }
    }

    fn send_syn(&mut self, now: Instant) -> Outgoing {
        let is_first = self.snd_nxt == self.snd_una;
        self.snd_nxt = self.snd_una.wrapping_add(1);
        if is_first {
            (self.timing, self.timed_seq, self.timed_at) = (true, self.snd_nxt, now);
            self.start_retransmit_timer(now);
        } else {
            self.timing = false;
        }
        let answers = self.state == State::SynReceived;
        self.pending &= !pending::ACK;
        let window = self.rcv_limit.min(self.window_max).min(u16::MAX.into()) as u16;
        let flags = flag::SYN | if answers { flag::ACK } else { 0 };
        Outgoing { options: Options::Syn(self.syn_options()), ..self.bare(self.snd_una, window, flags) }
    }
}
