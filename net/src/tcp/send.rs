//! The next segment to send: a repeat, new data, the FIN, or a bare acknowledgement.

use super::{
    Options, Outgoing, State, Tcb, flag, pending,
    segment::{after, later, span},
    timers::Timer,
};
use unikernel_rt::time::Instant;

impl Tcb {
    /// The next segment that should go out now, with at most `payload_max` bytes of payload (more than one segment's
    /// when the device splits). Counts as sent; call again until None.
    #[inline]
    pub(crate) fn next_segment(&mut self, payload_max: usize, now: Instant) -> Option<Outgoing> {
        if self.pending & pending::DATA != 0 {
            if let Some(len) = self.easy_len(payload_max, now) {
                return Some(self.send_easy(len, now));
            }
            let outgoing = self.next_data((payload_max as u32).max(1), now);
            if outgoing.is_some() {
                return outgoing;
            }
            self.pending &= !pending::DATA;
        }
        if self.pending == 0 { None } else { self.next_bare(now) }
    }

    /// Copies the payload of `outgoing` to `into`, which has `outgoing.len` bytes.
    #[inline]
    pub(crate) fn copy_payload(&self, outgoing: &Outgoing, into: &mut [u8]) {
        self.tx.copy(outgoing.offset as usize, into);
    }

    /// The usual case: everything there is to send may go out as one, and nothing else is to be said. How much that is.
    #[inline]
    fn easy_len(&self, payload_max: usize, now: Instant) -> Option<u32> {
        let flight = self.flight();
        let idle = now.as_micros().wrapping_sub(self.timed_at.as_micros()) > self.rto.into();
        if self.lossy || self.fin_queued || self.nagle || self.holes.is_some() || idle {
            return None;
        }
        let unsent = (self.tx.len() as u32).wrapping_sub(flight);
        let room = self.snd_wnd.min(self.cwnd).saturating_sub(flight);
        (unsent > 0 && unsent <= room && unsent as usize <= payload_max).then_some(unsent)
    }

    #[inline]
    fn send_easy(&mut self, len: u32, now: Instant) -> Outgoing {
        let (seq, offset) = (self.snd_nxt, self.flight());
        self.snd_nxt = seq.wrapping_add(len);
        self.on_new_sent(offset == 0, now);
        let window = self.tell_window();
        self.acked_now();
        self.pending &= !pending::DATA;
        let flags = flag::ACK | flag::PSH;
        let segment_len = self.mss;
        Outgoing { seq, ack: self.rcv_nxt, window, flags, options: Options::None, offset, len, segment_len }
    }

    /// New data, up to `snd_nxt`, goes out; `first`: nothing else flies. Round trip and timer.
    #[inline]
    fn on_new_sent(&mut self, first: bool, now: Instant) {
        if !self.timing && !self.lossy {
            self.timing = true;
            (self.timed_seq, self.timed_at) = (self.snd_nxt, now);
        }
        if self.timer == Timer::Persist {
            (self.backoff, self.overrides) = (0, false);
        }
        if first || self.timer != Timer::Retransmit || self.probes_tail() {
            self.start_retransmit_timer(now);
        }
    }

    #[inline(never)]
    fn next_data(&mut self, payload_max: u32, now: Instant) -> Option<Outgoing> {
        let options = self.ack_options();
        let mss = (u32::from(self.mss) - options.len() as u32).min(payload_max);
        if self.lossy {
            let repeat = self.next_repeat(payload_max, mss, options, now);
            if repeat.is_some() {
                return repeat;
            }
        }
        let unsent = self.unsent();
        if unsent == 0 && !self.fin_unsent() {
            return None;
        }
        if self.flight() == 0 {
            self.restart_after_idle(now);
        }
        let len = self.new_len(unsent, payload_max, mss);
        let fin = self.fin_unsent() && len == unsent && self.usable_window() > len;
        if len == 0 && !fin {
            self.wait_for_window(now);
            return None;
        }
        Some(self.send_new(len, fin, mss, options, now))
    }

    /// What the peer's window still takes.
    #[inline]
    fn usable_window(&self) -> u32 {
        self.snd_wnd.saturating_sub(self.flight())
    }

    /// How much new data goes out now.
    #[inline]
    fn new_len(&mut self, unsent: u32, payload_max: u32, mss: u32) -> u32 {
        let (window, room) = (self.usable_window(), self.cwnd.saturating_sub(self.pipe()));
        let len = unsent.min(window).min(room).min(payload_max);
        let whole = len - len % mss;
        if self.defers(whole, payload_max, mss) && len < unsent {
            return 0;
        }
        let waits = if len == unsent {
            // Nagle: the last, short piece waits until everything is acknowledged; not when a FIN comes after it.
            self.nagle && self.flight() > 0 && !self.fin_queued
        } else {
            // Silly windows (RFC 9293, 3.8.6.2.1): less than a segment goes only if it fills half of the largest window.
            let pushes = len == window && (len >= self.snd_wnd_max / 2 || self.overrides);
            whole > 0 || !pushes
        };
        if waits { whole } else { len }
    }

    /// Whether to wait until more can go out as one, where the device splits: while half of what may fly does, the next
    /// acknowledgements make room.
    #[inline]
    fn defers(&self, len: u32, payload_max: u32, mss: u32) -> bool {
        let may_fly = self.cwnd.min(self.snd_wnd);
        payload_max > mss
            && !self.lossy
            && len < payload_max.min(may_fly / 4) / mss * mss
            && self.flight() >= may_fly / 2
    }

    /// Nothing can be sent; if nothing will be acknowledged either, only a probe brings news.
    fn wait_for_window(&mut self, now: Instant) {
        if self.flight() == 0 {
            self.start_persist_timer(now);
        }
    }

    #[inline]
    fn send_new(&mut self, len: u32, fin: bool, mss: u32, options: Options, now: Instant) -> Outgoing {
        let (seq, first) = (self.snd_nxt, self.flight() == 0);
        let outgoing = self.segment(seq, len, fin, mss, options);
        self.snd_nxt = seq.wrapping_add(len + u32::from(fin));
        if fin {
            self.on_fin_sent();
        }
        self.on_new_sent(first, now);
        if self.unsent() == 0 && !self.fin_unsent() && !self.lossy {
            self.pending &= !pending::DATA;
        }
        outgoing
    }

    fn on_fin_sent(&mut self) {
        self.fin_sent = true;
        match self.state {
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => {}
        }
    }

    /// A segment with the bytes of `tx` from `seq` on. Whatever goes out acknowledges.
    #[inline]
    fn segment(&mut self, seq: u32, len: u32, fin: bool, mss: u32, options: Options) -> Outgoing {
        let offset = span(self.snd_una, seq);
        let pushes = len > 0 && offset + len == self.tx.len() as u32;
        let flags = flag::ACK | if pushes { flag::PSH } else { 0 } | if fin { flag::FIN } else { 0 };
        let window = self.tell_window();
        self.acked_now();
        Outgoing { seq, ack: self.rcv_nxt, window, flags, options, offset, len, segment_len: mss as u16 }
    }

    #[inline]
    fn acked_now(&mut self) {
        self.pending &= !pending::ACK;
        self.ack_at = Instant::FOREVER;
        self.rcv_acked = self.rcv_nxt;
    }

    #[inline]
    fn ack_options(&self) -> Options {
        match &self.holes {
            Some(holes) if self.sack => holes.option(self.rcv_nxt),
            _ => Options::None,
        }
    }

    /// Something that was sent before, if it is lost and may go out.
    #[inline(never)]
    fn next_repeat(&mut self, payload_max: u32, mss: u32, options: Options, now: Instant) -> Option<Outgoing> {
        let (una, nxt) = (self.snd_una, self.snd_nxt);
        let (pipe, cwnd) = (self.pipe(), self.cwnd);
        let recovery = self.recovery.as_mut().filter(|_| una != nxt)?;
        if core::mem::take(&mut recovery.probes) {
            let first = later(una, nxt.wrapping_sub(mss));
            return Some(self.repeat(first, nxt, mss, mss, options).0);
        }
        let urgent = recovery.urgent;
        let (first, end) = recovery.lost(una, nxt, mss)?;
        let room = if urgent { mss } else { cwnd.saturating_sub(pipe) };
        let window = match self.snd_wnd.saturating_sub(span(una, first)) {
            // The peer took its window back: the first segment probes it.
            0 if first == una => mss,
            window => window,
        };
        let len = span(first, end).min(payload_max.max(mss)).min(window);
        if len == 0 || room < len.min(mss) {
            return None;
        }
        let len = len.min(room);
        let len = if len > mss { len - len % mss } else { len };
        let (outgoing, sent) = self.repeat(first, end, len, mss, options);
        self.recovery().on_resent(first, sent, una, nxt);
        if self.timer != Timer::Retransmit || first == una {
            self.start_retransmit_timer(now);
        }
        Some(outgoing)
    }

    /// Sends up to `len_max` of `first..end` again; also says where that ends.
    fn repeat(&mut self, first: u32, end: u32, len_max: u32, mss: u32, options: Options) -> (Outgoing, u32) {
        let data_end = self.snd_una.wrapping_add(self.tx.len() as u32);
        let data = if after(data_end, first) { span(first, data_end) } else { 0 };
        let len = data.min(len_max).min(span(first, end));
        let fin = self.fin_sent && len == data && after(end, data_end);
        let outgoing = self.segment(first, len, fin, mss, options);
        self.retransmits = self.retransmits.saturating_add(len.div_ceil(mss).max(1));
        self.timing = false;
        (outgoing, first.wrapping_add(len + u32::from(fin)))
    }

    /// A segment without data.
    #[inline(never)]
    fn next_bare(&mut self, now: Instant) -> Option<Outgoing> {
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
