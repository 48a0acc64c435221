//! Lets flows send, and finds out when to look at them again.

use super::Net;
use crate::{
    engine::{Sent, State},
    error::Error,
    limits::{SEGMENTS_PER_TURN, STALL_RETRY},
};
use unikernel_rt::time::Instant;

impl Net {
    pub(super) fn run_timers(&mut self, now: Instant) {
        while !self.link.is_full()
            && let Some(id) = self.timers.pop(now)
        {
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
        let mut surely = core::mem::take(&mut flow.wrote);
        let mut sent = Sent::One;
        for _ in 0..SEGMENTS_PER_TURN {
            let flow = &mut self.flows[id as usize];
            self.counters.flow_polls += 1;
            if !surely {
                let due = self.engine.due(&mut flow.tcb, flow.path, now);
                if due > now {
                    return self.look_again(id, due);
                }
                if sent == Sent::Nothing {
                    return self.look_again(id, now + STALL_RETRY);
                }
            }
            surely = false;
            sent = self.engine.send(&mut self.link, &mut flow.tcb, flow.path, now);
            match sent {
                Sent::One => self.note_sent(id),
                Sent::Nothing => {}
                Sent::Unresolved => self.unresolved.push(id),
                Sent::NoRoom => {
                    flow.wrote = true;
                    return self.mark_dirty(id);
                }
            }
            if self.is_gone(id) {
                return;
            }
        }
        self.mark_dirty(id);
    }

    #[inline]
    fn look_again(&mut self, id: u32, due: Instant) {
        let at = due.min(self.flows[id as usize].limit_at);
        if at < Instant::FOREVER {
            self.timers.set(id, at);
        }
    }

    /// Counts data that was sent before.
    #[inline]
    fn note_sent(&mut self, id: u32) {
        let Some((sequence, len)) = self.link.take_sent() else { return };
        let flow = &mut self.flows[id as usize];
        match flow.sent_to {
            Some(sent_to) if (sequence.wrapping_sub(sent_to) as i32) < 0 => self.counters.retransmits += 1,
            _ => flow.sent_to = Some(sequence.wrapping_add(len)),
        }
    }

    /// Whether the flow ended while it was asked to send; then it is dealt with.
    fn is_gone(&mut self, id: u32) -> bool {
        let flow = &mut self.flows[id as usize];
        if flow.tcb.state() != State::Closed || flow.tcb.has_peer() {
            return false;
        }
        let has_address = self.address.is_some_and(|own| own.address() == *flow.key.local().ip());
        flow.end.get_or_insert(if has_address { Error::TimedOut } else { Error::AddressLost });
        self.gone(id);
        true
    }
}
