//! The waiters of one event, first come, first served.

use alloc::collections::VecDeque;
use core::task::{Context, Waker};

/// Tickets of those who wait. A ticket is a number that is never used twice.
pub(super) struct WaitList {
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
}

impl WaitList {
    pub(super) const fn new() -> WaitList {
        WaitList { waiting: VecDeque::new(), next_ticket: 0 }
    }

    /// Waits, or goes on waiting with `ticket`, at its old place.
    pub(super) fn wait(&mut self, ticket: &mut Option<u64>, cx: &Context<'_>) {
        if let Some(ticket) = *ticket
            && let Some((_, waker)) = self.waiting.iter_mut().find(|(waiting, _)| *waiting == ticket)
        {
            waker.clone_from(cx.waker());
            return;
        }
        let number = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back((number, cx.waker().clone()));
        *ticket = Some(number);
    }

    /// Stops waiting. False when the ticket had already been called.
    pub(super) fn leave(&mut self, ticket: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        self.waiting.len() != before
    }

    /// Whether `ticket` has been called.
    pub(super) fn was_called(&self, ticket: u64) -> bool {
        self.waiting.iter().all(|(waiting, _)| *waiting != ticket)
    }

    /// Calls the first. False when nobody waits.
    pub(super) fn wake_one(&mut self) -> bool {
        let Some((_, waker)) = self.waiting.pop_front() else { return false };
        waker.wake();
        true
    }

    pub(super) fn wake_all(&mut self) {
        while self.wake_one() {}
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
