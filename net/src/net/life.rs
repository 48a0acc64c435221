//! Birth and death of flows. Every way out of a state ends here, so that none leaks.

use super::Net;
use crate::{
    engine::{Path, State},
    error::Error,
    flow::{Flow, Stage},
    flow_map::Slot,
    limits::{ORPHAN_DISCARD_LEN_MAX, ORPHAN_LIFE_MAX, ORPHAN_TIME_MAX, USER_TIMEOUT},
    packet::Segment,
};
use unikernel_rt::{
    device::Frame,
    time::{Duration, Instant},
};

impl Net {
    /// A packet met a flow that is not simply open, or left it so.
    pub(super) fn changed(&mut self, id: u32, state: State, frame: &Frame, segment: &Segment, now: Instant) {
        let flow = &mut self.flows[id as usize];
        match state {
            // The SYN was not acceptable, or the peer took it back.
            State::Listen => return self.free(id),
            State::Closed => {
                let end = if segment.is_reset() { Error::Reset } else { Error::Closed };
                flow.end.get_or_insert(end);
                return self.gone(id);
            }
            State::TimeWait if flow.last_numbers.is_none() => {
                flow.last_numbers = Some((segment.acknowledgement(frame), segment.next_sequence(frame)));
                if flow.stage == Stage::Orphan {
                    // The last acknowledgement needs no socket any more.
                    if segment.is_fin() {
                        let (sequence, acknowledgement) =
                            (segment.acknowledgement(frame), segment.next_sequence(frame));
                        let reply = segment.acknowledge(frame, sequence, acknowledgement);
                        self.link.send(reply);
                    }
                    return self.retire(id, now);
                }
            }
            State::SynReceived | State::SynSent => {}
            _ => {
                self.mark_dirty(id);
                return match self.flows[id as usize].stage {
                    Stage::HalfOpen => self.promote(id),
                    Stage::Orphan => self.attend_orphan(id, now),
                    _ => {}
                };
            }
        }
        self.mark_dirty(id);
    }

    /// The handshake is done: to the listener's queue.
    fn promote(&mut self, id: u32) {
        self.half_open.remove(&mut self.flows, id);
        let flow = &mut self.flows[id as usize];
        flow.limit_at = Instant::FOREVER;
        let backlog = self.listeners.get_mut(&flow.key.local_port());
        match backlog.filter(|backlog| backlog.ready.len() < self.backlog_max) {
            Some(backlog) => {
                flow.stage = Stage::Queued;
                backlog.ready.push_back(id);
                if let Some(waker) = backlog.waker.take() {
                    waker.wake();
                }
            }
            None => {
                self.counters.drops.backlog += 1;
                flow.stage = Stage::Orphan;
                self.reset(id);
            }
        }
    }

    /// Something came for an orphan: perhaps an acknowledgement, perhaps data.
    fn attend_orphan(&mut self, id: u32, now: Instant) {
        let flow = &mut self.flows[id as usize];
        let owed_len = owed_len(flow);
        if owed_len < flow.orphan_len {
            flow.orphan_len = owed_len;
            flow.limit_at = flow.last_limit_at.min(now + orphan_time(owed_len));
        }
        self.discard(id);
    }

    /// Nobody will read what came for an orphan.
    fn discard(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        flow.discarded_len += flow.tcb.discard();
        if flow.discarded_len > ORPHAN_DISCARD_LEN_MAX {
            self.counters.drops.orphans += 1;
            self.reset(id);
        }
    }

    /// A handle is gone; the last one closes the connection.
    pub(crate) fn release(&mut self, id: u32, now: Instant) {
        let flow = &mut self.flows[id as usize];
        flow.owners -= 1;
        if flow.owners > 0 {
            return;
        }
        flow.stage = Stage::Orphan;
        match flow.tcb.state() {
            State::Closed if !flow.tcb.has_peer() => return self.free(id),
            State::TimeWait => return self.retire(id, now),
            _ => {}
        }
        if flow.path == Path::Resolve {
            // It was given up before the peer was found.
            return self.reset(id);
        }
        flow.tcb.close();
        flow.orphan_len = owed_len(flow);
        flow.limit_at = now + orphan_time(flow.orphan_len);
        flow.last_limit_at = now + ORPHAN_LIFE_MAX;
        flow.wrote = true;
        self.mark_dirty(id);
        self.discard(id);
    }

    /// It has been given up: nothing more is expected of its peer.
    pub(super) fn expire(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        flow.end.get_or_insert(Error::TimedOut);
        match flow.stage {
            // Its peer may not even exist.
            Stage::HalfOpen => self.free(id),
            Stage::Connecting => self.reset(id),
            _ => {
                self.counters.drops.orphans += 1;
                self.reset(id);
            }
        }
    }

    /// Ends a connection now, and tells the peer if there is a way to it.
    pub(super) fn reset(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        flow.limit_at = Instant::FOREVER;
        flow.tcb.abort();
        if flow.path == Path::Resolve {
            flow.tcb.vanish();
        }
        if !flow.tcb.has_peer() {
            return self.gone(id);
        }
        flow.wrote = true;
        self.mark_dirty(id);
    }

    /// The connection does not exist any more. Its flow stays while somebody can still ask about it.
    pub(super) fn gone(&mut self, id: u32) {
        let flow = &self.flows[id as usize];
        match flow.stage {
            Stage::Orphan | Stage::HalfOpen => self.free(id),
            // `accept` throws it away when its turn comes.
            Stage::Queued | Stage::Owned | Stage::Connecting => {
                self.map.remove(&flow.key, Slot::Flow(id));
                self.timers.remove(id);
                self.flows[id as usize].timer_at = Instant::FOREVER;
            }
        }
    }

    /// TIME-WAIT without an owner: a record takes the flow's place.
    fn retire(&mut self, id: u32, now: Instant) {
        let flow = &self.flows[id as usize];
        let (key, numbers) = (flow.key, flow.last_numbers);
        self.free(id);
        if let Some((sequence, acknowledgement)) = numbers {
            if self.time_wait.is_full()
                && let Some((number, old)) = self.time_wait.pop(now, true)
            {
                self.map.remove(&old, Slot::TimeWait(number));
            }
            let number = self.time_wait.push(key, sequence, acknowledgement, now);
            self.map.insert(key, Slot::TimeWait(number));
        }
    }

    pub(super) fn forget_expired(&mut self, now: Instant) {
        while let Some((number, key)) = self.time_wait.pop(now, false) {
            self.map.remove(&key, Slot::TimeWait(number));
        }
    }

    /// The end of a flow: nothing refers to it afterwards but stale entries in queues, which are harmless.
    pub(super) fn free(&mut self, id: u32) {
        if self.flows[id as usize].stage == Stage::HalfOpen {
            self.half_open.remove(&mut self.flows, id);
        }
        self.timers.remove(id);
        let flow = self.flows.remove(id as usize);
        self.counters.retransmits += u64::from(flow.sending.repeats);
        self.map.remove(&flow.key, Slot::Flow(id));
        self.give_back(flow.tcb, flow.size);
    }
}

/// What an orphan's peer has still to acknowledge: data, and the FIN.
fn owed_len(flow: &Flow) -> usize {
    let (state, _, unacknowledged_len) = flow.tcb.look();
    unacknowledged_len + usize::from(state != State::FinWait2)
}

/// How long an orphan that is owed this much may go on without progress.
fn orphan_time(owed_len: usize) -> Duration {
    if owed_len > 0 { USER_TIMEOUT } else { ORPHAN_TIME_MAX }
}
