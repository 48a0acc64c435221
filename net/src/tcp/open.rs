//! Opening: what a SYN agrees on, and the states before ESTABLISHED. RFC 9293, 3.5 and 3.10.7.3.

use super::{
    Opened, Outcome, Segment, Settings, State, SynOptions, Tcb, flag, pending,
    segment::span,
    timers::micros,
    tuning::{MSS_DEFAULT, MSS_MIN},
    types::Gone,
};
use unikernel_rt::time::{Duration, Instant};

impl Tcb {
    /// Opens actively: SYN-SENT, and the SYN is the next segment.
    pub(crate) fn connect(settings: &Settings, iss: u32, now: Instant) -> Tcb {
        let mut tcb = Tcb::new(settings, iss, now);
        tcb.state = State::SynSent;
        tcb.rcv_scale = settings.own_scale();
        tcb.pending = pending::SYN;
        tcb
    }

    /// A connection whose handshake the caller has done; called when the last ACK arrives. That segment then goes to
    /// [`on_segment`](Self::on_segment), too, as it may carry data.
    pub(crate) fn established(settings: &Settings, opened: &Opened, now: Instant) -> Tcb {
        let mut tcb = Tcb::new(settings, opened.iss.wrapping_add(1), now);
        tcb.rcv_scale = opened.own_scale;
        tcb.agree(opened.mss, opened.peer_scale, opened.sack);
        tcb.start_receiving(opened.irs);
        tcb.set_window(opened.irs, opened.window);
        if let Some(rtt) = opened.rtt {
            tcb.on_round_trip(rtt);
        }
        tcb.state = State::Established;
        tcb
    }

    /// Settles what the options of both SYNs decide.
    fn agree(&mut self, mss: Option<u16>, peer_scale: Option<u8>, sack: bool) {
        self.mss = mss.unwrap_or(MSS_DEFAULT).max(MSS_MIN).min(self.mss);
        self.sack = sack;
        match peer_scale {
            Some(scale) => self.snd_scale = scale,
            None => {
                self.rcv_scale = 0;
                self.window_max = self.window_max.min(u16::MAX.into());
            }
        }
        self.cwnd = self.initial_cwnd();
    }

    fn start_receiving(&mut self, irs: u32) {
        self.rcv_nxt = irs.wrapping_add(1);
        self.rcv_acked = self.rcv_nxt;
        self.read_seq = self.rcv_nxt;
        // The window of a SYN is not scaled.
        self.rcv_edge = self.rcv_nxt.wrapping_add(self.rcv_limit.min(self.window_max));
    }

    pub(super) fn set_window(&mut self, seq: u32, window: u32) {
        self.snd_wl1 = seq;
        self.snd_wnd = window;
        self.snd_wnd_max = self.snd_wnd_max.max(window);
    }

    /// A segment in SYN-SENT.
    #[cold]
    pub(super) fn on_answer(&mut self, segment: &Segment<'_>, now: Instant) -> Outcome {
        let answers = segment.has(flag::ACK) && segment.ack == self.snd_nxt && self.snd_nxt != self.snd_una;
        if segment.has(flag::ACK) && !answers {
            // An old connection of the peer's answers: the reset lets it forget that, and the SYN is tried again.
            if !segment.has(flag::RST) {
                self.reset_seq = segment.ack;
                self.pending |= pending::RESET;
            }
            return Outcome::default();
        }
        match (segment.has(flag::RST), segment.has(flag::SYN)) {
            (true, _) if answers => self.end_by_peer(Gone::Reset),
            (false, true) => self.on_syn(segment, answers, now),
            _ => Outcome::default(),
        }
    }

    fn on_syn(&mut self, segment: &Segment<'_>, answers: bool, now: Instant) -> Outcome {
        let syn = SynOptions::parse(segment.options);
        self.agree(syn.mss, syn.scale, syn.sack);
        self.start_receiving(segment.seq);
        self.set_window(segment.seq, segment.window.into());
        self.heard_at = now;
        if answers {
            return self.on_opened(now);
        }
        // Both sides open at once (RFC 9293, figure 7): ours is sent again as SYN|ACK.
        self.state = State::SynReceived;
        self.pending |= pending::SYN;
        Outcome::default()
    }

    /// Our SYN is acknowledged.
    pub(super) fn on_opened(&mut self, now: Instant) -> Outcome {
        self.snd_una = self.snd_nxt;
        if self.timing {
            self.on_round_trip(now - self.timed_at);
        }
        self.timing = false;
        self.backoff = 0;
        self.stop_timer();
        self.state = State::Established;
        self.pending = pending::ACK | if self.fin_queued { pending::DATA } else { 0 };
        Outcome { established: true, writable: true, ..Outcome::default() }
    }

    /// A segment in SYN-RECEIVED, which only a simultaneous open leads to. True when it opens the connection.
    pub(super) fn opens(&self, segment: &Segment<'_>) -> bool {
        let ours = segment.has(flag::ACK) && !segment.has(flag::RST) && segment.ack == self.snd_nxt;
        // The peer's SYN|ACK repeats its SYN, so it starts one before what is expected.
        let expected = if segment.has(flag::SYN) { self.rcv_nxt.wrapping_sub(1) } else { self.rcv_nxt };
        ours && self.state == State::SynReceived && span(expected, segment.seq) <= self.rcv_wnd()
    }

    /// What our SYN or SYN|ACK says. The latter repeats only what the peer offered.
    pub(super) fn syn_options(&self) -> SynOptions {
        let answered = self.state == State::SynReceived;
        let scales = !answered || self.window_max > u16::MAX.into() || self.snd_scale > 0;
        SynOptions { mss: Some(self.mss_in), scale: scales.then_some(self.rcv_scale), sack: !answered || self.sack }
    }

    pub(super) fn on_round_trip(&mut self, rtt: Duration) {
        self.measure(micros(rtt));
    }
}
