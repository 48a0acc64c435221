//! What must hold after every step of a connection.

use super::super::{Outgoing, State, Tcb, flag, segment::after, timers::Timer};
use std::{format, string::String};

/// Remembers what must not go back.
pub(super) struct Watch {
    edge: u32,
    una: u32,
    nxt: u32,
    rcv_nxt: u32,
    told: Option<u32>,
}

impl Watch {
    pub(super) fn new(tcb: &Tcb) -> Watch {
        Watch { edge: tcb.rcv_edge, una: tcb.snd_una, nxt: tcb.snd_nxt, rcv_nxt: tcb.rcv_nxt, told: None }
    }

    pub(super) fn check(&mut self, tcb: &Tcb) {
        if tcb.state() == State::SynSent {
            self.edge = tcb.rcv_edge;
            return;
        }
        if self.rcv_nxt == 0 {
            (self.edge, self.rcv_nxt) = (tcb.rcv_edge, tcb.rcv_nxt);
        }
        assert!(!after(tcb.snd_una, tcb.snd_nxt), "more is acknowledged than was sent");
        assert!(!after(self.edge, tcb.rcv_edge), "the window's edge goes back");
        assert!(!after(self.una, tcb.snd_una) && !after(self.nxt, tcb.snd_nxt), "a number goes back");
        assert!(!after(self.rcv_nxt, tcb.rcv_nxt) && !after(tcb.rcv_nxt, tcb.rcv_edge));
        assert!(tcb.rx.capacity() <= (tcb.rcv_limit as usize).max(4096), "more is stored than was promised");
        assert!(tcb.tx.len() <= tcb.snd_limit as usize);
        assert!(tcb.state() == State::Closed || tcb.pipe() <= tcb.flight());
        (self.edge, self.una, self.nxt, self.rcv_nxt) = (tcb.rcv_edge, tcb.snd_una, tcb.snd_nxt, tcb.rcv_nxt);
        if tcb.flight() > 0 && tcb.state() != State::TimeWait && tcb.state() != State::Closed {
            assert!(tcb.timer != Timer::Off && tcb.timer != Timer::Persist, "something flies without a timer");
        }
    }

    pub(super) fn check_outgoing(&mut self, tcb: &Tcb, outgoing: &Outgoing, payload_max: usize) {
        self.check(tcb);
        assert!(outgoing.len as usize <= payload_max.max(outgoing.segment_len.into()));
        if outgoing.flags & (flag::SYN | flag::RST) == 0 {
            let edge = outgoing.ack.wrapping_add(u32::from(outgoing.window) << tcb.rcv_scale);
            let unit = 1 << tcb.rcv_scale;
            assert!(self.told.is_none_or(|told| !after(told, edge.wrapping_add(unit))), "the window told shrinks");
            self.told = Some(edge);
        }
    }
}

impl Tcb {
    /// For the message of a test that is stuck.
    pub(in super::super) fn picture(&self) -> String {
        format!(
            "una {} nxt {} wnd {} cwnd {} pipe {} tx {} pending {} timer {:?} backoff {} lossy {} rcv_nxt {} edge {} rx {} above {}",
            self.snd_una,
            self.snd_nxt,
            self.snd_wnd,
            self.cwnd,
            self.pipe(),
            self.tx.len(),
            self.pending,
            self.timer,
            self.backoff,
            self.lossy,
            self.rcv_nxt,
            self.rcv_edge,
            self.rx.len(),
            self.holes.as_ref().map_or(0, |holes| holes.len())
        )
    }
}
