//! What the stack knows about one connection, beside its TCP machine.

use crate::{
    engine::{Path, Size, State, Tcb},
    error::Error,
    flow_map::FlowKey,
    limits::{KEEP_ALIVE_INTERVALS, USER_TIMEOUT},
    packet::Sending,
};
use slab::Slab;
use unikernel_rt::time::{Duration, Instant};

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `connect` waits for an answer.
    Connecting,
    /// The handshake of a listener's connection is not done.
    HalfOpen,
    /// It waits for `accept`.
    Queued,
    /// It belongs to a stream.
    Owned,
    /// Its stream was dropped.
    Orphan,
}

pub(crate) struct Flow {
    pub(crate) tcb: Tcb,
    pub(crate) size: Size,
    pub(crate) key: FlowKey,
    pub(crate) path: Path,
    /// A packet that came this way moved the connection on.
    pub(crate) path_is_trusted: bool,
    pub(crate) stage: Stage,
    /// Handles that exist: a stream, or its two halves.
    pub(crate) owners: u8,
    /// It is in the queue of flows to look at.
    pub(crate) dirty: bool,
    /// It surely has something to send, so it is not asked first.
    pub(crate) wrote: bool,
    /// When the timer queue brings it up; `FOREVER` when it is not there.
    pub(crate) timer_at: Instant,
    /// It has been given up at this moment, whatever its state.
    pub(crate) limit_at: Instant,
    /// The same for an orphan that makes progress.
    pub(crate) last_limit_at: Instant,
    /// Why it ended, once it has.
    pub(crate) end: Option<Error>,
    /// (Our next sequence number, the next one expected), known from TIME-WAIT on.
    pub(crate) last_numbers: Option<(u32, u32)>,
    pub(crate) discarded_len: usize,
    /// What an orphan still has to get acknowledged.
    pub(crate) orphan_len: usize,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) sending: Sending,
    /// Bytes written and never sent yet.
    pub(crate) unsent_len: usize,
    /// What the machine's time limit is set for now.
    silence: Silence,
    /// Neighbours in the list of half-open flows.
    older: Option<u32>,
    newer: Option<u32>,
}

impl Flow {
    pub(crate) fn new(tcb: Tcb, size: Size, key: FlowKey, path: Path, stage: Stage, limit_at: Instant) -> Flow {
        Flow {
            tcb,
            size,
            key,
            path,
            path_is_trusted: false,
            stage,
            owners: 0,
            dirty: false,
            wrote: false,
            timer_at: Instant::FOREVER,
            limit_at,
            last_limit_at: Instant::FOREVER,
            end: None,
            last_numbers: None,
            discarded_len: 0,
            orphan_len: 0,
            keep_alive: None,
            user_timeout: Some(USER_TIMEOUT),
            sending: Sending::default(),
            unsent_len: 0,
            silence: Silence::Allowed,
            older: None,
            newer: None,
        }
    }

    /// Counts the peer's silence only while something is expected of it.
    #[inline]
    pub(crate) fn adjust_timeout(&mut self) {
        if self.unsent_len > 0 && self.silence == Silence::Unacknowledged {
            return;
        }
        let (state, _, unacknowledged) = self.tcb.look();
        let silence = match (unacknowledged > 0 || state == State::SynReceived, self.keep_alive) {
            (true, _) => Silence::Unacknowledged,
            (false, Some(_)) => Silence::Probed,
            (false, None) => Silence::Allowed,
        };
        if self.silence != silence {
            self.silence = silence;
            self.tcb.set_timeout(match silence {
                Silence::Unacknowledged => self.user_timeout,
                Silence::Probed => self.keep_alive.map(|interval| interval * KEEP_ALIVE_INTERVALS),
                Silence::Allowed => None,
            });
        }
    }

    /// Makes the next [`adjust_timeout`](Self::adjust_timeout) set the limit anew.
    pub(crate) fn timeouts_changed(&mut self) {
        self.silence = Silence::Allowed;
        self.tcb.set_timeout(None);
    }

    /// Whether everything written has been sent at least once.
    #[inline]
    pub(crate) fn has_sent_all(&mut self) -> bool {
        self.unsent_len = self.unsent_len.saturating_sub(core::mem::take(&mut self.sending.new_len));
        self.unsent_len == 0
    }
}

/// How long the peer may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// For ever: nothing is expected.
    Allowed,
    /// It owes an acknowledgement.
    Unacknowledged,
    /// It is asked now and then.
    Probed,
}

/// The half-open flows, oldest first: a list through the flows themselves, so that any can leave in O(1).
#[derive(Default)]
pub(crate) struct HalfOpen {
    oldest: Option<u32>,
    newest: Option<u32>,
    len: usize,
}

impl HalfOpen {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        self.oldest
    }

    pub(crate) fn push(&mut self, flows: &mut Slab<Flow>, id: u32) {
        flows[id as usize].older = self.newest;
        match self.newest {
            Some(newest) => flows[newest as usize].newer = Some(id),
            None => self.oldest = Some(id),
        }
        self.newest = Some(id);
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, flows: &mut Slab<Flow>, id: u32) {
        let flow = &mut flows[id as usize];
        let (older, newer) = (flow.older.take(), flow.newer.take());
        match older {
            Some(older) => flows[older as usize].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => flows[newer as usize].older = older,
            None => self.newest = older,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONNECTION_COST;

    /// Buffers and TCP state, the flow, its entry in the hash table (at half load) and in the timer queue.
    #[test]
    fn a_connection_costs_what_the_bounds_say() {
        let tables =
            2 * (size_of::<(FlowKey, crate::flow_map::Slot)>() + 1) + size_of::<(Instant, u32)>() + size_of::<u32>();
        let slot = size_of::<Flow>() + size_of::<usize>();
        let all = Tcb::memory_len(Size::Ordinary) + slot + tables;
        std::eprintln!(
            "a connection: {all} bytes, of them {} in buffers and TCP state",
            Tcb::memory_len(Size::Ordinary)
        );
        assert!(all <= CONNECTION_COST, "{all} bytes");
    }
}
