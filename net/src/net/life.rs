//! Death of flows. Every way out of a state ends here, so that none leaks.

use super::{Net, settle::send};
use crate::{
    error::Error,
    flow::{Flow, Path, Stage},
    flow_map::Slot,
    limits::{ORPHAN_DISCARD_LEN_MAX, ORPHAN_LIFE_MAX, ORPHAN_TIME_MAX, USER_TIMEOUT},
    tcp::State,
};
use core::task::{Poll, Waker};
use unikernel_rt::time::{Duration, Instant};

impl Net {
    /// A connection is not simply open, or has just left that state.
    pub(super) fn changed(&mut self, id: u32, now: Instant) {
        let flow = &mut self.flows[id as usize];
        if flow.tcb.state() == State::Closed {
            let end = flow.tcb.gone().map_or(Error::Closed, Error::from);
            flow.end.get_or_insert(end);
            self.counters.resets_received += u64::from(end == Error::Reset);
            return self.gone(id);
        }
        if self.flows[id as usize].tcb.has_output() {
            self.mark_dirty(id);
        }
        if self.flows[id as usize].stage == Stage::Orphan {
            self.attend_orphan(id, now);
        }
    }

    /// Ready when every connection that was closed has got its last byte acknowledged; what its peer does after that is not
    /// waited for.
    pub(crate) fn poll_drained(&mut self, waker: &Waker) -> Poll<()> {
        if self.is_drained() {
            return Poll::Ready(());
        }
        self.drainer = Some(waker.clone());
        Poll::Pending
    }

    #[cold]
    pub(super) fn is_drained(&self) -> bool {
        let is_done = |flow: &Flow| matches!(flow.tcb.state(), State::FinWait2 | State::TimeWait | State::Closed);
        self.flows.iter().all(|(_, flow)| flow.stage != Stage::Orphan || is_done(flow))
    }

    /// Something came for an orphan: perhaps an acknowledgement, perhaps data.
    fn attend_orphan(&mut self, id: u32, now: Instant) {
        let flow = &mut self.flows[id as usize];
        let owed_len = owed_len(flow);
        if owed_len < flow.orphan_len {
            flow.orphan_len = owed_len;
            flow.limit_at = flow.last_limit_at.min(now + orphan_time(owed_len));
        }
        if !self.discard(id) {
            return;
        }
        if self.flows[id as usize].tcb.state() == State::TimeWait {
            self.retire(id, now);
        }
    }

    /// Nobody will read what came for an orphan. False when it was too much.
    fn discard(&mut self, id: u32) -> bool {
        let flow = &mut self.flows[id as usize];
        loop {
            let len = flow.tcb.readable().len();
            if len == 0 {
                break;
            }
            flow.tcb.consume(len);
            flow.discarded_len += len;
        }
        if flow.discarded_len <= ORPHAN_DISCARD_LEN_MAX {
            return true;
        }
        self.counters.drops.orphans += 1;
        self.reset(id);
        false
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
            State::Closed => return self.free(id),
            State::TimeWait => return self.retire(id, now),
            // It was given up before the peer was found, or answered.
            State::SynSent => return self.reset(id),
            _ => {}
        }
        flow.tcb.close();
        flow.orphan_len = owed_len(flow);
        flow.limit_at = now + orphan_time(flow.orphan_len);
        flow.last_limit_at = now + ORPHAN_LIFE_MAX;
        self.mark_dirty(id);
        self.discard(id);
    }

    /// It has been given up: nothing more is expected of its peer.
    pub(super) fn expire(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        flow.end.get_or_insert(Error::TimedOut);
        if flow.stage != Stage::Connecting {
            self.counters.drops.orphans += 1;
        }
        self.reset(id);
    }

    /// Ends a connection now, and tells the peer if there is a way to it.
    pub(super) fn reset(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        if let Some(reset) = flow.tcb.abort()
            && flow.path == Path::Known
        {
            let interface = &mut self.interfaces[usize::from(flow.interface)];
            send(flow, &reset, interface);
            self.counters.resets_sent += 1;
            self.wake_task();
        }
        self.flows[id as usize].end.get_or_insert(Error::Closed);
        self.gone(id);
    }

    /// The connection does not exist any more. Its flow stays while somebody can still ask about it.
    pub(super) fn gone(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        flow.wake_all();
        flow.limit_at = Instant::FOREVER;
        flow.timer_at = Instant::FOREVER;
        match flow.stage {
            Stage::Orphan => self.free(id),
            // `accept` throws it away when its turn comes.
            Stage::Queued | Stage::Owned | Stage::Connecting => {
                self.map.remove(&flow.key, Slot::Flow(id));
                self.timers.remove(id);
            }
        }
    }

    /// TIME-WAIT without an owner: a record takes the flow's place.
    fn retire(&mut self, id: u32, now: Instant) {
        self.send_last(id, now);
        let flow = &self.flows[id as usize];
        let (key, (sequence, acknowledgement)) = (flow.key, (flow.tcb.snd_nxt(), flow.tcb.rcv_nxt()));
        self.free(id);
        if self.time_wait.is_full()
            && let Some((number, old)) = self.time_wait.pop(now, true)
        {
            self.map.remove(&old, Slot::TimeWait(number));
        }
        let number = self.time_wait.push(key, sequence, acknowledgement, now);
        self.map.insert(key, Slot::TimeWait(number));
    }

    /// What a machine that goes has still to say: the acknowledgement of a FIN.
    fn send_last(&mut self, id: u32, now: Instant) {
        let flow = &mut self.flows[id as usize];
        let interface = &mut self.interfaces[usize::from(flow.interface)];
        while !interface.link.is_full()
            && let Some(outgoing) = flow.tcb.next_segment(0, now)
        {
            send(flow, &outgoing, interface);
        }
        self.wake_task();
    }

    pub(super) fn forget_expired(&mut self, now: Instant) {
        while let Some((number, key)) = self.time_wait.pop(now, false) {
            self.map.remove(&key, Slot::TimeWait(number));
        }
    }

    /// The end of a flow: nothing refers to it afterwards but stale entries in queues, which are harmless.
    pub(super) fn free(&mut self, id: u32) {
        self.timers.remove(id);
        let mut flow = self.flows.remove(id as usize);
        flow.tcb.release(&mut self.budget);
        self.counters.closed += 1;
        self.counters.retransmits += u64::from(flow.tcb.info().retransmits);
        self.sources.remove(flow.key.peer);
        self.map.remove(&flow.key, Slot::Flow(id));
    }
}

/// What an orphan's peer has still to acknowledge: data, and the FIN.
fn owed_len(flow: &Flow) -> usize {
    flow.tcb.unacknowledged_len() + usize::from(flow.tcb.state() != State::FinWait2)
}

/// How long an orphan that is owed this much may go on without progress.
fn orphan_time(owed_len: usize) -> Duration {
    if owed_len > 0 { USER_TIMEOUT } else { ORPHAN_TIME_MAX }
}
