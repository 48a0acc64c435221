//! What the stack knows about one connection, beside its TCP machine.

use crate::{
    error::Error,
    flow_map::FlowKey,
    header::Template,
    packet::Mac,
    tcp::{Outcome, Tcb},
};
use core::{net::IpAddr, task::Waker};
use unikernel_rt::time::Instant;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `connect` waits for an answer.
    Connecting,
    /// It waits for `accept`.
    Queued,
    /// It belongs to a stream.
    Owned,
    /// Its stream was dropped.
    Orphan,
}

/// How frames get to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The way its packets come.
    Known,
    /// The neighbour table knows the way to this host, or finds it out.
    Resolve(IpAddr),
}

pub(crate) struct Flow {
    pub(crate) tcb: Tcb,
    pub(crate) key: FlowKey,
    pub(crate) header: Template,
    pub(crate) interface: u8,
    pub(crate) path: Path,
    /// A packet that came this way moved the connection on.
    pub(crate) path_is_trusted: bool,
    pub(crate) stage: Stage,
    /// Handles that exist: a stream, or its two halves.
    pub(crate) owners: u8,
    /// It is in the queue of flows to look at.
    pub(crate) dirty: bool,
    /// When the timer queue brings it up; `FOREVER` when it is not there.
    pub(crate) timer_at: Instant,
    /// It has been given up at this moment, whatever its state.
    pub(crate) limit_at: Instant,
    /// The same for an orphan that makes progress.
    pub(crate) last_limit_at: Instant,
    /// Why it ended, once it has.
    pub(crate) end: Option<Error>,
    pub(crate) discarded_len: usize,
    /// What an orphan still has to get acknowledged.
    pub(crate) orphan_len: usize,
    /// Who waits for something to read, and for room to write.
    pub(crate) reader: Waiter,
    pub(crate) writer: Waiter,
}

impl Flow {
    pub(crate) fn new(tcb: Tcb, key: FlowKey, header: Template, interface: u8, path: Path, stage: Stage) -> Flow {
        Flow {
            tcb,
            key,
            header,
            interface,
            path,
            path_is_trusted: false,
            stage,
            owners: 0,
            dirty: false,
            timer_at: Instant::FOREVER,
            limit_at: Instant::FOREVER,
            last_limit_at: Instant::FOREVER,
            end: None,
            discarded_len: 0,
            orphan_len: 0,
            reader: Waiter::default(),
            writer: Waiter::default(),
        }
    }

    /// Wakes those who wait for what has happened.
    #[inline]
    pub(crate) fn wake(&mut self, outcome: &Outcome) {
        if outcome.readable {
            self.reader.wake();
        }
        if outcome.writable {
            self.writer.wake();
        }
    }

    pub(crate) fn wake_all(&mut self) {
        self.reader.wake();
        self.writer.wake();
    }

    /// How far the connection is, when the way to the peer is in doubt: a packet came another way than the last, or
    /// nothing that came this way has moved the connection on yet.
    #[inline]
    pub(crate) fn doubtful(&self, source: Mac) -> Option<(u32, usize)> {
        let is_doubtful = !self.path_is_trusted || self.path != Path::Known || self.header.destination() != source;
        is_doubtful.then(|| self.progress())
    }

    fn progress(&self) -> (u32, usize) {
        (self.tcb.rcv_nxt(), self.tcb.unacknowledged_len())
    }

    /// Finds the way to the peer. A gateway may fail over; but a stranger who does not know the sequence numbers must not
    /// pull a connection to himself, nor a single garbled header lead it astray. So it takes a packet that moved the
    /// connection on to doubt the old way, and another packet to leave it.
    #[cold]
    pub(crate) fn reroute(&mut self, source: Mac, before: (u32, usize)) {
        let advanced = self.progress() != before;
        if self.path == Path::Known && self.header.destination() == source {
            self.path_is_trusted |= advanced;
            return;
        }
        match (self.path_is_trusted, advanced) {
            (true, true) => self.path_is_trusted = false,
            (true, false) => {}
            (false, _) => {
                self.header.set_destination(source);
                self.path = Path::Known;
            }
        }
    }
}

/// A task that may wait. Its waker stays, as the same task usually comes again.
#[derive(Default)]
pub(crate) struct Waiter {
    waker: Option<Waker>,
    waits: bool,
}

impl Waiter {
    /// Calls `waker` at the next [`wake`](Self::wake).
    #[inline]
    pub(crate) fn wait(&mut self, waker: &Waker) {
        self.waits = true;
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    #[inline]
    pub(crate) fn wake(&mut self) {
        if core::mem::take(&mut self.waits)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}
