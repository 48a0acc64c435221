//! What the stack knows about one connection, beside its TCP machine.

use crate::{
    engine::{Path, Size, State, Tcb},
    error::Error,
    flow_map::FlowKey,
    limits::{KEEP_ALIVE_INTERVALS, USER_TIMEOUT},
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
    pub(crate) stage: Stage,
    /// Handles that exist: a stream, or its two halves.
    pub(crate) owners: u8,
    /// It is in the queue of flows to look at.
    pub(crate) dirty: bool,
    /// It surely has something to send, so it is not asked first.
    pub(crate) wrote: bool,
    /// It has been given up at this moment, whatever its state.
    pub(crate) limit_at: Instant,
    /// Why it ended, once it has.
    pub(crate) end: Option<Error>,
    /// (Our next sequence number, the next one expected), known from TIME-WAIT on.
    pub(crate) last_numbers: Option<(u32, u32)>,
    pub(crate) discarded_len: usize,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
    /// Our sequence number after the last new byte sent; to tell retransmissions.
    pub(crate) sent_to: Option<u32>,
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
            stage,
            owners: 0,
            dirty: false,
            wrote: false,
            limit_at,
            end: None,
            last_numbers: None,
            discarded_len: 0,
            keep_alive: None,
            user_timeout: Some(USER_TIMEOUT),
            sent_to: None,
            older: None,
            newer: None,
        }
    }

    /// Counts the peer's silence only while something is expected of it.
    #[inline]
    pub(crate) fn adjust_timeout(&mut self) {
        let timeout = if self.tcb.unacknowledged() > 0 || self.tcb.state() == State::SynReceived {
            self.user_timeout
        } else {
            self.keep_alive.map(|interval| interval * KEEP_ALIVE_INTERVALS)
        };
        self.tcb.set_timeout(timeout);
    }
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
