//! The application's side: reading, writing, closing, settings, memory.

use super::{
    Budget, Outgoing, ReadResult, State, Tcb, WriteResult, flag, pending,
    ring::RING_LEN_MIN,
    timers::{Timer, micros},
    tuning::{MSS_MIN, SEND_INITIAL, WINDOW_INITIAL},
    types::Gone,
};
use unikernel_rt::time::{Duration, Instant};

impl Tcb {
    /// Takes received data. What came before a reset can still be read.
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> ReadResult {
        if self.rx.is_empty() {
            return self.no_data();
        }
        let len = buffer.len().min(self.rx.len());
        self.rx.copy(0, &mut buffer[..len]);
        self.consume(len);
        ReadResult::Data(len)
    }

    fn no_data(&self) -> ReadResult {
        match self.gone {
            _ if self.fin_received => ReadResult::Finished,
            Some(gone) => ReadResult::Gone(gone),
            None => ReadResult::NotYet,
        }
    }

    /// Received data, as far as it lies in one piece.
    #[inline]
    pub(crate) fn readable(&self) -> &[u8] {
        self.rx.front()
    }

    /// Drops the first `len` bytes of what was received.
    #[inline]
    pub(crate) fn consume(&mut self, len: usize) {
        self.rx.consume(len);
        if self.rx.is_empty() && self.holes.is_none() {
            self.rx.rewind();
        }
        if self.rcv_wnd() <= self.rcv_limit / 2 {
            self.consider_update();
        }
    }

    /// Tells the peer about the room that reading made. Doubling what was told keeps updates few while a full buffer
    /// is read in small pieces.
    #[inline(never)]
    fn consider_update(&mut self) {
        let (told, fresh) = (self.rcv_wnd(), self.fresh_window());
        if fresh / 2 >= told && self.is_worth_telling(told, fresh) && self.may_receive() {
            self.pending |= pending::ACK;
        }
    }

    fn may_receive(&self) -> bool {
        !self.fin_received && matches!(self.state, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Takes data to send.
    #[inline]
    pub(crate) fn write(&mut self, data: &[u8], budget: &mut Budget) -> WriteResult {
        if self.fin_queued || !matches!(self.state, State::Established | State::CloseWait) {
            return self.no_room();
        }
        if self.tx.len() + data.len() > self.snd_limit as usize {
            self.grow_send_buffer(budget);
        }
        let room = (self.snd_limit as usize).saturating_sub(self.tx.len());
        let len = data.len().min(room);
        if len < data.len() {
            self.write_blocked = true;
        }
        if len > 0 {
            self.tx.push(&data[..len]);
            self.pending |= pending::DATA;
        }
        WriteResult::Taken(len)
    }

    #[cold]
    fn no_room(&mut self) -> WriteResult {
        if let Some(gone) = self.gone {
            return WriteResult::Gone(gone);
        }
        if self.fin_queued {
            return WriteResult::Closed;
        }
        self.write_blocked = true;
        WriteResult::Taken(0)
    }

    /// Lets two congestion windows wait: one flies, one follows.
    #[cold]
    fn grow_send_buffer(&mut self, budget: &mut Budget) {
        let wanted = self.cwnd.saturating_mul(2).min(self.send_max);
        while self.snd_limit < wanted && budget.take(self.snd_limit as usize) {
            self.snd_limit *= 2;
        }
    }

    /// Bytes written and not acknowledged.
    #[inline]
    pub(crate) fn unacknowledged_len(&self) -> usize {
        self.tx.len()
    }

    /// Bytes received and not read.
    #[inline]
    pub(crate) fn unread_len(&self) -> usize {
        self.rx.len()
    }

    /// Sends a FIN after what was written. Reading goes on.
    pub(crate) fn close(&mut self) {
        match self.state {
            State::SynSent => self.end(Gone::Aborted),
            State::SynReceived => self.fin_queued = true,
            State::Established | State::CloseWait => {
                self.fin_queued = true;
                self.pending |= pending::DATA;
            }
            _ => {}
        }
    }

    /// Ends the connection at once. Gives the RST that tells the peer, when it has one to tell.
    pub(crate) fn abort(&mut self) -> Option<Outgoing> {
        let has_peer = !matches!(self.state, State::SynSent | State::TimeWait | State::Closed);
        let reset = has_peer.then(|| self.bare(self.bare_seq(), 0, flag::RST | flag::ACK));
        if self.state != State::Closed {
            self.end(Gone::Aborted);
        }
        reset
    }

    /// Whether small segments go out at once (the default) or wait while others are unacknowledged (Nagle's
    /// algorithm; RFC 9293, 3.7.4).
    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        self.nagle = !nodelay;
        if self.unsent() > 0 {
            self.pending |= pending::DATA;
        }
    }

    /// Asks the peer for a sign of life after this silence, and three more times; then the connection is dead.
    pub(crate) fn set_keep_alive(&mut self, interval: Option<Duration>, now: Instant) {
        self.keep_alive = interval;
        self.plan_slow_timer(now);
    }

    /// How often in a row nothing was acknowledged in time.
    pub(crate) fn silences(&self) -> u8 {
        self.backoff
    }

    /// How long data may stay unacknowledged (RFC 5482). From the next timeout on.
    pub(crate) fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.user_timeout = timeout.map_or(u64::MAX, micros);
    }

    /// The path takes segments of this payload at most. What flies in longer ones is sent again; that is no sign of
    /// congestion (RFC 1191, 6.5).
    pub(crate) fn on_mtu(&mut self, mss_out_max: u16, now: Instant) {
        let mss = mss_out_max.max(MSS_MIN);
        if mss >= self.mss {
            return;
        }
        self.mss = mss;
        self.cwnd = self.cwnd.max(mss.into());
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        if !opening && self.flight() > u32::from(mss) && self.timer != Timer::Off {
            self.resend_all();
            self.start_retransmit_timer(now);
        }
    }

    pub(super) fn has_large_buffers(&self) -> bool {
        self.rx.capacity() > RING_LEN_MIN || self.tx.capacity() > RING_LEN_MIN
    }

    /// Frees buffers that are empty and larger than those a connection starts with.
    pub(super) fn release_drained(&mut self) {
        if self.rx.is_empty() && self.holes.is_none() && self.rx.capacity() > RING_LEN_MIN {
            self.rx.release();
        }
        if self.tx.is_empty() && self.tx.capacity() > RING_LEN_MIN {
            self.tx.release();
        }
    }

    /// Frees what a connection does not need now. A window that the peer was told stays reserved.
    pub(crate) fn trim(&mut self, budget: &mut Budget) {
        if self.rx.is_empty() && self.holes.is_none() {
            self.rx.release();
            let told = self.rcv_wnd().next_power_of_two().max(WINDOW_INITIAL);
            if told < self.rcv_limit {
                budget.give((self.rcv_limit - told) as usize);
                self.rcv_limit = told;
            }
        }
        if self.tx.is_empty() {
            self.tx.release();
            budget.give((self.snd_limit - SEND_INITIAL) as usize);
            self.snd_limit = SEND_INITIAL;
        }
    }

    /// Gives everything back to the budget; to be called before the connection is dropped.
    pub(crate) fn release(&mut self, budget: &mut Budget) {
        budget.give((self.rcv_limit - WINDOW_INITIAL) as usize + (self.snd_limit - SEND_INITIAL) as usize);
        (self.rcv_limit, self.snd_limit) = (WINDOW_INITIAL, SEND_INITIAL);
        budget.keep(&mut self.rx);
        budget.keep(&mut self.tx);
    }

    /// Begins with memory that other connections have used, if there is some. Only for a new one.
    pub(crate) fn equip(&mut self, budget: &mut Budget) {
        self.rx = budget.ring();
        self.tx = budget.ring();
    }
}
