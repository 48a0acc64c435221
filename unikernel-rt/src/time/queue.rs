//! The timers of one core, in the order in which they are due: O(log n) to start and stop, O(1) to put off.

use super::Instant;
use alloc::collections::BTreeSet;
use core::task::Waker;
use slab::Slab;

/// A timer's number in its queue.
pub(crate) type TimerId = usize;

/// The timers of one core.
#[derive(Default)]
pub(crate) struct TimerQueue {
    /// (when to look at it, which). A timer that was put off is still queued under its old moment.
    order: BTreeSet<(Instant, TimerId)>,
    timers: Slab<Timer>,
}

struct Timer {
    deadline: Instant,
    /// Under which moment `order` holds it; `None` once it fired.
    queued: Option<Instant>,
    waker: Option<Waker>,
}

impl TimerQueue {
    pub(crate) fn start(&mut self, deadline: Instant) -> TimerId {
        let id = self.timers.insert(Timer { deadline, queued: Some(deadline), waker: None });
        self.order.insert((deadline, id));
        id
    }

    pub(crate) fn stop(&mut self, id: TimerId) {
        let timer = self.timers.remove(id);
        if let Some(moment) = timer.queued {
            self.order.remove(&(moment, id));
        }
    }

    /// Moves a timer. Later costs nothing now: the queue notices when the old moment comes.
    pub(crate) fn reset(&mut self, id: TimerId, deadline: Instant) {
        let timer = &mut self.timers[id];
        timer.deadline = deadline;
        match timer.queued {
            Some(moment) if moment <= deadline => return,
            Some(moment) => {
                self.order.remove(&(moment, id));
            }
            None => {}
        }
        timer.queued = Some(deadline);
        self.order.insert((deadline, id));
    }

    /// True once the deadline has come; until then remembers whom to wake.
    pub(crate) fn poll(&mut self, id: TimerId, now: Instant, waker: &Waker) -> bool {
        let timer = &mut self.timers[id];
        if timer.deadline <= now {
            return true;
        }
        match &mut timer.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        false
    }

    /// Wakes what is due.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(moment, id)) = self.order.first() {
            if moment > now {
                return;
            }
            self.order.pop_first();
            let timer = &mut self.timers[id];
            if timer.deadline > now {
                timer.queued = Some(timer.deadline);
                self.order.insert((timer.deadline, id));
                continue;
            }
            timer.queued = None;
            if let Some(waker) = timer.waker.take() {
                waker.wake();
            }
        }
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.order.first().map(|&(moment, _)| moment)
    }
}
