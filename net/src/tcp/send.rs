//! The next segment to send: new data and the FIN, after what is to be sent again, before what has no data.

use super::{Options, Outgoing, State, Tcb, flag, pending, segment::span, timers::Timer};
use unikernel_rt::time::Instant;

impl Tcb {
    /// The next segment that should go out now, with at most `payload_max` bytes of payload; 0, or less than the peer
    /// takes in a segment, stands for one segment. More is for devices that cut it. Counts as sent; call again until
    /// None.
    #[inline]
    pub(crate) fn next_segment(&mut self, payload_max: usize, now: Instant) -> Option<Outgoing> {
        let payload_max = payload_max.max(self.mss.into());
        if self.pending & pending::DATA != 0 {
            if let Some(len) = self.easy_len(payload_max, now) {
                return Some(self.send_easy(len, now));
            }
            let outgoing = self.next_data(payload_max as u32, now);
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
        if first && self.timer == Timer::Off && self.flight() <= self.mss.into() {
            self.start_first_wait(now);
        } else {
            self.on_more_sent(first, now);
        }
    }

    #[inline(never)]
    fn on_more_sent(&mut self, first: bool, now: Instant) {
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
        // Options take their place in a segment, too; only a device that cuts takes more.
        let payload_max = if payload_max > self.mss.into() { payload_max } else { mss };
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
    pub(super) fn segment(&mut self, seq: u32, len: u32, fin: bool, mss: u32, options: Options) -> Outgoing {
        let offset = span(self.snd_una, seq);
        let pushes = len > 0 && offset + len == self.tx.len() as u32;
        let flags = flag::ACK | if pushes { flag::PSH } else { 0 } | if fin { flag::FIN } else { 0 };
        let window = self.tell_window();
        self.acked_now();
        Outgoing { seq, ack: self.rcv_nxt, window, flags, options, offset, len, segment_len: mss as u16 }
    }

    #[inline]
    pub(super) fn acked_now(&mut self) {
        self.pending &= !pending::ACK;
        self.ack_at = Instant::FOREVER;
        self.rcv_acked = self.rcv_nxt;
    }

    #[inline]
    pub(super) fn ack_options(&self) -> Options {
        match &self.holes {
            Some(holes) if self.sack => holes.option(self.rcv_nxt),
            _ => Options::None,
        }
    }
}
