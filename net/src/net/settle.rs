//! Lets flows send, and finds out when to look at them again.

use super::Net;
use crate::{
    engine::{Sent, State},
    error::Error,
    limits::{RTO_MIN, SEGMENTS_PER_TURN, STALL_RETRY},
};
use unikernel_rt::time::Instant;

impl Net {
    pub(super) fn run_timers(&mut self, now: Instant) {
        while !self.link.is_full()
            && let Some(id) = self.timers.pop(now)
        {
            self.flows[id as usize].timer_at = Instant::FOREVER;
            self.settle(id, now);
        }
    }

    /// Looks at the flows that were dirty when it began; those that become dirty now come next time.
    pub(super) fn settle_dirty(&mut self, now: Instant) {
        for _ in 0..self.dirty.len() {
            if self.link.is_full() {
                return;
            }
            let Some(id) = self.dirty.pop_front() else { return };
            if let Some(flow) = self.flows.get_mut(id as usize)
                && flow.dirty
            {
                flow.dirty = false;
                self.settle(id, now);
            }
        }
    }

    fn settle(&mut self, id: u32, now: Instant) {
        let flow = &mut self.flows[id as usize];
        if now >= flow.limit_at {
            return self.expire(id);
        }
        flow.adjust_timeout();
        let had_unsent = !flow.has_sent_all();
        let mut surely = core::mem::take(&mut flow.wrote);
        let mut sent = Sent::One;
        for _ in 0..SEGMENTS_PER_TURN {
            let flow = &mut self.flows[id as usize];
            self.counters.flow_polls += 1;
            if !surely {
                let due = self.engine.due(flow, now);
                if due > now {
                    return self.look_again(id, due);
                }
                if sent == Sent::Nothing {
                    return self.look_again(id, now + STALL_RETRY);
                }
            }
            sent = self.engine.send(&mut self.link, flow, now);
            match sent {
                // The usual case, an answer in one segment: what comes next is its acknowledgement, or a timer
                // that the engine never sets shorter.
                Sent::One if surely && had_unsent && flow.has_sent_all() && flow.tcb.state() == State::Established => {
                    let at = now + flow.user_timeout.map_or(RTO_MIN, |timeout| timeout.min(RTO_MIN));
                    return self.look_again(id, at);
                }
                Sent::One => {}
                Sent::Nothing => {}
                Sent::Unresolved => self.unresolved.push(id),
                Sent::NoRoom => {
                    flow.wrote = true;
                    return self.mark_dirty(id);
                }
            }
            surely = false;
            if self.is_gone(id) {
                return;
            }
        }
        self.mark_dirty(id);
    }

    #[inline]
    fn look_again(&mut self, id: u32, due: Instant) {
        let flow = &mut self.flows[id as usize];
        let at = due.min(flow.limit_at);
        // An earlier look finds out.
        if at < flow.timer_at {
            flow.timer_at = at;
            self.timers.set(id, at);
        }
    }

    /// Whether the flow ended while it was asked to send; then it is dealt with.
    fn is_gone(&mut self, id: u32) -> bool {
        let flow = &mut self.flows[id as usize];
        if flow.tcb.state() != State::Closed || flow.tcb.has_peer() {
            return false;
        }
        flow.end.get_or_insert(Error::TimedOut);
        self.gone(id);
        true
    }
}
